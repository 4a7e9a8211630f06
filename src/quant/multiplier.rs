//! A real factor as an integer mantissa and a power of two: what a requantisation register holds.

/// `mantissa × 2^(shift - 31)`. The mantissa is signed: a batch norm's gamma may be negative.
///
/// A mantissa of zero is the factor zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Multiplier {
    pub mantissa: i32,
    pub shift: i32,
}

impl Multiplier {
    /// What one register takes on the chip: 32 bits of mantissa and 8 of shift.
    pub const BYTES: u64 = 5;

    /// An f32 factor, held exactly: its 24-bit mantissa fits the 31 bits there are.
    pub fn from_f32(real: f32) -> Self {
        if real == 0.0 || !real.is_finite() {
            return Self::default();
        }
        let (fraction, exponent) = frexp(f64::from(real));
        Self { mantissa: (fraction * TWO_31) as i32, shift: exponent }
    }

    /// The factor as an f32: exact for what [`Multiplier::from_f32`] made.
    #[inline]
    pub fn to_f32(self) -> f32 {
        self.to_f64() as f32
    }

    /// The factor that the register stands for.
    #[inline]
    pub fn to_f64(self) -> f64 {
        f64::from(self.mantissa) * power_of_two(self.shift - 31)
    }
}

const TWO_31: f64 = 2_147_483_648.0;

/// `QuantizeMultiplier` of SPEC 5.1, extended to negative factors by symmetry.
///
/// A factor below 2^-32 becomes zero, as in the original; `real` must be finite.
pub fn quantize_multiplier(real: f64) -> Multiplier {
    assert!(real.is_finite(), "a requantisation factor must be finite, got {real}");
    if real == 0.0 {
        return Multiplier::default();
    }
    let (fraction, mut shift) = frexp(real);
    let mut mantissa = (fraction * TWO_31).round() as i64;
    if mantissa.abs() == 1 << 31 {
        mantissa /= 2;
        shift += 1;
    }
    if shift < -31 {
        return Multiplier::default();
    }
    Multiplier { mantissa: mantissa as i32, shift }
}

/// `real = fraction × 2^exponent` with `|fraction|` in [1/2, 1).
fn frexp(real: f64) -> (f64, i32) {
    const EXPONENT: u64 = 0x7ff << 52;
    let bits = real.to_bits();
    if bits & EXPONENT == 0 {
        // Zero or subnormal: normalise first.
        let (fraction, exponent) = if real == 0.0 { (real, 64) } else { frexp(real * power_of_two(64)) };
        return (fraction, exponent - 64);
    }
    let exponent = ((bits & EXPONENT) >> 52) as i32 - 1022;
    (f64::from_bits((bits & !EXPONENT) | (1022 << 52)), exponent)
}

/// 2^e for every exponent an f64 can hold normally; smaller ones become zero.
#[inline]
fn power_of_two(e: i32) -> f64 {
    if e < -1022 { 0.0 } else { f64::from_bits(((e.min(1023) + 1023) as u64) << 52) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SPEC 5.1.
    #[test]
    fn golden_multipliers() {
        for (real, mantissa, shift) in [
            (0.0, 0, 0),
            (1.0, 1 << 30, 1),
            (0.5, 1 << 30, 0),
            (0.25, 1 << 30, -1),
            (2.0, 1 << 30, 2),
            (0.75, 1_610_612_736, 0),
            (1.0 / 3.0, 1_431_655_765, -1),
            (1.0 - 2f64.powi(-33), 1 << 30, 1),
            (2f64.powi(-32), 1 << 30, -31),
            (3e-10, 1_383_505_806, -31),
            (1e-10, 0, 0),
        ] {
            assert_eq!(quantize_multiplier(real), Multiplier { mantissa, shift }, "{real}");
            assert_eq!(quantize_multiplier(-real), Multiplier { mantissa: -mantissa, shift }, "-{real}");
        }
    }

    #[test]
    fn f32_factors_are_held_exactly() {
        for real in [1.0f32, 0.1, -0.3, 1e-30, -3.0e38, f32::MIN_POSITIVE, f32::from_bits(1), 0.0] {
            assert_eq!(Multiplier::from_f32(real).to_f32(), real, "{real}");
        }
    }
}
