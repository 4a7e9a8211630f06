//! Errors (gradients of maps) as a chip carries them backward: integer mantissas that share one
//! power-of-two exponent (SPEC 3.5).
//!
//! Encoding, renormalising and adding round to the nearest even, stochastically with noise keyed by
//! element, or pseudo-stochastically with the number's own low bits. A plain arithmetic shift is
//! not offered: its bias ruins what comes out after a few layers.

use super::Round;
use super::sum::shift_either_way;
use crate::seed::Noise;
use crate::wide::wide;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The mantissa's width, with its sign: 8, 12 or 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorBits(u32);

impl ErrorBits {
    pub const INT8: Self = Self(8);
    pub const INT12: Self = Self(12);
    pub const INT16: Self = Self(16);

    /// The largest mantissa; the smallest is its negative.
    pub const fn largest(self) -> i64 {
        (1 << (self.0 - 1)) - 1
    }

    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// How errors are carried through the trunk and across the bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GradFormat {
    F32,
    #[default]
    Int16,
    Int12,
    Int8,
}

impl GradFormat {
    pub fn bits(self) -> u32 {
        match self {
            GradFormat::F32 => 32,
            GradFormat::Int16 => 16,
            GradFormat::Int12 => 12,
            GradFormat::Int8 => 8,
        }
    }

    /// The mantissas of the integer formats.
    pub fn mantissas(self) -> Option<ErrorBits> {
        match self {
            GradFormat::F32 => None,
            GradFormat::Int16 => Some(ErrorBits::INT16),
            GradFormat::Int12 => Some(ErrorBits::INT12),
            GradFormat::Int8 => Some(ErrorBits::INT8),
        }
    }

    /// Bytes of an image's error: its mantissas, and the exponent that they share.
    pub fn bytes(self, elements: u64) -> u64 {
        let exponent = u64::from(self != GradFormat::F32);
        (elements * u64::from(self.bits())).div_ceil(8) + exponent
    }
}

impl FromStr for GradFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "int16" => Ok(Self::Int16),
            "int12" => Ok(Self::Int12),
            "int8" => Ok(Self::Int8),
            _ => Err(format!("'{text}' is no error format; there are f32, int16, int12, int8")),
        }
    }
}

/// How bits are dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ErrorRounding {
    NearestEven,
    /// `⌊v + u⌋`, with `u` uniform in [0, 1) for every element.
    Stochastic(Noise),
    /// NITI: the upper half of the dropped bits is compared with the lower.
    PseudoStochastic,
}

/// The exponent of a tensor without a single non-zero value, and the smallest there is.
pub const ZERO_EXPONENT: i32 = -126;

/// The largest: an exponent has a byte.
pub const LARGEST_EXPONENT: i32 = 127;

/// Mantissas with their exponent: the value of each is `mantissa · 2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCodes {
    pub mantissas: Vec<i16>,
    pub exponent: i32,
    /// Values that the exponent was too small for. None where it was taken from the values.
    pub saturations: u64,
}

/// The smallest exponent with which `largest` can be coded.
pub fn exponent(largest: f32, bits: ErrorBits) -> i32 {
    if largest == 0.0 || !largest.is_finite() {
        return ZERO_EXPONENT;
    }
    let (largest, room) = (f64::from(largest), bits.largest() as f64);
    let mut exponent = (largest / room).log2().ceil() as i32;
    // The logarithm is rounded; the comparison, by powers of two, is not.
    while largest > room * exp2(exponent) {
        exponent += 1;
    }
    while largest <= room * exp2(exponent - 1) {
        exponent -= 1;
    }
    exponent
}

fn exp2(n: i32) -> f64 {
    f64::from(n).exp2()
}

/// Rounds as `f64::round_ties_even` does, with additions that vectorise; what is beyond every mantissa
/// stays there.
#[inline(always)]
fn round_ties_even(x: f64) -> f64 {
    const SHIFTER: f64 = 6_755_399_441_055_744.0;
    const BEYOND: f64 = (1u64 << 40) as f64;
    (x.clamp(-BEYOND, BEYOND) + SHIFTER) - SHIFTER
}

/// Codes real errors under a given exponent.
pub fn encode(values: &[f32], exponent: i32, bits: ErrorBits, rounding: ErrorRounding) -> ErrorCodes {
    let (scale, most) = (exp2(-exponent), bits.largest());
    let most = most as f64;
    let mut saturations = 0;
    let mut code = |rounded: f64| {
        let rounded = if rounded.is_nan() { 0.0 } else { rounded };
        saturations += u64::from(rounded.abs() > most);
        rounded.clamp(-most, most) as i16
    };
    let mantissas = match rounding {
        ErrorRounding::Stochastic(noise) => {
            let noisy = |(i, &value): (usize, &f32)| (f64::from(value) * scale + noise.uniform(i as u64)).floor();
            values.iter().enumerate().map(|v| code(noisy(v))).collect()
        }
        // A float has no dropped bits of its own to compare.
        ErrorRounding::NearestEven | ErrorRounding::PseudoStochastic => {
            values.iter().map(|&value| code(round_ties_even(f64::from(value) * scale))).collect()
        }
    };
    ErrorCodes { mantissas, exponent, saturations }
}

/// The largest magnitude that is a number.
pub fn largest(values: &[f32]) -> f32 {
    f32::from_bits(largest_bits(values))
}

wide! {
    /// As bits, which are in the order of the magnitudes: a maximum of floats would not vectorise.
    fn largest_bits(values: &[f32]) -> u32 {
        let magnitude = |value: &f32| {
            let bits = value.to_bits() & 0x7fff_ffff;
            if bits > f32::INFINITY.to_bits() { 0 } else { bits }
        };
        values.iter().map(magnitude).fold(0, u32::max)
    }
}

/// [`encode`] into `mantissas`; returns the saturations.
pub fn encode_into(
    values: &[f32],
    exponent: i32,
    bits: ErrorBits,
    rounding: ErrorRounding,
    mantissas: &mut [i16],
) -> u64 {
    let is_nearest = !matches!(rounding, ErrorRounding::Stochastic(_));
    if is_nearest && (ZERO_EXPONENT..=LARGEST_EXPONENT).contains(&exponent) {
        return encode_nearest(values, exp2(-exponent) as f32, bits.largest() as f32, mantissas);
    }
    let codes = encode(values, exponent, bits, rounding);
    mantissas.copy_from_slice(&codes.mantissas);
    codes.saturations
}

wide! {
    /// In f32, where a power of two multiplies exactly but for what is far below a half or beyond every mantissa,
    /// and whose 24 bits round mantissas of 16 as an f64 does.
    fn encode_nearest(values: &[f32], scale: f32, most: f32, mantissas: &mut [i16]) -> u64 {
        const SHIFTER: f32 = 12_582_912.0;
        const BEYOND: f32 = (1 << 20) as f32;
        let mut saturations = 0u64;
        for (values, mantissas) in values.chunks(256).zip(mantissas.chunks_mut(256)) {
            let mut cut = 0u32;
            for (mantissa, value) in mantissas.iter_mut().zip(values) {
                let rounded = ((value * scale).clamp(-BEYOND, BEYOND) + SHIFTER) - SHIFTER;
                let rounded = if rounded.is_nan() { 0.0 } else { rounded };
                cut += u32::from(rounded.abs() > most);
                *mantissa = rounded.clamp(-most, most) as i32 as i16;
            }
            saturations += u64::from(cut);
        }
        saturations
    }
}

/// Codes under the smallest exponent that holds them all.
pub fn encode_dynamic(values: &[f32], bits: ErrorBits, rounding: ErrorRounding) -> ErrorCodes {
    let largest = values.iter().fold(0f32, |most, v| most.max(v.abs()));
    encode(values, exponent(largest, bits), bits, rounding)
}

/// The real values of codes.
pub fn decode(codes: &ErrorCodes) -> Vec<f32> {
    let scale = exp2(codes.exponent);
    codes.mantissas.iter().map(|&m| (f64::from(m) * scale) as f32).collect()
}

/// `Round::HalfEven.shift` without a branch, for numbers of fewer than 62 bits, as errors and their sums
/// are; `shift` is 1 to 62.
#[inline(always)]
fn to_even(x: i64, shift: u32) -> i64 {
    (x + ((1 << (shift - 1)) - 1) + (x >> shift & 1)) >> shift
}

/// Drops `shift` bits of an accumulator; `index` names the element to the noise.
#[inline]
pub fn drop_bits(acc: i64, shift: u32, rounding: ErrorRounding, index: u64) -> i64 {
    match rounding {
        _ if shift == 0 => acc,
        ErrorRounding::NearestEven => to_even(acc, shift),
        ErrorRounding::Stochastic(noise) => (acc + (noise.bits(index) >> (64 - shift)) as i64) >> shift,
        ErrorRounding::PseudoStochastic => pseudo_stochastic(acc, shift),
    }
}

fn pseudo_stochastic(v: i64, s: u32) -> i64 {
    let (m, h) = (v.unsigned_abs(), s / 2);
    let rest = m & ((1 << s) - 1);
    let low = (rest & ((1 << h) - 1)) << (s & 1);
    let q = (m >> s) + u64::from((rest >> h) > low);
    if v < 0 { -(q as i64) } else { q as i64 }
}

/// How many bits accumulators as large as `largest` must lose.
pub fn shift_of(largest: u64, bits: ErrorBits) -> u32 {
    (64 - largest.leading_zeros()).saturating_sub(bits.bits() - 1)
}

/// The exponent under which accumulators of exponent `exponent` fill the mantissas; none if all are zero.
pub fn filling(largest: u64, exponent: i32, bits: ErrorBits) -> Option<i32> {
    (largest > 0).then(|| exponent + (64 - largest.leading_zeros()) as i32 - (bits.bits() as i32 - 1))
}

/// Accumulators of exponent `from` as mantissas of exponent `to`. Returns how many `to` is too small for.
pub fn convert(
    accs: impl Iterator<Item = i64>,
    from: i32,
    to: i32,
    bits: ErrorBits,
    rounding: ErrorRounding,
    mantissas: &mut [i16],
) -> u64 {
    let (most, shift) = (bits.largest(), to - from);
    let mut saturations = 0;
    for (i, (mantissa, acc)) in mantissas.iter_mut().zip(accs).enumerate() {
        let value = match shift {
            0.. => drop_bits(acc, shift.min(62) as u32, rounding, i as u64),
            _ => shift_either_way(Round::HalfEven, acc, shift),
        };
        // Rounding up the largest may leave the width by one: that is cut, as on the chip.
        saturations += u64::from(value.unsigned_abs() > most as u64 + 1);
        *mantissa = value.clamp(-most, most) as i16;
    }
    saturations
}

/// Accumulators of exponent `exponent` back in mantissas, of the smallest exponent that loses no more
/// than it must. Returns that exponent.
pub fn renormalise_into(
    accs: &[i64],
    exponent: i32,
    bits: ErrorBits,
    rounding: ErrorRounding,
    mantissas: &mut [i16],
) -> i32 {
    let largest = accs.iter().map(|a| a.unsigned_abs()).max().unwrap_or(0);
    if largest == 0 {
        mantissas.fill(0);
        return ZERO_EXPONENT;
    }
    let to = (exponent + shift_of(largest, bits) as i32).clamp(ZERO_EXPONENT, LARGEST_EXPONENT);
    convert(accs.iter().copied(), exponent, to, bits, rounding, mantissas);
    to
}

/// The same as codes of their own.
pub fn renormalise(accs: &[i64], exponent: i32, bits: ErrorBits, rounding: ErrorRounding) -> ErrorCodes {
    let mut mantissas = vec![0; accs.len()];
    let exponent = renormalise_into(accs, exponent, bits, rounding, &mut mantissas);
    ErrorCodes { mantissas, exponent, saturations: 0 }
}

/// The sums of two errors' mantissas, and their exponent: the error with the smaller exponent is brought
/// to the larger.
pub fn sums(a: (&[i16], i32), b: (&[i16], i32)) -> (Vec<i64>, i32) {
    let exponent = a.1.max(b.1);
    let aligned = |m: i16, from: i32| match (exponent - from).min(32) as u32 {
        0 => i64::from(m),
        shift => to_even(i64::from(m), shift),
    };
    (a.0.iter().zip(b.0).map(|(&x, &y)| aligned(x, a.1) + aligned(y, b.1)).collect(), exponent)
}

/// [`sums`] over all of `to`; returns their exponent.
pub fn sums_into(a: (&[i16], i32), b: (&[i16], i32), to: &mut [i32]) -> i32 {
    let exponent = a.1.max(b.1);
    // From 17 bits on nothing is left of a mantissa.
    let shift = |from: i32| (exponent - from).min(17) as u32;
    aligned_sums((a.0, shift(a.1)), (b.0, shift(b.1)), to);
    exponent
}

wide! {
    fn aligned_sums(a: (&[i16], u32), b: (&[i16], u32), to: &mut [i32]) {
        // Half a unit less one, and the bit that decides ties; without a shift neither.
        let [(half, odd), (b_half, b_odd)] = [a.1, b.1].map(|s| if s == 0 { (0, 0) } else { ((1 << (s - 1)) - 1, 1) });
        for ((to, &x), &y) in to.iter_mut().zip(a.0).zip(b.0) {
            let (x, y) = (i32::from(x), i32::from(y));
            let (x, y) = ((x + half + (x >> a.1 & odd)) >> a.1, (y + b_half + (y >> b.1 & b_odd)) >> b.1);
            *to = x + y;
        }
    }
}

/// The sum of two errors.
pub fn add(a: &ErrorCodes, b: &ErrorCodes, bits: ErrorBits, rounding: ErrorRounding) -> ErrorCodes {
    let (sums, exponent) = sums((&a.mantissas, a.exponent), (&b.mantissas, b.exponent));
    renormalise(&sums, exponent, bits, rounding)
}

/// Weight scales per output channel as 15-bit factors of one power of two, which errors are
/// multiplied by before the transposed convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelFactors {
    pub exponent: i32,
    /// At most 2^15; signed, because a batch norm may turn a channel round.
    pub factors: Vec<i32>,
}

impl ChannelFactors {
    pub fn new(scales: &[f32]) -> Self {
        let largest = scales.iter().fold(0f32, |most, s| most.max(s.abs()));
        if largest == 0.0 || !largest.is_finite() {
            return Self { exponent: ZERO_EXPONENT, factors: vec![0; scales.len()] };
        }
        let mut exponent = f64::from(largest).log2().ceil() as i32;
        while f64::from(largest) > exp2(exponent) {
            exponent += 1;
        }
        while f64::from(largest) <= exp2(exponent - 1) {
            exponent -= 1;
        }
        let factor = |&s: &f32| (f64::from(s) * exp2(15 - exponent)).round_ties_even() as i32;
        Self { exponent, factors: scales.iter().map(factor).collect() }
    }

    /// [`ChannelFactors::scale`] of every mantissa, whose channels follow each other.
    pub fn scale_all(&self, mantissas: &mut [i16]) {
        scale_rows(mantissas, &self.factors);
    }

    /// A mantissa of channel `c` in units of `2^exponent`.
    #[inline]
    pub fn scale(&self, mantissa: i16, c: usize) -> i16 {
        scaled(mantissa, self.factors[c])
    }
}

#[inline(always)]
fn scaled(mantissa: i16, factor: i32) -> i16 {
    // Below 2^30: the product and what is added to round it fit 32 bits.
    let product = i32::from(mantissa) * factor;
    ((product + 0x3fff + (product >> 15 & 1)) >> 15) as i16
}

wide! {
    fn scale_rows(mantissas: &mut [i16], factors: &[i32]) {
        for row in mantissas.chunks_mut(factors.len().max(1)) {
            row.iter_mut().zip(factors).for_each(|(mantissa, &factor)| *mantissa = scaled(*mantissa, factor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wide::tests::same_on_all;

    const RNE: ErrorRounding = ErrorRounding::NearestEven;

    /// Reals of all magnitudes, with ties and without.
    fn reals(exponent: i32) -> Vec<f32> {
        let special = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-45, -1e-39];
        let unit = exp2(exponent);
        let near = (0..900).map(|i| (f64::from((i * 7919) % 140_001 - 70_000) * 0.5 * unit) as f32);
        special.into_iter().chain(near).collect()
    }

    #[test]
    fn coding_in_f32_is_coding_in_f64() {
        for exponent in [-126, -125, -60, -14, 0, 3, 90, 126, 127] {
            let values = reals(exponent);
            for bits in [ErrorBits::INT8, ErrorBits::INT12, ErrorBits::INT16] {
                let plain = encode(&values, exponent, bits, RNE);
                let got = same_on_all(|| {
                    let mut mantissas = vec![7; values.len()];
                    let saturations = encode_into(&values, exponent, bits, RNE, &mut mantissas);
                    ErrorCodes { mantissas, exponent, saturations }
                });
                assert_eq!(got, plain, "{bits:?} under 2^{exponent}");
            }
            let plain = values.iter().fold(0f32, |most, v| most.max(v.abs()));
            assert_eq!(same_on_all(|| largest(&values)), plain);
        }
        assert_eq!(largest(&[f32::NAN, -3.0, 2.0]), 3.0);
    }

    #[test]
    fn sums_in_32_bits_are_those_in_64() {
        let mantissas = |factor: i32| -> Vec<i16> {
            let value = |i: i32| (i * factor % 65_535 - 32_767) as i16;
            (0..500).map(value).chain([0, 1, -1, 32_767, -32_767, 16_384, -16_384]).collect()
        };
        let (a, b) = (mantissas(7919), mantissas(104_729));
        for apart in [0, 1, 2, 7, 14, 15, 16, 17, 18, 40, 250] {
            for (x, y) in [(-126, -126 + apart), (-100 + apart, -100)] {
                let (plain, exponent) = sums((&a, x), (&b, y));
                let got = same_on_all(|| {
                    let mut to = vec![9; a.len()];
                    (sums_into((&a, x), (&b, y), &mut to), to)
                });
                assert_eq!(got, (exponent, plain.iter().map(|&sum| sum as i32).collect()), "{apart} apart");
            }
        }
    }

    #[test]
    fn mantissas_are_scaled_by_their_channels() {
        let factors = ChannelFactors::new(&[0.3, -0.7, 1.0, 0.0, 1e-6]);
        let values: Vec<i16> = (0..777).map(|i| (i * 7919 % 65_535 - 32_767) as i16).collect();
        let plain: Vec<i16> = values.iter().enumerate().map(|(i, &m)| factors.scale(m, i % 5)).collect();
        let got = same_on_all(|| {
            let mut values = values.clone();
            factors.scale_all(&mut values);
            values
        });
        assert_eq!(got, plain);
    }

    #[test]
    fn rounding_without_branches_is_rounding_to_even() {
        for shift in 1..62 {
            for x in
                [0, 1, 2, 3, 5, 6, 7, 1000, 12345, i64::MAX >> 3, (1 << shift) - 1, 1 << (shift - 1), 3 << (shift - 1)]
            {
                for x in [x & (i64::MAX >> 2), -(x & (i64::MAX >> 2))] {
                    assert_eq!(to_even(x, shift), Round::HalfEven.shift(x, shift), "{x} >> {shift}");
                }
            }
        }
        for x in [0.5, 1.5, 2.5, -0.5, -1.5, 1e30, -1e30, f64::INFINITY, 32766.5, 1e-300] {
            let cut = x.clamp(-1.0e6, 1.0e6);
            assert_eq!(round_ties_even(x).clamp(-1.0e6, 1.0e6), cut.round_ties_even(), "{x}");
        }
        assert!(round_ties_even(f64::NAN).is_nan());
    }

    #[test]
    fn the_golden_layer_comes_out() {
        // SPEC 3.5.
        let factors = ChannelFactors::new(&[0.01, 0.002]);
        assert_eq!((factors.exponent, factors.factors.clone()), (-6, vec![20972, 4194]));
        let scaled: Vec<i64> =
            [1000, -32767].iter().enumerate().map(|(c, &e)| i64::from(factors.scale(e, c))).collect();
        assert_eq!(scaled, [640, -4194]);
        let weights = [[1, -2, 3], [127, -127, 64]];
        let accs: Vec<i64> = (0..3).map(|i| (0..2).map(|c| scaled[c] * weights[c][i]).sum()).collect();
        assert_eq!(accs, [-531_998, 531_358, -266_496]);
        let codes = renormalise(&accs, -6, ErrorBits::INT16, RNE);
        assert_eq!((codes.mantissas.clone(), codes.exponent), (vec![-16625, 16605, -8328], -1));
        assert_eq!(decode(&codes), [-8312.5, 8302.5, -4164.0]);
    }

    #[test]
    fn pseudo_stochastic_rounding_is_nitis() {
        for (v, s, q) in [(1000, 4, 63), (1010, 4, 63), (1013, 5, 32), (-1023, 5, -32), (77, 3, 9), (80, 3, 10)] {
            assert_eq!(pseudo_stochastic(v, s), q, "{v} >> {s}");
        }
    }

    #[test]
    fn an_exponent_is_the_smallest_that_holds_the_largest() {
        for bits in [ErrorBits::INT8, ErrorBits::INT12, ErrorBits::INT16] {
            for x in -40..40 {
                let most = bits.largest() as f32 * (x as f32).exp2();
                assert_eq!(exponent(most, bits), x);
                assert_eq!(exponent(most * (1.0 + f32::EPSILON), bits), x + 1);
            }
            let values = [0.3f32, -1.7, 1e-4, 0.0];
            let codes = encode_dynamic(&values, bits, RNE);
            let step = (codes.exponent as f32).exp2();
            assert!(decode(&codes).iter().zip(values).all(|(d, v)| (d - v).abs() <= step / 2.0));
            assert_eq!(codes.saturations, 0);
        }
        assert_eq!(encode_dynamic(&[0.0; 3], ErrorBits::INT8, RNE).exponent, ZERO_EXPONENT);
    }

    #[test]
    fn too_small_an_exponent_saturates_and_says_so() {
        let codes = encode(&[1.0, -200.0, 127.0, f32::NAN], 0, ErrorBits::INT8, RNE);
        assert_eq!((codes.mantissas, codes.saturations), (vec![1, -127, 127, 0], 1));
    }

    #[test]
    fn stochastic_rounding_has_no_bias_and_repeats_itself() {
        let noise = ErrorRounding::Stochastic(Noise::new(3, 11, 5));
        let values = vec![0.3f32; 40_000];
        let codes = encode(&values, 0, ErrorBits::INT8, noise);
        let mean = codes.mantissas.iter().map(|&m| f64::from(m)).sum::<f64>() / 40_000.0;
        assert!((mean - 0.3).abs() < 0.01, "{mean}");
        assert_eq!(codes, encode(&values, 0, ErrorBits::INT8, noise));
        let dropped: i64 = (0..40_000).map(|i| drop_bits(-77, 3, noise, i)).sum();
        assert!((dropped as f64 / 40_000.0 + 77.0 / 8.0).abs() < 0.01, "{dropped}");
    }

    #[test]
    fn a_sum_is_aligned_to_the_larger_exponent() {
        let code = |mantissas: &[i16], exponent| ErrorCodes { mantissas: mantissas.to_vec(), exponent, saturations: 0 };
        let sum = add(&code(&[100, -3], 0), &code(&[6, 7], -2), ErrorBits::INT8, RNE);
        assert_eq!(sum, code(&[102, -1], 0), "6/4 and 7/4 round to 2");
        let sum = add(&code(&[100, -3], 0), &code(&[100, 0], 0), ErrorBits::INT8, RNE);
        assert_eq!(sum, code(&[100, -2], 1));
    }
}
