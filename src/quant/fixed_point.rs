//! Fixed-point arithmetic of the integer kernels: doubling high products, and the exponential and
//! reciprocal that softmax, and TensorFlow Lite for Microcontrollers' logistic and hyperbolic tangent,
//! are defined by (SPEC 5.1 and 5.3).
//!
//! Integers only: a chip can do all of it, and no float library can change a code.

use super::Round;

/// Saturating rounding doubling high product: `(a·b + 2^30) >> 31`, ties to plus infinity.
#[inline]
pub fn srdhm(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    ((i64::from(a) * i64::from(b) + (1 << 30)) >> 31) as i32
}

/// Rounding division by `2^e`, ties away from zero.
#[inline]
pub fn rdbp(x: i32, e: u32) -> i32 {
    Round::HalfAway.shift(i64::from(x), e) as i32
}

/// [`srdhm`] on 16 bits: `(a·b + 2^14) >> 15`.
pub fn srdhm16(a: i16, b: i16) -> i16 {
    if a == i16::MIN && b == i16::MIN {
        return i16::MAX;
    }
    ((i32::from(a) * i32::from(b) + (1 << 14)) >> 15) as i16
}

/// The mantissa of a 32-bit multiplier on 16 bits.
pub fn mantissa16(mantissa: i32) -> i16 {
    ((i64::from(mantissa) + (1 << 15)) >> 16).min(0x7fff) as i16
}

/// `x·2^e`, saturated.
fn shift_left(x: i32, e: u32) -> i32 {
    (i64::from(x) << e).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// `exp(a)` in Q0.31 for `a` in [-1/4, 0) of Q0.31: the Taylor polynomial around -1/8.
fn exp_between_negative_quarter_and_zero(a: i32) -> i32 {
    const EXP_MINUS_EIGHTH: i32 = 1_895_147_668;
    const THIRD: i32 = 715_827_883;
    let x = a + (1 << 28);
    let x2 = srdhm(x, x);
    let x3 = srdhm(x2, x);
    let x4 = srdhm(x2, x2);
    let tail = rdbp(srdhm(rdbp(x4, 2) + x3, THIRD) + x2, 1);
    EXP_MINUS_EIGHTH + srdhm(EXP_MINUS_EIGHTH, x + tail)
}

/// `exp(a)` in Q0.31 for `a <= 0` with `integer_bits` before the point.
pub fn exp_on_negative(a: i32, integer_bits: u32) -> i32 {
    /// (exponent of the bit, exp(-2^exponent) in Q0.31)
    const BARREL: [(i32, i32); 7] = [
        (-2, 1_672_461_947),
        (-1, 1_302_514_674),
        (0, 790_015_084),
        (1, 290_630_308),
        (2, 39_332_535),
        (3, 720_401),
        (4, 242),
    ];
    debug_assert!(a <= 0 && integer_bits <= 5);
    if a == 0 {
        return i32::MAX;
    }
    let fraction_bits = 31 - integer_bits;
    let quarter = 1i32 << (fraction_bits - 2);
    let within = (a & (quarter - 1)) - quarter;
    let mut result = exp_between_negative_quarter_and_zero(shift_left(within, integer_bits));
    let rest = within.wrapping_sub(a);
    for (exponent, factor) in BARREL {
        let bit = fraction_bits as i32 + exponent;
        if (integer_bits as i32) > exponent && rest & (1 << bit) != 0 {
            result = srdhm(result, factor);
        }
    }
    result
}

/// `2 / (1 + a)` in Q2.29 for `a` in [0, 1) of Q0.31: three Newton steps from a linear guess.
fn two_over_one_plus(a: i32) -> i32 {
    const FORTY_EIGHT_SEVENTEENTHS: i32 = 1_515_870_810;
    const MINUS_THIRTY_TWO_SEVENTEENTHS: i32 = -1_010_580_540;
    let half = ((i64::from(a) + i64::from(i32::MAX) + 1) / 2) as i32;
    let mut x = FORTY_EIGHT_SEVENTEENTHS + srdhm(half, MINUS_THIRTY_TWO_SEVENTEENTHS);
    for _ in 0..3 {
        let error = (1 << 29) - srdhm(half, x);
        x += shift_left(srdhm(x, error), 2);
    }
    x
}

/// `1 / (1 + a)` in Q0.31 for `a` in [0, 1) of Q0.31.
pub fn one_over_one_plus(a: i32) -> i32 {
    shift_left(two_over_one_plus(a), 1)
}

/// `(1 - a) / (1 + a)` in Q0.31 for `a` in [0, 1) of Q0.31.
fn one_minus_over_one_plus(a: i32) -> i32 {
    shift_left(two_over_one_plus(a) - (1 << 29), 2)
}

/// The logistic function of Q4.27, in Q0.31.
pub fn logistic(a: i32) -> i32 {
    if a == 0 {
        return 1 << 30;
    }
    let above_half = one_over_one_plus(exp_on_negative(-a.abs(), 4));
    if a > 0 { above_half } else { i32::MAX - above_half }
}

/// The hyperbolic tangent of Q4.27, in Q0.31.
pub fn tanh(a: i32) -> i32 {
    if a == 0 {
        return 0;
    }
    // Read as Q5.26, the same bits are twice the value: tanh(-a) = (1 - exp(-2a)) / (1 + exp(-2a)).
    let magnitude = one_minus_over_one_plus(exp_on_negative(-a.abs(), 5));
    a.signum() * magnitude
}

/// `1 / x` for positive `x` with `integer_bits` before the point: Q0.31 and how many bits over one
/// `x` had.
pub fn reciprocal(x: i32, integer_bits: i32) -> (i32, i32) {
    debug_assert!(x > 0);
    let headroom = x.leading_zeros();
    let above_one = ((x as u32) << headroom).wrapping_sub(1 << 31) as i32;
    (one_over_one_plus(above_one), integer_bits - headroom as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SPEC 5.1.
    #[test]
    fn golden_high_products() {
        assert_eq!(srdhm(-(1 << 30), 1), 0);
        assert_eq!(srdhm(1 << 30, 1), 1);
        assert_eq!(srdhm(-(1 << 30) - 1, 1), -1);
        assert_eq!(srdhm(i32::MIN, i32::MIN), i32::MAX);
        assert_eq!(srdhm16(i16::MIN, i16::MIN), i16::MAX);
    }

    #[test]
    fn exponential_and_reciprocal_follow_the_real_functions() {
        for a in (0..=31).map(|i| -(i << 21)) {
            let real = (f64::from(a) / f64::from(1 << 26)).exp();
            let fixed = f64::from(exp_on_negative(a, 5)) / 2f64.powi(31);
            assert!((real - fixed).abs() < 3e-7, "exp({a}): {fixed}, not {real}");
        }
        for x in [1 << 19, 3 << 18, 1 << 20, (1 << 27) + 12345, i32::MAX] {
            let (r, bits) = reciprocal(x, 12);
            let fixed = f64::from(r) / 2f64.powi(31 + bits);
            let real = 2f64.powi(19) / f64::from(x);
            assert!((fixed / real - 1.0).abs() < 1e-7, "1/{x}: {fixed}, not {real}");
        }
    }
}
