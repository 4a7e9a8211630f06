//! The random choices of one image, and the integer arithmetic that families share.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The choices of image `index`: a stream of its own of a counter-based generator.
pub struct Draw(ChaCha8Rng);

impl Draw {
    pub fn new(family: &str, seed: u64, index: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        for (slot, byte) in key[8..].iter_mut().zip(family.bytes()) {
            *slot = byte;
        }
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(index);
        Self(generator)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i32, high: i32) -> i32 {
        let span = u64::from((high - low) as u32) + 1;
        low + ((u64::from(self.0.next_u32()) * span) >> 32) as i32
    }

    pub fn flip(&mut self) -> bool {
        self.between(0, 1) == 1
    }

    /// Grain of at most `amplitude` on one pixel's three channels.
    pub fn grain(&mut self, amplitude: i32) -> [i32; 3] {
        [(); 3].map(|()| self.between(-amplitude, amplitude))
    }
}

/// A pixel from three values that may lie outside 0 ..= 255.
pub fn pixel(values: [i32; 3], grain: [i32; 3]) -> [u8; 3] {
    [0, 1, 2].map(|c| (values[c] + grain[c]).clamp(0, 255) as u8)
}

/// A wave of period 65,536 and height ±32,768 whose halves are parabolas: a sine to within 6 %.
pub fn wave(turn: i64) -> i32 {
    let t = i32::from(turn as i16);
    (t * (32768 - t.abs())) >> 13
}
