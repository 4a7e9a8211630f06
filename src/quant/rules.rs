//! What calibration may choose: the codes of maps and weights that an arithmetic can express.

use super::weights::WeightCodes;
use super::{CodeType, Granularity, QuantParams};

/// Which parameters a map may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapCodes {
    /// Any scale and zero point.
    Affine,
    /// Any scale; zero is code 0.
    Symmetric,
    /// A scale that is a power of two; zero is code 0.
    PowerOfTwo,
    /// Any scale, no negative values: zero is the lowest code, which is presented as 0.
    Unsigned,
}

/// The codes of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRule {
    pub codes: MapCodes,
    /// 2 to 8.
    pub bits: u8,
}

impl MapRule {
    /// The smallest and the largest code.
    pub fn range(self) -> (i32, i32) {
        let half = 1i32 << (self.bits - 1);
        match self.codes {
            MapCodes::Unsigned => (-128, -129 + 2 * half),
            _ => (-half, half - 1),
        }
    }

    /// Codes that cover a range, extended to hold 0. A map that is always 0 has no range, and any
    /// scale codes it exactly.
    pub fn cover(self, min: f32, max: f32) -> QuantParams {
        let (min, max) = (f64::from(min.min(0.0)), f64::from(max.max(0.0)));
        let (lo, hi) = self.range();
        let one_side = max.max(-min) / f64::from(hi);
        let scale = match self.codes {
            MapCodes::Affine => (max - min) / f64::from(hi - lo),
            MapCodes::Unsigned => max / f64::from(hi - lo),
            MapCodes::Symmetric => one_side,
            MapCodes::PowerOfTwo => power_of_two_at_least(one_side),
        };
        let scale = scale as f32;
        let scale = if scale.is_normal() { scale } else { 1.0 };
        let zero_point = match self.codes {
            MapCodes::Affine => {
                let zero = (f64::from(lo) - min / f64::from(scale)).round_ties_even();
                zero.clamp(f64::from(lo), f64::from(hi)) as i32
            }
            _ => self.zero(),
        };
        self.params(scale, zero_point)
    }

    /// Codes of a function with values in 0 to 1.
    pub fn unit(self) -> QuantParams {
        let steps = 2f32.powi(i32::from(self.bits));
        match self.codes {
            MapCodes::Affine => self.params(1.0 / steps, self.range().0),
            MapCodes::Unsigned => self.params(1.0 / steps, self.zero()),
            MapCodes::Symmetric | MapCodes::PowerOfTwo => self.params(2.0 / steps, self.zero()),
        }
    }

    /// Codes of a function with values in -1 to 1.
    pub fn signed_unit(self) -> QuantParams {
        self.params(2f32.powi(1 - i32::from(self.bits)), self.zero())
    }

    /// Codes of probabilities, which every arithmetic's softmax has.
    pub fn probabilities(self) -> QuantParams {
        self.params(1.0 / 256.0, -128)
    }

    fn zero(self) -> i32 {
        if self.codes == MapCodes::Unsigned { -128 } else { 0 }
    }

    fn params(self, scale: f32, zero_point: i32) -> QuantParams {
        let codes = if self.codes == MapCodes::Unsigned { CodeType::U8 } else { CodeType::I8 };
        QuantParams { scale, zero_point, codes }
    }

    /// Why a map cannot have these parameters, if it cannot.
    pub fn refuses(self, q: &QuantParams) -> Option<String> {
        if self.codes == MapCodes::PowerOfTwo && power_of_two_at_least(f64::from(q.scale)) != f64::from(q.scale) {
            return Some(format!("has scale {}, which is no power of two", q.scale));
        }
        let zero = self.zero();
        (self.codes != MapCodes::Affine && q.zero_point != zero)
            .then(|| format!("has zero point {} in the engine's signed view; it must be {zero}", q.zero_point))
    }
}

/// The smallest power of two that is not smaller; 0 of 0.
fn power_of_two_at_least(x: f64) -> f64 {
    if x > 0.0 { 2f64.powi(x.log2().ceil() as i32) } else { 0.0 }
}

/// The codes of weights, which are symmetric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightRule {
    /// 2 to 8.
    pub bits: u8,
    pub granularity: Granularity,
    pub power_of_two: bool,
}

impl WeightRule {
    /// The largest code; the smallest is its opposite.
    pub fn largest(self) -> f32 {
        ((1i32 << (self.bits - 1)) - 1) as f32
    }

    /// Why weights that came as codes cannot be used, if they cannot.
    pub fn refuses(self, weights: &WeightCodes) -> Option<String> {
        if self.granularity == Granularity::PerTensor && weights.scales.len() > 1 {
            return Some("has one scale per channel; it must have one".into());
        }
        let power = |s: &f32| power_of_two_at_least(f64::from(*s)) == f64::from(*s);
        if let Some(s) = weights.scales.iter().find(|s| self.power_of_two && !power(s)) {
            return Some(format!("has scale {s}, which is no power of two"));
        }
        if self.power_of_two && !weights.is_symmetric() {
            return Some("has a zero point; it must be 0".into());
        }
        let largest = weights.codes.iter().map(|q| i32::from(*q).abs()).max().unwrap_or(0);
        (self.bits < 8 && largest > self.largest() as i32)
            .then(|| format!("has codes up to {largest}, beyond {} bits; use the float model", self.bits))
    }

    /// The scale that covers weights up to `largest`.
    pub fn scale(self, largest: f32) -> f32 {
        let scale = largest / self.largest();
        let scale = if self.power_of_two { power_of_two_at_least(f64::from(scale)) as f32 } else { scale };
        // A channel of zeros, or one too small for a scale.
        if scale == 0.0 { 1.0 } else { scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover(codes: MapCodes, bits: u8, min: f32, max: f32) -> (f32, i32) {
        let q = MapRule { codes, bits }.cover(min, max);
        (q.scale, q.zero_point)
    }

    #[test]
    fn ranges_are_extended_to_zero() {
        assert_eq!(cover(MapCodes::Affine, 8, 1.0, 2.55), (0.01, -128));
        assert_eq!(cover(MapCodes::Affine, 8, -2.55, -1.0), (0.01, 127));
        assert_eq!(cover(MapCodes::Affine, 8, -1.0, 1.55), (0.01, -28));
        assert_eq!(cover(MapCodes::Affine, 8, 0.0, 0.0), (1.0, -128));
        assert_eq!(cover(MapCodes::Affine, 4, -0.8, 0.7), (0.1, 0));
    }

    #[test]
    fn chips_get_the_scales_they_have() {
        assert_eq!(cover(MapCodes::Symmetric, 8, -2.54, 1.0), (0.02, 0));
        assert_eq!(cover(MapCodes::Unsigned, 8, -9.0, 5.1), (0.02, -128));
        // 3 / 127 = 0.0236 needs a step of 1/32; 127/64 fits 1/64 exactly.
        assert_eq!(cover(MapCodes::PowerOfTwo, 8, -3.0, 1.0), (1.0 / 32.0, 0));
        assert_eq!(cover(MapCodes::PowerOfTwo, 8, 0.0, 127.0 / 64.0), (1.0 / 64.0, 0));
        let dpu = MapRule { codes: MapCodes::PowerOfTwo, bits: 8 };
        assert!(dpu.refuses(&dpu.cover(-3.0, 1.0)).is_none());
        assert!(dpu.refuses(&QuantParams { scale: 0.02, zero_point: 0, codes: CodeType::I8 }).is_some());
        assert!(dpu.refuses(&QuantParams { scale: 0.5, zero_point: 1, codes: CodeType::I8 }).is_some());
    }
}
