//! The inverse transform, in the fixed-point arithmetic of libjpeg's `jidctint.c` (Loeffler,
//! Ligtenberg and Moschytz 1989): columns, then rows, with two more bits in between.

const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;

/// The constants of the algorithm, times 2^13, named after their values.
const FIX_0_298631336: i64 = 2446;
const FIX_0_390180644: i64 = 3196;
const FIX_0_541196100: i64 = 4433;
const FIX_0_765366865: i64 = 6270;
const FIX_0_899976223: i64 = 7373;
const FIX_1_175875602: i64 = 9633;
const FIX_1_501321110: i64 = 12299;
const FIX_1_847759065: i64 = 15137;
const FIX_1_961570560: i64 = 16069;
const FIX_2_053119869: i64 = 16819;
const FIX_2_562915447: i64 = 20995;
const FIX_3_072711026: i64 = 25172;

/// Eight by eight samples of dequantised coefficients (row by row).
pub fn samples(coefficients: &[i32; 64]) -> [u8; 64] {
    let mut work = [0i64; 64];
    for x in 0..8 {
        let column = [0, 1, 2, 3, 4, 5, 6, 7].map(|y| i64::from(coefficients[8 * y + x]));
        for (y, value) in transform(column, CONST_BITS - PASS1_BITS).into_iter().enumerate() {
            work[8 * y + x] = value;
        }
    }
    let mut samples = [0; 64];
    for (row, out) in work.chunks_exact(8).zip(samples.chunks_exact_mut(8)) {
        let row = [0, 1, 2, 3, 4, 5, 6, 7].map(|x| row[x]);
        for (sample, value) in out.iter_mut().zip(transform(row, CONST_BITS + PASS1_BITS + 3)) {
            *sample = (value + 128).clamp(0, 255) as u8;
        }
    }
    samples
}

/// One dimension, rounded down by `shift` bits at the end.
fn transform(c: [i64; 8], shift: u32) -> [i64; 8] {
    let common = (c[2] + c[6]) * FIX_0_541196100;
    let even = [common - c[6] * FIX_1_847759065, common + c[2] * FIX_0_765366865];
    let (sum, difference) = ((c[0] + c[4]) << CONST_BITS, (c[0] - c[4]) << CONST_BITS);
    let even = [sum + even[1], difference + even[0], difference - even[0], sum - even[1]];

    let rotation = (c[7] + c[3] + c[5] + c[1]) * FIX_1_175875602;
    let z1 = -(c[7] + c[1]) * FIX_0_899976223;
    let z2 = -(c[5] + c[3]) * FIX_2_562915447;
    let z3 = rotation - (c[7] + c[3]) * FIX_1_961570560;
    let z4 = rotation - (c[5] + c[1]) * FIX_0_390180644;
    let odd = [
        c[1] * FIX_1_501321110 + z1 + z4,
        c[3] * FIX_3_072711026 + z2 + z3,
        c[5] * FIX_2_053119869 + z2 + z4,
        c[7] * FIX_0_298631336 + z1 + z3,
    ];
    let round = |value: i64| (value + (1 << (shift - 1))) >> shift;
    let (near, far) = ([0, 1, 2, 3].map(|i| round(even[i] + odd[i])), [3, 2, 1, 0].map(|i| round(even[i] - odd[i])));
    [near[0], near[1], near[2], near[3], far[0], far[1], far[2], far[3]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    /// The definition, in double precision.
    fn exact(coefficients: &[i32; 64], x: usize, y: usize) -> f64 {
        let scale = |k: usize| if k == 0 { 0.5f64.sqrt() } else { 1.0 };
        let wave = |k: usize, n: usize| scale(k) * (PI * (2 * n + 1) as f64 * k as f64 / 16.0).cos();
        let term = |i: usize| f64::from(coefficients[i]) * wave(i % 8, x) * wave(i / 8, y);
        128.0 + (0..64).map(term).sum::<f64>() / 4.0
    }

    #[test]
    fn samples_are_the_definition_to_within_one() {
        let mut state = 1u32;
        for _ in 0..200 {
            let coefficients = [(); 64].map(|()| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as i32 % 60 - 30
            });
            for (i, &sample) in samples(&coefficients).iter().enumerate() {
                let exact = exact(&coefficients, i % 8, i / 8).clamp(0.0, 255.0);
                assert!((f64::from(sample) - exact).abs() < 1.0, "{sample} for {exact}");
            }
        }
    }

    #[test]
    fn extreme_coefficients_saturate() {
        assert_eq!(samples(&[i32::MAX >> 8; 64])[0], 255);
        assert_eq!(samples(&[i32::MIN >> 8; 64])[0], 0);
    }
}
