//! How far a device may stray from a twin, and the comparison that holds it to that.

use super::Cell;
use std::fmt;

/// What a kernel promises about its output on any device, given equal inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// The same words.
    Bitwise,
    /// `|device - twin| <= abs + rel * |twin|`. `abs` is meant for operands of order one.
    AbsRel { abs: f32, rel: f32 },
}

impl Tolerance {
    /// For one correctly rounded operation: the shading language leaves the rounding mode open and
    /// lets subnormals be flushed.
    pub const ROUNDED_ONCE: Tolerance = Tolerance::AbsRel { abs: f32::MIN_POSITIVE, rel: f32::EPSILON };

    /// For values that are only chosen, never computed: a subnormal may still be flushed.
    pub const CHOSEN: Tolerance = Tolerance::AbsRel { abs: f32::MIN_POSITIVE, rel: 0.0 };

    /// For a short expression: room for fusion, division within 2.5 ULP and `exp` within 3 + 2|x| ULP.
    pub const EXPRESSION: Tolerance = Tolerance::AbsRel { abs: 1e-5, rel: 1e-4 };

    /// For a sum of `terms` products or values of order one, whose rounding errors grow like a random walk.
    pub fn sum(terms: usize) -> Tolerance {
        Tolerance::AbsRel { abs: 1e-5 * (terms.max(1) as f32).sqrt(), rel: 1e-4 }
    }

    /// Compares a device's words with the twin's; the first difference beyond the tolerance is the error.
    pub fn check(self, cell: Cell, twin: &[u32], device: &[u32]) -> Result<(), Mismatch> {
        assert_eq!(twin.len(), device.len(), "outputs of different lengths");
        let close = |t: u32, d: u32| match (self, cell) {
            (Tolerance::AbsRel { abs, rel }, Cell::F32) => near(f32::from_bits(t), f32::from_bits(d), abs, rel),
            _ => t == d,
        };
        let mut far = (0..twin.len()).filter(|&i| !close(twin[i], device[i]));
        match far.next() {
            None => Ok(()),
            Some(word) => {
                Err(Mismatch { word, twin: twin[word], device: device[word], count: 1 + far.count(), of: twin.len() })
            }
        }
    }
}

/// Equal infinities and two NaNs are near; anything else that is not finite is not.
fn near(twin: f32, device: f32, abs: f32, rel: f32) -> bool {
    if twin.is_nan() || device.is_nan() {
        return twin.is_nan() && device.is_nan();
    }
    twin == device || (twin - device).abs() <= abs + rel * twin.abs().min(f32::MAX)
}

/// Where a device's output left the tolerance.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct Mismatch {
    /// Index of the first word that differs too much.
    pub word: usize,
    pub twin: u32,
    pub device: u32,
    /// How many words differ too much, of how many.
    pub count: usize,
    pub of: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, twin, device, count, of } = self;
        let (t, d) = (f32::from_bits(*twin), f32::from_bits(*device));
        write!(
            f,
            "{count} of {of} words beyond tolerance, the first at {word}: twin {twin:#010x} ({t}), device {device:#010x} ({d})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tolerance: Tolerance, twin: f32, device: f32) -> bool {
        tolerance.check(Cell::F32, &[twin.to_bits()], &[device.to_bits()]).is_ok()
    }

    #[test]
    fn near_values_pass_and_far_ones_fail() {
        let t = Tolerance::AbsRel { abs: 1e-5, rel: 1e-4 };
        assert!(check(t, 100.0, 100.005));
        assert!(!check(t, 100.0, 100.02));
        assert!(check(t, 0.0, 9e-6));
        assert!(!check(t, 0.0, 2e-5));
    }

    #[test]
    fn non_finite_values_must_agree() {
        let t = Tolerance::EXPRESSION;
        assert!(check(t, f32::NAN, f32::NAN));
        assert!(!check(t, f32::NAN, 0.0));
        assert!(!check(t, 0.0, f32::NAN));
        assert!(check(t, f32::INFINITY, f32::INFINITY));
        assert!(!check(t, f32::INFINITY, f32::NEG_INFINITY));
        assert!(!check(t, 1.0, f32::INFINITY));
        assert!(!check(t, f32::INFINITY, 1.0));
    }

    #[test]
    fn bitwise_tells_the_zeros_apart_and_counts() {
        let zeros = [0.0f32.to_bits(), (-0.0f32).to_bits(), 7];
        let found = Tolerance::Bitwise.check(Cell::F32, &[0, 0, 8], &zeros).unwrap_err();
        assert_eq!((found.word, found.count, found.of), (1, 2, 3));
    }
}
