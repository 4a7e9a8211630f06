//! Requantisation: an int32 accumulator times a real factor, as the runtimes and chips really do it.
//!
//! The styles differ by at most one code, on a third of a percent of outputs, so the style is part
//! of a trunk's identity. A style is one variant with one arm in each function below; the zero
//! point and the clamp come after and are nobody's choice.

use super::fixed_point::{rdbp, srdhm};
use super::{Multiplier, Round, quantize_multiplier};
use serde::{Deserialize, Serialize};

/// The rounding of SPEC 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequantStyle {
    /// A doubling high product, then a half-away shift: two roundings.
    GemmlowpDouble,
    /// The same with a half-up shift.
    Ruy,
    /// One rounding of the 64-bit product, ties to plus infinity.
    Single,
    /// The accumulator and an f32 factor multiplied in f32, ties to even.
    F32Rne,
}

impl RequantStyle {
    /// The register for a real factor.
    pub fn multiplier(self, real: f64) -> Multiplier {
        match self {
            RequantStyle::F32Rne => Multiplier::from_f32(real as f32),
            RequantStyle::Single => at_most_2_pow_30(quantize_multiplier(real)),
            RequantStyle::GemmlowpDouble | RequantStyle::Ruy => quantize_multiplier(real),
        }
    }

    /// The register for `gain · s_a · s_b / s_y`, with the products in the precision and order that
    /// the style's runtime computes them in.
    pub fn product_multiplier(self, s_a: f32, s_b: f32, gain: f64, s_y: f32) -> Multiplier {
        match self {
            RequantStyle::F32Rne => self.multiplier(f64::from((s_a * s_b) / s_y) * gain),
            _ => self.multiplier(f64::from(s_a) * f64::from(s_b) * gain / f64::from(s_y)),
        }
    }

    /// `acc × m`, rounded. An intermediate left shift wraps; [`RequantStyle::overflows`] says so.
    #[inline]
    pub fn apply(self, acc: i32, m: Multiplier) -> i32 {
        let (left, right) = (m.shift.max(0) as u32, (-m.shift).max(0) as u32);
        match self {
            RequantStyle::GemmlowpDouble => rdbp(srdhm(wrapping_left(acc, left), m.mantissa), right),
            RequantStyle::Ruy => {
                let high = srdhm(wrapping_left(acc, left), m.mantissa);
                Round::HalfUp.shift(i64::from(high), right) as i32
            }
            RequantStyle::Single => single(acc, m) as i32,
            RequantStyle::F32Rne => (acc as f32 * m.to_f32()).round_ties_even() as i32,
        }
    }

    /// Whether [`RequantStyle::apply`] wraps on this accumulator.
    #[inline]
    pub fn overflows(self, acc: i32, m: Multiplier) -> bool {
        match self {
            RequantStyle::GemmlowpDouble | RequantStyle::Ruy => {
                m.shift > 0
                    && (m.shift > 31 || (i64::from(acc) << m.shift) != i64::from(wrapping_left(acc, m.shift as u32)))
            }
            RequantStyle::Single => {
                let exact = single(acc, m);
                exact != i64::from(exact as i32)
            }
            // Converting a float saturates.
            RequantStyle::F32Rne => false,
        }
    }
}

/// Single-rounding builds clamp a factor that their 64-bit product could not hold.
fn at_most_2_pow_30(m: Multiplier) -> Multiplier {
    if m.shift <= 30 { m } else { Multiplier { mantissa: i32::MAX * m.mantissa.signum(), shift: 30 } }
}

#[inline]
fn wrapping_left(acc: i32, n: u32) -> i32 {
    if n > 31 { 0 } else { acc.wrapping_shl(n) }
}

#[inline]
fn single(acc: i32, m: Multiplier) -> i64 {
    Round::HalfUp.shift(i64::from(acc) * i64::from(m.mantissa), (31 - m.shift).clamp(1, 63) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_left_shift_wraps_and_is_reported() {
        // SPEC 5.2: 2^30 × 3.0 → 0.
        let m = quantize_multiplier(3.0);
        for style in [RequantStyle::GemmlowpDouble, RequantStyle::Ruy] {
            assert_eq!(style.apply(1 << 30, m), 0);
            assert!(style.overflows(1 << 30, m));
            assert!(!style.overflows(1 << 28, m));
        }
        assert!(RequantStyle::Single.overflows(1 << 30, m));
        assert_eq!(RequantStyle::F32Rne.apply(1 << 30, Multiplier::from_f32(3.0)), i32::MAX);
    }

    #[test]
    fn a_factor_beyond_the_accumulator_is_an_overflow_and_not_a_panic() {
        let m = quantize_multiplier(1e30);
        for style in [RequantStyle::GemmlowpDouble, RequantStyle::Ruy, RequantStyle::Single] {
            let m = style.multiplier(m.to_f64());
            style.apply(1234, m);
            assert!(style.overflows(1234, m), "{style:?}");
        }
    }
}
