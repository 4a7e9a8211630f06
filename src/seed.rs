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

#[cfg(test)]
mod tests {
    use super::*;

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
