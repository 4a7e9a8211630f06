//! Requantisation: an accumulator times a real factor, as the runtimes and chips really do it.
//!
//! The styles differ by at most one code, on a third of a percent of outputs, so the style is part
//! of a trunk's identity. A style is one variant with one arm in each function below; the zero
//! point and the clamp come after and are nobody's choice. A style takes 32 bits, wrapping what
//! exceeds them, or sums of any width ([`RequantStyle::wide`]).

use super::fixed_point::{rdbp, srdhm};
use super::sum::{saturated, shift_either_way};
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
    /// A shift alone: factors are powers of two.
    Shift { round: Round },
    /// One rounding of the whole product. `shared`: all channels of a layer have one shift.
    MulShift { round: Round, shared: bool },
    /// NVDLA's converter: saturated to 32 bits, a 16-bit factor, a half-away shift that all channels
    /// of a layer share.
    Nvdla,
}

/// Bits of NVDLA's shift register.
const NVDLA_SHIFT_MAX: i32 = 63;

impl RequantStyle {
    /// The register for a real factor.
    pub fn multiplier(self, real: f64) -> Multiplier {
        match self {
            RequantStyle::F32Rne => Multiplier::from_f32(real as f32),
            RequantStyle::Single => at_most_2_pow_30(quantize_multiplier(real)),
            RequantStyle::GemmlowpDouble | RequantStyle::Ruy | RequantStyle::MulShift { .. } => {
                quantize_multiplier(real)
            }
            RequantStyle::Shift { .. } => nearest_power_of_two(real),
            RequantStyle::Nvdla => self.shared(&[real])[0],
        }
    }

    /// Whether all channels of a layer have one shift.
    pub fn shares_shift(self) -> bool {
        matches!(self, RequantStyle::Nvdla | RequantStyle::MulShift { shared: true, .. })
    }

    /// The registers of a layer whose channels share a shift: the largest factor uses all bits.
    pub fn shared(self, reals: &[f64]) -> Vec<Multiplier> {
        let bits = if self == RequantStyle::Nvdla { 15 } else { 31 };
        let largest = reals.iter().fold(0.0, |m: f64, r| m.max(r.abs()));
        if largest == 0.0 {
            return vec![Multiplier::default(); reals.len()];
        }
        // The largest shift under which the largest factor still fits.
        let top = 2f64.powi(bits) - 1.0;
        let fits = |shift: i32| (largest * 2f64.powi(shift)).round_ties_even() <= top;
        let most = if self == RequantStyle::Nvdla { NVDLA_SHIFT_MAX } else { 62 };
        let shift = (0..=most).rev().find(|&n| fits(n)).unwrap_or(0);
        let register = |real: &f64| {
            let k = (real * 2f64.powi(shift)).round_ties_even().clamp(-top, top) as i32;
            Multiplier { mantissa: k << (31 - bits), shift: bits - shift }
        };
        reals.iter().map(register).collect()
    }

    /// The register for `gain · s_a · s_b / s_y`, with the products in the precision and order that
    /// the style's runtime computes them in.
    pub fn product_multiplier(self, s_a: f32, s_b: f32, gain: f64, s_y: f32) -> Multiplier {
        match self {
            RequantStyle::F32Rne => self.multiplier(f64::from((s_a * s_b) / s_y) * gain),
            _ => self.multiplier(f64::from(s_a) * f64::from(s_b) * gain / f64::from(s_y)),
        }
    }

    /// Whether it takes sums of any width.
    pub fn is_wide(self) -> bool {
        self.wide(0, Multiplier::default()).is_some()
    }

    /// `acc × m`, rounded, for styles that take sums of any width; `None` for those of 32 bits.
    #[inline]
    pub fn wide(self, acc: i64, m: Multiplier) -> Option<i64> {
        match self {
            RequantStyle::Shift { round } => {
                let signed = if m.mantissa < 0 { acc.saturating_neg() } else { acc };
                Some(if m.mantissa == 0 { 0 } else { shift_either_way(round, signed, 1 - m.shift) })
            }
            RequantStyle::MulShift { round, .. } => Some(mul_shift(round, acc, m)),
            RequantStyle::Nvdla => {
                let product = i64::from(saturated(acc)) * i64::from(m.mantissa >> 16);
                Some(Round::HalfAway.shift(product, (15 - m.shift).clamp(0, NVDLA_SHIFT_MAX) as u32))
            }
            _ => None,
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
            RequantStyle::Shift { .. } | RequantStyle::MulShift { .. } | RequantStyle::Nvdla => {
                self.wide(i64::from(acc), m).map_or(0, saturated)
            }
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
            // Converting a float saturates, and so do the wide styles.
            RequantStyle::F32Rne | RequantStyle::Shift { .. } | RequantStyle::MulShift { .. } | RequantStyle::Nvdla => {
                false
            }
        }
    }
}

/// Single-rounding builds clamp a factor that their 64-bit product could not hold.
fn at_most_2_pow_30(m: Multiplier) -> Multiplier {
    if m.shift <= 30 { m } else { Multiplier { mantissa: i32::MAX * m.mantissa.signum(), shift: 30 } }
}

fn nearest_power_of_two(real: f64) -> Multiplier {
    if real == 0.0 || !real.is_finite() {
        return Multiplier::default();
    }
    let exponent = real.abs().log2().round() as i32;
    Multiplier { mantissa: if real < 0.0 { -(1 << 30) } else { 1 << 30 }, shift: exponent + 1 }
}

#[inline]
fn wrapping_left(acc: i32, n: u32) -> i32 {
    if n > 31 { 0 } else { acc.wrapping_shl(n) }
}

#[inline]
fn single(acc: i32, m: Multiplier) -> i64 {
    Round::HalfUp.shift(i64::from(acc) * i64::from(m.mantissa), (31 - m.shift).clamp(1, 63) as u32)
}

/// The exact product, rounded once; what 64 bits cannot hold saturates.
#[inline]
fn mul_shift(round: Round, acc: i64, m: Multiplier) -> i64 {
    let right = 31 - m.shift;
    match i32::try_from(acc) {
        Ok(acc) if (0..=63).contains(&right) => round.shift(i64::from(acc) * i64::from(m.mantissa), right as u32),
        _ => {
            let product = i128::from(acc) * i128::from(m.mantissa);
            let value = match right {
                0.. => round.shift_wide(product, right.min(127) as u32),
                _ => product.saturating_mul(1 << right.unsigned_abs().min(100)),
            };
            value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
        }
    }
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

    #[test]
    fn shifts_know_one_power_of_two_and_saturate_to_the_left() {
        let style = RequantStyle::Shift { round: Round::HalfUp };
        let quarter = style.multiplier(0.25);
        assert_eq!([-7i32, -6, -5, 5, 6, 7].map(|acc| style.apply(acc, quarter)), [-2, -1, -1, 1, 2, 2]);
        assert_eq!(style.apply(3, style.multiplier(8.0)), 24);
        assert_eq!(style.apply(-3, style.multiplier(-2.0)), 6);
        assert_eq!(style.apply(i32::MAX, style.multiplier(1024.0)), i32::MAX);
        assert_eq!(style.multiplier(0.3), quarter, "the nearest");
    }

    /// By hand: 0.75 and 0.1 in 15 bits under one shift are 24576 and 3277 over 2^15.
    #[test]
    fn channels_of_nvdla_share_a_shift() {
        let m = RequantStyle::Nvdla.shared(&[0.75, 0.1, 0.0]);
        assert_eq!(m.iter().map(|m| m.mantissa >> 16).collect::<Vec<_>>(), [24576, 3277, 0]);
        assert!(m.iter().all(|m| 15 - m.shift == 15));
        // 10 × 24576 / 2^15 = 7.5 and -7.5 go away from zero; a sum beyond 32 bits saturates first.
        assert_eq!([10, -10].map(|acc| RequantStyle::Nvdla.apply(acc, m[0])), [8, -8]);
        assert_eq!(RequantStyle::Nvdla.wide(1 << 40, m[0]), Some(1_610_612_735));
    }

    #[test]
    fn a_whole_product_is_rounded_once_at_any_width() {
        for round in Round::ALL {
            let style = RequantStyle::MulShift { round, shared: false };
            let m = style.multiplier(-0.375);
            // 20 × -0.375 = -7.5; 2^40 + 20 shows the same tie far from zero.
            let tie = round.shift(-15, 1);
            assert_eq!(style.wide(20, m), Some(tie), "{round}");
            let far = style.wide((1 << 40) + 20, m).unwrap();
            let whole = -(3i64 << 37) - 8;
            assert_eq!(far, whole + i64::from(round.shift(2 * whole + 1, 1) != whole), "{round}");
        }
        let floor = RequantStyle::MulShift { round: Round::Floor, shared: true };
        assert_eq!(floor.multiplier(1e30).shift, 100);
        assert_eq!(floor.wide(5, floor.multiplier(1e30)), Some(i64::MAX));
    }
}
