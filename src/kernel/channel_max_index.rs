//! The channel of each pixel's maximum, packed: all that the gradient of `channel_pool` needs.
//!
//! Of equal channels the first. Indices take 1, 2, 4, 8 or 16 bits, the fewest that hold them, the
//! first in the lowest bits of a word.

use super::cross_entropy::argmax;
use super::max_pool_index::index_bits;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats};
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::channel_pool::Params;

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::U32 };

/// Words that one task writes.
const TASK_WORDS: usize = 64;

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::ChannelMaxIndex, params: params.words(), inputs: vec![map], output }
}

/// Bits of an index.
pub fn bits(p: &Params) -> u32 {
    index_bits(p.channels as usize)
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::Bitwise
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [p.batch as usize * p.pixels as usize * p.channels as usize]
}

pub fn output_words(p: &Params) -> usize {
    (p.batch as usize * p.pixels as usize).div_ceil((32 / bits(p)) as usize)
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (c, bits) = (p.channels as usize, bits(p));
    let per_word = (32 / bits) as usize;
    let tasks = floats(inputs[0]).par_chunks(TASK_WORDS * per_word * c);
    out.par_chunks_mut(TASK_WORDS).zip(tasks).for_each(|(out, maps)| {
        for (word, maps) in out.iter_mut().zip(maps.chunks(per_word * c)) {
            let indices = maps.chunks_exact(c).enumerate().map(|(k, map)| (argmax(map) as u32) << (k as u32 * bits));
            *word = indices.fold(0, |w, i| w | i);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_channels_is_the_maximum() {
        let map = [1.0f32, 4.0, 4.0, 0.0, 3.0, 2.0, 1.0, 9.0];
        let mut out = [7];
        let p = Params::new(1, 2, 4);
        twin(&p, &[bytemuck::cast_slice(&map)], &mut out);
        assert_eq!((bits(&p), out), (2, [1 | 3 << 2]));
    }
}
