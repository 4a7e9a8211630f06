//! f32 to packed codes, a bit-defined function of the bits: `q = sat(rne(r * inv) + z)`.
//!
//! `inv` is [`inverse`] of the scale, one value or one per channel. NaN becomes the zero point and
//! an infinity saturates; both are recognised by their bits, because a shader may be compiled as if
//! they did not exist. The clamp comes before the rounding and the conversion to an integer: with
//! whole bounds that is the same number, and no conversion is out of range. The unused codes of the
//! last word are 0.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, TASK_ELEMENTS, Tolerance, codes, floats, params, size};
use crate::quant::boundary::{BoundaryCounts, Quantiser};
use crate::wide::wide;
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        elements: u32,
        /// Inverse scales: 1, or the innermost dimension of the map.
        channels: u32,
        /// Of a code: 8 or 16.
        bits: u32,
        zero_point: i32,
        /// The range of codes, inclusive.
        low: i32,
        high: i32,
    }
}

/// Map, inverse scales.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::U32 };

impl Params {
    /// With the full range of codes. `scales` is 1, or the number of channels.
    pub fn new(batch: u32, elements: usize, scales: usize, bits: u32, zero_point: i32) -> Self {
        assert!(bits == 8 || bits == 16, "codes of {bits} bits do not pack");
        let high = (1 << (bits - 1)) - 1;
        Self { batch, elements: size(elements), channels: size(scales), bits, zero_point, low: -high - 1, high }
    }

    fn total(&self) -> usize {
        self.batch as usize * self.elements as usize
    }
}

/// The multiplier for a scale.
pub fn inverse(scale: f32) -> f32 {
    (1.0 / f64::from(scale)) as f32
}

pub fn call(params: Params, map: BufferId, inverse: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Requantise, params: params.words(), inputs: vec![map, inverse], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::Bitwise
}

/// One per word of codes.
pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [p.total(), p.channels as usize]
}

pub fn output_words(p: &Params) -> usize {
    codes::words(p.total(), p.bits)
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (map, inverse) = (floats(inputs[0]), floats(inputs[1]));
    let per_word = codes::per_word(p.bits);
    let (channels, mask) = (p.channels as usize, u32::MAX >> (32 - p.bits));
    let task_words = TASK_ELEMENTS / per_word;
    out.par_chunks_mut(task_words).enumerate().for_each(|(i, out)| {
        // Whole words of codes that memory has side by side; a tail takes the loop below.
        if let Some(map) = whole_words(map, i * task_words * per_word, out.len() * per_word) {
            let first = i * task_words * per_word % channels;
            match p.bits {
                8 => return run8(p, map, inverse, first, bytemuck::cast_slice_mut(out)),
                16 => return run16(p, map, inverse, first, bytemuck::cast_slice_mut(out)),
                _ => {}
            }
        }
        for (j, word) in out.iter_mut().enumerate() {
            let from = (i * task_words + j) * per_word;
            let map = &map[from..map.len().min(from + per_word)];
            *word = map.iter().enumerate().fold(0, |word, (k, &r)| {
                let code = quantise(p, r, inverse[(from + k) % channels]);
                word | (code as u32 & mask) << (k as u32 * p.bits)
            });
        }
    });
}

wide! {
    fn run8(p: &Params, map: &[f32], inverse: &[f32], first: usize, codes: &mut [i8]) {
        run(p, map, inverse, first, codes, |code| code as i8);
    }
}

wide! {
    fn run16(p: &Params, map: &[f32], inverse: &[f32], first: usize, codes: &mut [i16]) {
        run(p, map, inverse, first, codes, |code| code as i16);
    }
}

/// Codes of consecutive values, the first of channel `first`.
#[inline(always)]
fn run<C>(p: &Params, map: &[f32], inverse: &[f32], first: usize, codes: &mut [C], narrow: impl Fn(i32) -> C) {
    if let [inverse] = *inverse {
        return codes.iter_mut().zip(map).for_each(|(code, &r)| *code = narrow(quantise(p, r, inverse)));
    }
    let channels = inverse.len();
    let head = (channels - first) % channels;
    let (own, rest) = codes.split_at_mut(head.min(map.len()));
    let (own_map, rest_map) = map.split_at(own.len());
    let row = |codes: &mut [C], map: &[f32], inverse: &[f32]| {
        for ((code, &r), &inv) in codes.iter_mut().zip(map).zip(inverse) {
            *code = narrow(quantise(p, r, inv));
        }
    };
    row(own, own_map, &inverse[first..]);
    rest.chunks_mut(channels).zip(rest_map.chunks(channels)).for_each(|(codes, map)| row(codes, map, inverse));
}

/// The `count` values from `from` on, if there are so many.
fn whole_words(map: &[f32], from: usize, count: usize) -> Option<&[f32]> {
    cfg!(target_endian = "little").then(|| map.get(from..from + count)).flatten()
}

/// One value; `inverse` is finite.
#[inline(always)]
pub fn quantise(p: &Params, value: f32, inverse: f32) -> i32 {
    let rule = Quantiser { inv: inverse, zero_point: p.zero_point, lo: p.low, hi: p.high };
    rule.code(value, &mut BoundaryCounts::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_even_and_extremes_saturate() {
        let p = Params::new(1, 1, 1, 8, 3);
        let q = |r: f32| quantise(&p, r, 2.0);
        assert_eq!([0.25, 0.75, 1.25, -0.25, -0.75].map(q), [3, 5, 5, 3, 1]);
        assert_eq!([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(q), [3, 127, -128]);
        assert_eq!([f32::MAX, f32::MIN, -0.0, 62.0, 62.25, -65.5].map(q), [127, -128, 3, 127, 127, -128]);
    }

    #[test]
    fn the_tail_of_the_last_word_is_zero() {
        let map = [1.0f32, -1.0, 2.0, -2.0, -3.0].map(f32::to_bits);
        let mut out = [u32::MAX; 2];
        twin(&Params::new(1, 5, 1, 8, 0), &[&map, &[1f32.to_bits()]], &mut out);
        assert_eq!(codes::unpack8(&out, 8), [1, -1, 2, -2, -3, 0, 0, 0]);
    }

    #[test]
    fn every_code_survives_the_round_trip() {
        for scale in [0.05f32, 0.1, 1.0 / 3.0, 0.007, 1.0 / 256.0] {
            for code in -128..=127 {
                let p = Params::new(1, 1, 1, 8, -7);
                assert_eq!(quantise(&p, (code + 7) as f32 * scale, inverse(scale)), code, "scale {scale}");
            }
        }
    }
}
