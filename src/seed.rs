//! Random values that depend only on a seed and a name, never on the order of drawing.
//!
//! Every initialised array and every procedural image has a stream of its own, so that adding one
//! thing to a network changes no other. There is no global generator.

pub mod philox;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_distr::{Distribution, Normal};
use sha2::{Digest, Sha256};

/// The generator of the stream `name` under `seed`.
pub fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let key: [u8; 32] = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name.as_bytes()).finalize().into();
    ChaCha8Rng::from_seed(key)
}

/// `count` draws of N(0, `sigma`²) from the stream `name`.
pub fn normal(seed: u64, name: &str, count: usize, sigma: f64) -> Vec<f32> {
    let mut rng = stream(seed, name);
    let normal = Normal::new(0.0, sigma).expect("a finite, non-negative deviation");
    (0..count).map(|_| normal.sample(&mut rng) as f32).collect()
}

/// The noise of a purpose: that of another name or of another seed has nothing in common with it.
pub fn named(seed: u64, name: &str) -> Noise {
    Noise::new(stream(seed, name).next_u64(), 0, 0)
}

/// Noise by element: a counter-based generator, so that neither order nor threads matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    key: [u32; 2],
    counter: [u32; 2],
    image: u32,
}

impl Noise {
    /// The noise of tensor `tensor` in step `step` under `seed`.
    pub fn new(seed: u64, step: u32, tensor: u32) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], counter: [step, tensor], image: 0 }
    }

    /// The noise of the image of that index in its data set, whatever batch it comes in.
    pub fn of_image(self, image: u32) -> Self {
        Self { image, ..self }
    }

    /// 64 random bits of element `index`.
    #[inline]
    pub fn bits(self, index: u64) -> u64 {
        let [step, tensor] = self.counter;
        let [words] = philox::philox(step, [tensor, index as u32, (index >> 32) as u32 ^ self.image], self.key);
        u64::from(words[0]) << 32 | u64::from(words[1])
    }

    /// The bits of `N` elements from `first` on: side by side, so that the compiler vectorises them.
    #[inline(always)]
    pub fn bits_of<const N: usize>(self, first: u64) -> [u64; N] {
        let [step, tensor] = self.counter;
        let low = std::array::from_fn(|i| (first + i as u64) as u32);
        let high = std::array::from_fn(|i| ((first + i as u64) >> 32) as u32 ^ self.image);
        let [upper, lower, ..] = philox::words([[step; N], [tensor; N], low, high], self.key);
        std::array::from_fn(|i| u64::from(upper[i]) << 32 | u64::from(lower[i]))
    }

    /// The noise of another step under the same seed.
    pub fn in_step(self, step: u32) -> Self {
        Self { counter: [step, self.counter[1]], ..self }
    }

    /// The noise of another tensor, or of another choice for the same thing, in the same step.
    pub fn of_tensor(self, tensor: u32) -> Self {
        Self { counter: [self.counter[0], tensor], ..self }
    }

    /// A whole number below `bound` for element `index`; 0 if there is none.
    #[inline]
    pub fn below(self, index: u64, bound: u64) -> u64 {
        ((u128::from(self.bits(index)) * u128::from(bound)) >> 64) as u64
    }

    /// A uniform value in [0, 1) for element `index`.
    #[inline]
    pub fn uniform(self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_side_by_side_is_the_noise_of_each() {
        let noise = Noise::new(7, 3, 5).of_image(11);
        for first in [0, 90, u64::from(u32::MAX) - 2] {
            assert_eq!(noise.bits_of::<5>(first), std::array::from_fn(|i| noise.bits(first + i as u64)));
        }
    }

    #[test]
    fn streams_are_repeatable_and_apart() {
        assert_eq!(normal(7, "a", 4, 1.0), normal(7, "a", 4, 1.0));
        assert_ne!(normal(7, "a", 4, 1.0), normal(7, "b", 4, 1.0));
        assert_ne!(normal(7, "a", 4, 1.0), normal(8, "a", 4, 1.0));
        let draws = normal(1, "moments", 100_000, 2.0);
        let mean = draws.iter().sum::<f32>() / draws.len() as f32;
        let variance = draws.iter().map(|x| x * x).sum::<f32>() / draws.len() as f32;
        assert!(mean.abs() < 0.05 && (variance - 4.0).abs() < 0.1, "{mean} {variance}");
    }
}
