//! Random values that depend only on a seed and a name, never on the order of drawing.
//!
//! Every initialised array and every procedural image has a stream of its own, so that adding one
//! thing to a network changes no other. There is no global generator.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
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

/// Noise by element: a counter-based generator, so that neither order nor threads matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    key: [u32; 2],
    counter: [u32; 2],
}

impl Noise {
    /// The noise of tensor `tensor` in step `step` under `seed`.
    pub fn new(seed: u64, step: u32, tensor: u32) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], counter: [step, tensor] }
    }

    /// 64 random bits of element `index`.
    #[inline]
    pub fn bits(self, index: u64) -> u64 {
        let words = philox([self.counter[0], self.counter[1], index as u32, (index >> 32) as u32], self.key);
        u64::from(words[0]) << 32 | u64::from(words[1])
    }

    /// A uniform value in [0, 1) for element `index`.
    #[inline]
    pub fn uniform(self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Philox 4×32 with ten rounds (Salmon et al., SC 2011), which shaders can compute too.
#[inline]
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let [a, b, c, d] = counter;
        let (low, high) = (0xd251_1f53u64 * u64::from(a), 0xcd9e_8d57u64 * u64::from(c));
        counter = [(high >> 32) as u32 ^ b ^ key[0], high as u32, (low >> 32) as u32 ^ d ^ key[1], low as u32];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the authors' library.
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let digits = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox(digits, [0xa409_3822, 0x299f_31d0]), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
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
