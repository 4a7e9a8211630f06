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
        if depth > 0 {
            for (i, panel) in data.chunks_exact_mut(depth * COLUMNS).enumerate() {
                let from = first + i * COLUMNS;
                let width = COLUMNS.min(first + columns - from);
                let source: Vec<&[f32]> = (from..from + width).map(|c| &weights[c * stride..][..depth]).collect();
                for (k, row) in panel.chunks_exact_mut(COLUMNS).enumerate() {
                    row.iter_mut().zip(&source).for_each(|(to, column)| *to = column[k]);
                }
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

    /// In tiles of 8 rows by two panels, or one at the end.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn multiply_avx512(&self, rows: &[f32], bias: Option<&[f32]>, out: &mut [f32], stride: usize, first: usize) {
        for from in (0..self.columns).step_by(2 * COLUMNS) {
            let bias = bias.map(|b| &b[from..]);
            let out = Columns { data: out, stride, first: first + from };
            match self.columns - from > COLUMNS {
                true => self.block_avx512::<2>(rows, from, bias, out),
                false => self.block_avx512::<1>(rows, from, bias, out),
            }
        }
    }

    /// All rows by the `P` panels from column `from` on.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn block_avx512<const P: usize>(&self, rows: &[f32], from: usize, bias: Option<&[f32]>, out: Columns) {
        const R: usize = 8;
        let depth = self.depth;
        let width = (P * COLUMNS).min(self.columns - from);
        let panels: [&[f32]; P] =
            std::array::from_fn(|p| &self.data[(from + p * COLUMNS) * depth..][..depth * COLUMNS]);
        let count = out.data.len() / out.stride;
        let mut start = [[0.0; COLUMNS]; P];
        if let Some(bias) = bias {
            start.as_flattened_mut()[..width].copy_from_slice(&bias[..width]);
        }
        let mut store = |row: usize, sums: &[[f32; COLUMNS]; P]| {
            let to = &mut out.data[row * out.stride + out.first..][..width];
            // Whole panels are stored by registers; a length that is not known is a call.
            match to.as_chunks_mut::<COLUMNS>() {
                (to, []) if to.len() == P => to.iter_mut().zip(sums).for_each(|(to, sums)| *to = *sums),
                _ => to.copy_from_slice(&sums.as_flattened()[..width]),
            }
        };
        let whole = count - count % R;
        for row in (0..whole).step_by(R) {
            let rows: [&[f32]; R] = std::array::from_fn(|r| &rows[(row + r) * depth..][..depth]);
            tile_avx512(rows, panels, &start).iter().enumerate().for_each(|(r, sums)| store(row + r, sums));
        }
        for row in whole..count {
            store(row, &tile_avx512([&rows[row * depth..][..depth]], panels, &start)[0]);
        }
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

/// Where a block of columns of a row-major matrix is written.
#[cfg(target_arch = "x86_64")]
struct Columns<'a> {
    data: &'a mut [f32],
    stride: usize,
    first: usize,
}

/// The tile with registers named by hand: what the compiler makes of [`tile`] uses half of them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn tile_avx512<const R: usize, const P: usize>(
    rows: [&[f32]; R],
    panels: [&[f32]; P],
    start: &[[f32; COLUMNS]; P],
) -> [[[f32; COLUMNS]; P]; R] {
    use std::arch::x86_64::*;
    // SAFETY: the array holds 16 values.
    let load = |values: &[f32; COLUMNS]| unsafe { _mm512_loadu_ps(values.as_ptr()) };
    let mut sums = [start.each_ref().map(load); R];
    let panels = panels.map(|p| p.as_chunks::<COLUMNS>().0);
    let depth = panels[0].len();
    let (panels, rows) = (panels.map(|p| &p[..depth]), rows.map(|r| &r[..depth]));
    for k in 0..depth {
        let weights: [__m512; P] = std::array::from_fn(|p| load(&panels[p][k]));
        for r in 0..R {
            let x = _mm512_set1_ps(rows[r][k]);
            for p in 0..P {
                sums[r][p] = _mm512_add_ps(sums[r][p], _mm512_mul_ps(x, weights[p]));
            }
        }
    }
    let mut out = [[[0.0; COLUMNS]; P]; R];
    for (out, sum) in out.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
        // SAFETY: the array holds 16 values.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *sum) };
    }
    out
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
        let (rows, depth, columns, total) = (19, 13, 37, 46);
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
