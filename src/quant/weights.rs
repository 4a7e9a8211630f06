//! The weight quantiser: symmetric codes with one scale per output channel, and int32 biases.
//!
//! Weights are quantised as they are. A batch norm is never folded into them: it goes into the
//! requantisation registers, which gives the same codes and keeps it loadable.

use super::{Granularity, WeightRule};

/// Weight codes with their scales; the first dimension is the output channel.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightCodes {
    pub codes: Vec<i8>,
    /// One for the whole tensor, or one per output channel.
    pub scales: Vec<f32>,
    /// One for the whole tensor, or one per output channel; in the engine's signed view. Zero where
    /// a runtime's weights are symmetric.
    pub zero_points: Vec<i32>,
}

impl WeightCodes {
    pub fn scale(&self, channel: usize) -> f32 {
        if self.scales.len() == 1 { self.scales[0] } else { self.scales[channel] }
    }

    pub fn zero_point(&self, channel: usize) -> i32 {
        if self.zero_points.len() == 1 { self.zero_points[0] } else { self.zero_points[channel] }
    }

    /// The largest weight in codes, its zero point taken off.
    pub fn widest(&self, channels: usize) -> i32 {
        let per_channel = (self.codes.len() / channels.max(1)).max(1);
        let centred = self.codes.iter().enumerate().map(|(i, &q)| i32::from(q) - self.zero_point(i / per_channel));
        centred.map(i32::abs).max().unwrap_or(0)
    }

    /// Whether a code of zero is the weight zero, in every channel.
    pub fn is_symmetric(&self) -> bool {
        self.zero_points.iter().all(|&z| z == 0)
    }

    pub fn is_per_tensor(&self) -> bool {
        self.scales.len() == 1
    }
}

/// `s = max|w| / 127` per channel or tensor (1 for zeros), codes `rne(w / s)` within ±127; narrower
/// weights have smaller ends, and some chips only powers of two.
///
/// `weights` must be finite and a whole number of channels.
pub fn quantise(weights: &[f32], channels: usize, rule: WeightRule) -> WeightCodes {
    assert!(channels > 0 && weights.len().is_multiple_of(channels), "{} weights, {channels} channels", weights.len());
    if rule.granularity == Granularity::PerTensor && channels > 1 {
        return quantise(weights, 1, rule);
    }
    let per_channel = weights.len() / channels;
    let mut codes = Vec::with_capacity(weights.len());
    let mut scales = Vec::with_capacity(channels);
    for channel in weights.chunks(per_channel.max(1)).take(channels) {
        let largest = channel.iter().fold(0f32, |m, w| m.max(w.abs()));
        let (scale, end) = (rule.scale(largest), f64::from(rule.largest()));
        scales.push(scale);
        codes.extend(channel.iter().map(|&w| {
            let code = (f64::from(w) / f64::from(scale)).round_ties_even();
            code.clamp(-end, end) as i8
        }));
    }
    scales.resize(channels, 1.0);
    WeightCodes { codes, scales, zero_points: vec![0] }
}

/// A bias in units of the accumulator, and whether 32 bits were not enough.
pub fn quantise_bias(units: f64) -> (i32, bool) {
    let code = units.round_ties_even();
    (code as i32, code < f64::from(i32::MIN) || code > f64::from(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT8: WeightRule = WeightRule { bits: 8, granularity: Granularity::PerChannel, power_of_two: false };

    #[test]
    fn channels_have_their_own_scale_and_zeros_have_one() {
        let w = quantise(&[0.5, -1.0, 0.25, 0.0, 0.0, 0.0, -3.0, 3.0, 1.5 / 127.0], 3, INT8);
        assert_eq!(w.scales, [1.0 / 127.0, 1.0, 3.0 / 127.0]);
        // 0.5 / s = 63.5 and 1.5/127 / s = 0.5 are ties (or next to one); -1 and 3 are the ends.
        assert_eq!(w.codes[1..], [-127, 32, 0, 0, 0, -127, 127, 0]);
        assert!((63..=64).contains(&w.codes[0]));
    }

    #[test]
    fn narrow_and_power_of_two_weights_use_the_range_they_have() {
        let w = quantise(&[0.5, -1.0, 3.0, 7.0], 2, WeightRule { bits: 4, ..INT8 });
        assert_eq!((w.scales, w.codes), (vec![1.0 / 7.0, 1.0], vec![4, -7, 3, 7]));
        let rule = WeightRule { bits: 8, granularity: Granularity::PerTensor, power_of_two: true };
        let w = quantise(&[0.5, -1.0, 0.25, 1.0], 2, rule);
        assert_eq!((w.scales, w.codes), (vec![1.0 / 64.0], vec![32, -64, 16, 64]));
    }

    #[test]
    fn biases_round_to_even_and_report_saturation() {
        assert_eq!(quantise_bias(2.5), (2, false));
        assert_eq!(quantise_bias(-3.5), (-4, false));
        assert_eq!(quantise_bias(1e12), (i32::MAX, true));
        assert_eq!(quantise_bias(-1e12), (i32::MIN, true));
        assert_eq!(quantise_bias(2147483647.0), (i32::MAX, false));
    }
}
