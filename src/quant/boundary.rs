//! Where floats become codes and codes become floats: the trunk's boundary (SPEC 5.7).
//!
//! Bit-defined functions of the f32 bits, so that the CPU and the GPU agree for equal inputs. The
//! *boundary* rule multiplies by an f32 reciprocal and rounds to even, as a shader can; the *input*
//! rule divides and rounds half away, as TensorFlow Lite's QUANTIZE does.

use super::QuantParams;
use crate::wide::wide;
use std::ops::AddAssign;

/// What happened to values that have no code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoundaryCounts {
    /// Not-a-number, coded as the zero point.
    pub nans: u64,
    /// Outside the range (infinities too), coded as its nearest end.
    pub saturations: u64,
}

impl AddAssign for BoundaryCounts {
    fn add_assign(&mut self, other: Self) {
        self.nans += other.nans;
        self.saturations += other.saturations;
    }
}

/// `q = sat(rne(r · inv) + z)`, prepared for one scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantiser {
    /// `f32(1 / s)`: the constant that a shader multiplies by too.
    pub inv: f32,
    pub zero_point: i32,
    pub lo: i32,
    pub hi: i32,
}

/// Beyond every code, and far from where [`round_ties_even`] ends.
const BEYOND: f32 = (1 << 20) as f32;

/// Rounds what lies within 2^22 as `f32::round_ties_even` does, with two additions that vectorise: at
/// 1.5·2^23 an f32 has no bits left for a fraction.
#[inline(always)]
fn round_ties_even(x: f32) -> f32 {
    const SHIFTER: f32 = 12_582_912.0;
    (x + SHIFTER) - SHIFTER
}

impl Quantiser {
    /// For signed codes of `bits` bits (8 or 16).
    pub fn new(scale: f32, zero_point: i32, bits: u8) -> Self {
        assert!(bits == 8 || bits == 16, "tap-in codes have 8 or 16 bits, not {bits}");
        let half = 1i32 << (bits - 1);
        Self { inv: (1.0 / f64::from(scale)) as f32, zero_point, lo: -half, hi: half - 1 }
    }

    /// For an 8-bit map.
    pub fn of(params: &QuantParams) -> Self {
        Self::new(params.scale, params.zero_point, 8)
    }

    #[inline(always)]
    pub fn code(&self, real: f32, counts: &mut BoundaryCounts) -> i32 {
        let scaled = real * self.inv;
        if scaled.is_nan() {
            counts.nans += 1;
            return self.zero_point;
        }
        // Clamped while still a float: no conversion ever leaves its range, on any device.
        let (lo, hi) = ((self.lo - self.zero_point) as f32, (self.hi - self.zero_point) as f32);
        let rounded = round_ties_even(scaled.clamp(-BEYOND, BEYOND));
        counts.saturations += u64::from(rounded < lo || rounded > hi);
        rounded.clamp(lo, hi) as i32 + self.zero_point
    }

    /// Codes on 8 bits; `self` must have been made for 8.
    pub fn codes8(&self, reals: &[f32]) -> (Vec<i8>, BoundaryCounts) {
        assert!(self.lo >= -128 && self.hi <= 127, "a 16-bit quantiser cannot give 8-bit codes");
        let mut counts = BoundaryCounts::default();
        (reals.iter().map(|&r| self.code(r, &mut counts) as i8).collect(), counts)
    }

    /// Codes of either width, held in 16 bits.
    pub fn codes16(&self, reals: &[f32]) -> (Vec<i16>, BoundaryCounts) {
        let mut counts = BoundaryCounts::default();
        (reals.iter().map(|&r| self.code(r, &mut counts) as i16).collect(), counts)
    }
}

/// What happens to `values`, of which there is one for every rule in turn, on their way to codes.
pub fn count_uncodable(values: &[f32], rules: &[Quantiser]) -> BoundaryCounts {
    let Some(&first) = rules.first() else { return BoundaryCounts::default() };
    let inverses: Vec<f32> = rules.iter().map(|rule| rule.inv).collect();
    let is_alike = |rule: &Quantiser| Quantiser { inv: first.inv, ..*rule } == first;
    if !rules.iter().all(is_alike) {
        let mut counts = BoundaryCounts::default();
        for (&value, rule) in values.iter().zip(rules.iter().cycle()) {
            rule.code(value, &mut counts);
        }
        return counts;
    }
    // Of a single rule many values make a row.
    let alike = [first.inv; 256];
    count_rows(values, if rules.len() == 1 { &alike } else { &inverses }, first)
}

wide! {
    /// Rows of values by their inverse scales; everything else is `rule`'s.
    fn count_rows(values: &[f32], inverses: &[f32], rule: Quantiser) -> BoundaryCounts {
        let (lo, hi) = ((rule.lo - rule.zero_point) as f32, (rule.hi - rule.zero_point) as f32);
        let mut counts = BoundaryCounts::default();
        for row in values.chunks(inverses.len()) {
            // Counts of a row fit 32 bits, which as many lanes hold as values do.
            let (mut nans, mut saturations) = (0u32, 0u32);
            for (&value, &inverse) in row.iter().zip(inverses) {
                let scaled = value * inverse;
                let rounded = round_ties_even(scaled.clamp(-BEYOND, BEYOND));
                nans += u32::from(scaled.is_nan());
                saturations += u32::from(rounded < lo) + u32::from(rounded > hi);
            }
            counts += BoundaryCounts { nans: nans.into(), saturations: saturations.into() };
        }
        counts
    }
}

/// `(q - z) · s`: an integer subtraction, then one f32 multiplication.
#[inline]
pub fn dequantise(code: i32, scale: f32, zero_point: i32) -> f32 {
    (code - zero_point) as f32 * scale
}

/// A map as real values.
pub fn dequantise_map(codes: &[i8], params: &QuantParams) -> Vec<f32> {
    codes.iter().map(|&q| dequantise(i32::from(q), params.scale, params.zero_point)).collect()
}

/// TensorFlow Lite's QUANTIZE of a float input: `sat(round_half_away(x / s) + z)`, f32 division.
/// Not-a-number becomes the zero point and is counted, which TFLite leaves undefined.
pub fn quantise_input(reals: &[f32], params: &QuantParams) -> (Vec<i8>, BoundaryCounts) {
    let mut counts = BoundaryCounts::default();
    let (lo, hi) = ((-128 - params.zero_point) as f32, (127 - params.zero_point) as f32);
    let codes = reals.iter().map(|&x| {
        let rounded = (x / params.scale).round();
        if rounded.is_nan() {
            counts.nans += 1;
            return params.zero_point as i8;
        }
        counts.saturations += u64::from(rounded < lo || rounded > hi);
        (rounded.clamp(lo, hi) as i32 + params.zero_point) as i8
    });
    (codes.collect(), counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wide::tests::same_on_all;

    #[test]
    fn what_has_no_code_is_counted_as_the_rule_does() {
        let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-40, 63.75, -64.25];
        let values: Vec<f32> =
            (0..1003).map(|i| if i % 11 == 0 { special[i / 11 % 8] } else { (i as f32 * 0.7).sin() * 90.0 }).collect();
        let rule = |scale, zero_point, bits| Quantiser::new(scale, zero_point, bits);
        let alike = [rule(0.5, 3, 8), rule(0.25, 3, 8), rule(1.0, 3, 8)];
        for rules in [&alike[..1], &alike, &[rule(0.5, 3, 8), rule(1e-3, 0, 16)]] {
            let mut plain = BoundaryCounts::default();
            for (i, &value) in values.iter().enumerate() {
                rules[i % rules.len()].code(value, &mut plain);
            }
            assert!(plain.nans > 5 && plain.saturations > 50);
            assert_eq!(same_on_all(|| count_uncodable(&values, rules)), plain);
        }
        assert_eq!(count_uncodable(&values, &[]), BoundaryCounts::default());
    }
    use crate::quant::CodeType;

    #[test]
    fn what_has_no_code_is_counted() {
        let params = QuantParams { scale: 0.5, zero_point: 3, codes: CodeType::I8 };
        let reals = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, 0.0, 62.0, 62.25];
        let want = (vec![3, 127, -128, 127, 3, 127, 127], BoundaryCounts { nans: 1, saturations: 3 });
        assert_eq!(Quantiser::of(&params).codes8(&reals), want);
        // 62.25 / 0.5 = 124.5 rounds to 124 above, and away to 125 = saturated here.
        let (codes, counts) = quantise_input(&reals, &params);
        assert_eq!((codes, counts), (want.0, BoundaryCounts { nans: 1, saturations: 4 }));
    }

    #[test]
    fn sixteen_bits_have_their_own_range() {
        let q = Quantiser::new(0.25, 0, 16);
        let (codes, counts) = q.codes16(&[8191.75, 8192.0, -8192.0, -8192.25, 0.125]);
        assert_eq!(codes, [32767, 32767, -32768, -32768, 0]);
        assert_eq!(counts.saturations, 2);
    }

    #[test]
    fn the_two_rules_differ_on_ties() {
        let params = QuantParams { scale: 0.5, zero_point: 0, codes: CodeType::I8 };
        assert_eq!(Quantiser::of(&params).codes8(&[0.25, 0.75, -0.25]).0, [0, 2, 0]);
        assert_eq!(quantise_input(&[0.25, 0.75, -0.25], &params).0, [1, 2, -1]);
        assert_eq!(dequantise_map(&[-3, 5], &params), [-1.5, 2.5]);
    }
}
