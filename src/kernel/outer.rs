//! The matrix product behind the weight gradients: a sum of outer products.
//!
//! `out[i][j] = x[0][i]*g[0][j] + x[1][i]*g[1][j] + …`, summed in this order from zero with separate
//! roundings, whatever the tile or the processor, like `gemm`. Rows of both operands stay where they
//! are; only the columns of a panel are brought together, because a stride of a large power of two
//! would fight for a few lines of the cache.

/// Columns of a panel.
const COLUMNS: usize = 32;

/// A block of columns of a row-major matrix.
#[derive(Clone, Copy)]
pub struct Columns<'a> {
    pub data: &'a [f32],
    pub stride: usize,
    pub first: usize,
    pub count: usize,
}

/// Writes the sum over the rows of `x` and `g` into columns `first..` of `out`, whose rows lie
/// `g.stride` apart like those of `g`, and which has a row for each column of `x`. `panel` is scratch.
pub fn sum(x: Columns, g: Columns, out: &mut [f32], panel: &mut Vec<f32>) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512F, the only requirement of the function.
        unsafe { sum_avx512(x, g, out, panel) };
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, the only requirement of the function.
        unsafe { sum_avx2(x, g, out, panel) };
        return;
    }
    sum_in(x, g, out, panel, tile::<2>, tile::<1>);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sum_avx512(x: Columns, g: Columns, out: &mut [f32], panel: &mut Vec<f32>) {
    sum_in(x, g, out, panel, |x, panel| tile_avx512::<8>(x, panel), |x, panel| tile_avx512::<1>(x, panel));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(x: Columns, g: Columns, out: &mut [f32], panel: &mut Vec<f32>) {
    sum_in(x, g, out, panel, tile::<2>, tile::<1>);
}

/// Some rows of `out`, all columns of one panel.
type Sums<const R: usize> = [[f32; COLUMNS]; R];

#[inline(always)]
fn sum_in<const R: usize>(
    x: Columns,
    g: Columns,
    out: &mut [f32],
    panel: &mut Vec<f32>,
    wide: impl Fn(Columns, &[f32]) -> Sums<R>,
    narrow: impl Fn(Columns, &[f32]) -> Sums<1>,
) {
    for from in (0..g.count).step_by(COLUMNS) {
        let width = COLUMNS.min(g.count - from);
        gather(g, from, width, panel);
        let mut store = |row: usize, sums: &[f32; COLUMNS]| {
            let to = &mut out[row * g.stride + g.first + from..][..width];
            // A whole panel is stored by registers; a length that is not known is a call.
            match to.as_mut_array::<COLUMNS>() {
                Some(to) => *to = *sums,
                None => to.copy_from_slice(&sums[..width]),
            }
        };
        let at = |row: usize| Columns { first: x.first + row, count: R, ..x };
        let whole = x.count - x.count % R;
        for row in (0..whole).step_by(R) {
            wide(at(row), panel).iter().enumerate().for_each(|(r, sums)| store(row + r, sums));
        }
        for row in whole..x.count {
            store(row, &narrow(at(row), panel)[0]);
        }
    }
}

/// Columns `from..from + width` of `g`, one row after the other, padded with zeros to a panel.
#[inline(always)]
fn gather(g: Columns, from: usize, width: usize, panel: &mut Vec<f32>) {
    if width < COLUMNS {
        panel.clear();
    }
    panel.resize(g.data.len() / g.stride * COLUMNS, 0.0);
    for (to, row) in panel.as_chunks_mut::<COLUMNS>().0.iter_mut().zip(g.data.chunks_exact(g.stride)) {
        let row = &row[g.first + from..][..width];
        match row.as_array::<COLUMNS>() {
            Some(row) => *to = *row,
            None => to[..width].copy_from_slice(row),
        }
    }
}

#[inline(always)]
fn tile<const R: usize>(x: Columns, panel: &[f32]) -> Sums<R> {
    let mut sums = [[0.0; COLUMNS]; R];
    let (panel, _) = panel.as_chunks::<COLUMNS>();
    for (row, g) in x.data.chunks_exact(x.stride).zip(panel) {
        let x = &row[x.first..x.first + R];
        for r in 0..R {
            for j in 0..COLUMNS {
                sums[r][j] += x[r] * g[j];
            }
        }
    }
    sums
}

/// The same with registers named by hand: what the compiler makes of [`tile`] spills them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn tile_avx512<const R: usize>(x: Columns, panel: &[f32]) -> Sums<R> {
    use std::arch::x86_64::*;
    let mut sums = [[_mm512_setzero_ps(); 2]; R];
    let (panel, _) = panel.as_chunks::<COLUMNS>();
    for (row, g) in x.data.chunks_exact(x.stride).zip(panel) {
        let x = &row[x.first..x.first + R];
        // SAFETY: both halves of the 32 columns lie in the array.
        let g = unsafe { [_mm512_loadu_ps(g.as_ptr()), _mm512_loadu_ps(g.as_ptr().add(16))] };
        for r in 0..R {
            let x = _mm512_set1_ps(x[r]);
            sums[r] = [0, 1].map(|half| _mm512_add_ps(sums[r][half], _mm512_mul_ps(x, g[half])));
        }
    }
    let mut out = [[0.0; COLUMNS]; R];
    for (out, sums) in out.iter_mut().zip(&sums) {
        // SAFETY: both halves of the 32 columns lie in the array.
        unsafe {
            _mm512_storeu_ps(out.as_mut_ptr(), sums[0]);
            _mm512_storeu_ps(out.as_mut_ptr().add(16), sums[1]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: usize, f: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * f).sin()).collect()
    }

    #[test]
    fn every_tile_gives_the_bits_of_the_plain_sum() {
        let (rows, inputs, outputs, total) = (19, 21, 37, 50);
        let (x, g) = (wave(rows * inputs, 0.37), wave(rows * total, 0.73));
        let x = Columns { data: &x, stride: inputs, first: 2, count: inputs - 2 };
        let g = Columns { data: &g, stride: total, first: 4, count: outputs };
        let mut out = vec![7.0; x.count * total];
        let (mut narrow, mut other) = (out.clone(), out.clone());
        sum(x, g, &mut out, &mut Vec::new());
        sum_in(x, g, &mut narrow, &mut Vec::new(), tile::<3>, tile::<1>);
        assert_eq!(out, narrow);
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: checked above.
            unsafe { sum_avx2(x, g, &mut other, &mut Vec::new()) };
            assert_eq!(out, other);
        }
        other.fill(0.0);
        for (at, &got) in out.iter().enumerate() {
            let (i, j) = (at / total, at % total);
            let product = |s, k| s + x.data[k * inputs + 2 + i] * g.data[k * total + j];
            let plain = if (4..4 + outputs).contains(&j) { (0..rows).fold(0.0, product) } else { 7.0 };
            assert_eq!(got, plain, "row {i} column {j}");
        }
    }
}
