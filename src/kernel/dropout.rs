//! Dropout of elements or of whole channels: what is kept is divided by the probability of keeping it.
//!
//! Its own gradient: the mask is a function of a seed, the step, the tensor, the image's index in the
//! data set and the position (`philox`), so it is made again instead of being kept, and neither thread
//! nor micro-batch enters it. Every device drops the same elements.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use crate::seed::philox::philox;
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        elements: u32,
        /// Positions of a mask: channels if whole channels are dropped, else elements.
        positions: u32,
        /// A position is dropped if its random word is below this.
        threshold: u32,
        /// 1 / (1 - probability).
        scale: f32,
        seed_low: u32,
        seed_high: u32,
        step: u32,
        /// Tells the dropouts of a network apart.
        tensor: u32,
    }
}

/// Map, and each image's index in the data set.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::U32], output: Cell::F32 };

/// What the mask is a function of, apart from image and position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub seed: u64,
    pub step: u32,
    pub tensor: u32,
}

impl Params {
    /// Where `step` is among the words.
    pub(super) const STEP: usize = 7;

    /// Drops elements with `probability`, at least 0 and below 1.
    pub fn elements(batch: u32, elements: usize, probability: f64, key: Key) -> Self {
        assert!((0.0..1.0).contains(&probability), "a probability of dropping of {probability}");
        Self {
            batch,
            elements: size(elements),
            positions: size(elements),
            threshold: (probability * 2f64.powi(32)).round().min(f64::from(u32::MAX)) as u32,
            scale: (1.0 / (1.0 - probability)) as f32,
            seed_low: key.seed as u32,
            seed_high: (key.seed >> 32) as u32,
            step: key.step,
            tensor: key.tensor,
        }
    }

    /// Drops whole channels.
    pub fn channels(batch: u32, pixels: usize, channels: usize, probability: f64, key: Key) -> Self {
        Self { positions: size(channels), ..Self::elements(batch, pixels * channels, probability, key) }
    }
}

pub fn call(params: Params, map: BufferId, images: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Dropout, params: params.words(), inputs: vec![map, images], output }
}

/// One multiplication; whether an element is dropped is exact.
pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::ROUNDED_ONCE
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [output_words(p), p.batch as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.elements as usize
}

/// Counters taken at a time: a vector's worth.
const MANY: usize = 16;

/// Scale or zero for each position of one image.
fn mask(p: &Params, image: u32, mask: &mut Vec<f32>) {
    mask.clear();
    let key = [p.seed_low, p.seed_high];
    for counter in (0..p.positions.div_ceil(4)).step_by(MANY) {
        let words = philox::<MANY>(counter, [image, p.step, p.tensor], key);
        mask.extend(words.as_flattened().iter().map(|&w| if w < p.threshold { 0.0 } else { p.scale }));
    }
    mask.truncate(p.positions as usize);
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let image = p.elements as usize;
    let maps = floats(inputs[0]).par_chunks(image).zip(inputs[1]);
    floats_mut(out).par_chunks_mut(image).zip(maps).for_each_init(Vec::new, |factors, (out, (map, &id))| {
        mask(p, id, factors);
        let pixels = out.chunks_exact_mut(factors.len()).zip(map.chunks_exact(factors.len()));
        for (out, map) in pixels {
            let values = map.iter().zip(&*factors);
            // A dropped element is 0 whatever it was.
            out.iter_mut().zip(values).for_each(|(y, (x, &f))| *y = if f == 0.0 { 0.0 } else { x * f });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { seed: 0x1234_5678_9abc_def0, step: 3, tensor: 7 };

    fn run(p: Params, images: &[u32]) -> Vec<f32> {
        let ones = vec![1f32.to_bits(); output_words(&p)];
        let mut out = ones.clone();
        twin(&p, &[&ones, images], &mut out);
        floats(&out).to_vec()
    }

    #[test]
    fn images_keep_their_masks_in_any_order_and_batch() {
        let both = run(Params::elements(2, 101, 0.5, KEY), &[40, 9]);
        assert_eq!(both[..101], run(Params::elements(1, 101, 0.5, KEY), &[40]));
        assert_eq!(both[101..], run(Params::elements(1, 101, 0.5, KEY), &[9]));
        assert_ne!(both[..101], both[101..]);
        for other in [Key { seed: 1, ..KEY }, Key { step: 4, ..KEY }, Key { tensor: 8, ..KEY }] {
            assert_ne!(both[..101], run(Params::elements(1, 101, 0.5, other), &[40]));
        }
    }

    #[test]
    fn the_share_and_the_mean_are_as_asked() {
        let p = Params::elements(1, 100_000, 0.2, KEY);
        let out = run(p, &[0]);
        let dropped = out.iter().filter(|&&y| y == 0.0).count();
        assert!((19_500..20_500).contains(&dropped), "{dropped}");
        assert!(out.iter().all(|&y| y == 0.0 || y == 1.25));
        assert!(run(Params::elements(1, 1000, 0.0, KEY), &[0]).iter().all(|&y| y == 1.0));
    }

    #[test]
    fn channels_go_as_a_whole() {
        let out = run(Params::channels(1, 5, 64, 0.5, KEY), &[2]);
        assert!(out.chunks(64).all(|pixel| pixel == &out[..64]));
        assert!(out[..64].contains(&0.0) && out[..64].contains(&2.0));
    }
}
