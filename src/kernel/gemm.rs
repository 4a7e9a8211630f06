//! The matrix product behind the convolution and linear twins.
//!
//! Every output is `bias + a[0]*w[0] + a[1]*w[1] + …` summed in this order with separate roundings,
//! whatever the tile, the processor or the thread count, so the bits never depend on them. No fused
//! multiply-add: it would round once where a baseline processor rounds twice.

/// Columns of a panel.
const COLUMNS: usize = 16;

/// Weights `[depth][columns]` rearranged as panels of 16 columns, each `[depth][16]`, zero padded.
pub struct Panels {
    depth: usize,
    columns: usize,
    data: Vec<f32>,
}

impl Panels {
    /// Takes columns `first..first + columns` of a matrix of `depth` rows that lie `stride` apart.
    pub fn pack(weights: &[f32], depth: usize, stride: usize, first: usize, columns: usize) -> Self {
        let mut data = vec![0.0; columns.div_ceil(COLUMNS) * depth * COLUMNS];
        if depth > 0 {
            for (i, panel) in data.chunks_exact_mut(depth * COLUMNS).enumerate() {
                let from = i * COLUMNS;
                let width = COLUMNS.min(columns - from);
                for (k, row) in panel.chunks_exact_mut(COLUMNS).enumerate() {
                    let at = k * stride + first + from;
                    row[..width].copy_from_slice(&weights[at..at + width]);
                }
            }
        }
        Self { depth, columns, data }
    }

    /// Takes rows `first..first + columns` of a matrix whose rows of `depth` values lie `stride`
    /// apart, as columns.
    pub fn pack_transposed(weights: &[f32], depth: usize, stride: usize, first: usize, columns: usize) -> Self {
        let mut data = vec![0.0; columns.div_ceil(COLUMNS) * depth * COLUMNS];
        for column in 0..columns {
            let at = (first + column) * stride;
            let panel = &mut data[column / COLUMNS * depth * COLUMNS..];
            for (k, &weight) in weights[at..at + depth].iter().enumerate() {
                panel[k * COLUMNS + column % COLUMNS] = weight;
            }
        }
        Self { depth, columns, data }
    }

    /// For each row `a` of `depth` values: writes `columns` sums into `out`, whose rows lie `stride`
    /// apart, from its column `first` on. `bias` has a value for each column.
    pub fn multiply(&self, rows: &[f32], bias: Option<&[f32]>, out: &mut [f32], stride: usize, first: usize) {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, the only requirement of the function.
            unsafe { self.multiply_avx512(rows, bias, out, stride, first) };
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, the only requirement of the function.
            unsafe { self.multiply_avx2(rows, bias, out, stride, first) };
            return;
        }
        self.multiply_in::<2>(rows, bias, out, stride, first);
    }

    /// The same code with wider registers: the same roundings in the same order.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn multiply_avx2(&self, rows: &[f32], bias: Option<&[f32]>, out: &mut [f32], stride: usize, first: usize) {
        self.multiply_in::<4>(rows, bias, out, stride, first);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn multiply_avx512(&self, rows: &[f32], bias: Option<&[f32]>, out: &mut [f32], stride: usize, first: usize) {
        self.multiply_in::<8>(rows, bias, out, stride, first);
    }

    /// In tiles of `R` rows by one panel: the panel stays in cache while the rows go by.
    #[inline(always)]
    fn multiply_in<const R: usize>(
        &self,
        rows: &[f32],
        bias: Option<&[f32]>,
        out: &mut [f32],
        stride: usize,
        first: usize,
    ) {
        let depth = self.depth;
        let count = out.len() / stride;
        for from in (0..self.columns).step_by(COLUMNS) {
            let width = COLUMNS.min(self.columns - from);
            let panel = &self.data[from * depth..(from + COLUMNS) * depth];
            let mut start = [0.0; COLUMNS];
            if let Some(bias) = bias {
                start[..width].copy_from_slice(&bias[from..from + width]);
            }
            let mut store = |row: usize, sums: &[f32; COLUMNS]| {
                let at = row * stride + first + from;
                out[at..at + width].copy_from_slice(&sums[..width]);
            };
            let whole = count - count % R;
            for row in (0..whole).step_by(R) {
                let a = std::array::from_fn(|r| &rows[(row + r) * depth..(row + r + 1) * depth]);
                let sums = tile::<R>(a, panel, &start);
                sums.iter().enumerate().for_each(|(r, s)| store(row + r, s));
            }
            for row in whole..count {
                let [sums] = tile::<1>([&rows[row * depth..(row + 1) * depth]], panel, &start);
                store(row, &sums);
            }
        }
    }
}

#[inline(always)]
fn tile<const R: usize>(rows: [&[f32]; R], panel: &[f32], start: &[f32; COLUMNS]) -> [[f32; COLUMNS]; R] {
    let mut sums = [*start; R];
    let (panel, _) = panel.as_chunks::<COLUMNS>();
    let rows = rows.map(|r| &r[..panel.len()]);
    for (k, weights) in panel.iter().enumerate() {
        for r in 0..R {
            let x = rows[r][k];
            for j in 0..COLUMNS {
                sums[r][j] += x * weights[j];
            }
        }
    }
    sums
}

/// Rows that one task multiplies: about 128 KiB of patches, so that they stay in cache.
pub fn rows_per_task(depth: usize) -> usize {
    (32 * 1024 / depth.max(1)).clamp(8, 256) / 4 * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_packed_as_columns_are_the_transposed_matrix() {
        let (depth, columns, total) = (5, 19, 23);
        let rows: Vec<f32> = (0..total * 7).map(|i| i as f32).collect();
        let transposed: Vec<f32> = (0..depth * total).map(|i| rows[i % total * 7 + i / total]).collect();
        let one = Panels::pack_transposed(&rows, depth, 7, 3, columns);
        assert_eq!(one.data, Panels::pack(&transposed, depth, total, 3, columns).data);
    }

    #[test]
    fn every_tile_gives_the_bits_of_the_plain_sum() {
        let (rows, depth, columns, total) = (7, 13, 21, 30);
        let a: Vec<f32> = (0..rows * depth).map(|i| (i as f32 * 0.37).sin()).collect();
        let w: Vec<f32> = (0..depth * total).map(|i| (i as f32 * 0.73).cos()).collect();
        let bias: Vec<f32> = (0..columns).map(|i| i as f32 * 0.1).collect();
        let panels = Panels::pack(&w, depth, total, 4, columns);
        let (mut best, mut narrow) = (vec![0.0; rows * total], vec![0.0; rows * total]);
        panels.multiply(&a, Some(&bias), &mut best, total, 4);
        panels.multiply_in::<3>(&a, Some(&bias), &mut narrow, total, 4);
        assert_eq!(best, narrow);
        for r in 0..rows {
            for c in 0..columns {
                let plain = (0..depth).fold(bias[c], |s, k| s + a[r * depth + k] * w[k * total + 4 + c]);
                assert_eq!(best[r * total + 4 + c], plain);
            }
        }
    }
}
