//! Mean and variance of each channel of each image: h×w×c to 2×c, first the means.
//!
//! In two passes, the variance about the mean and divided by the number of positions; sums in the
//! tree of `lanes`. `combine_moments` makes those of a batch of them.

use super::lanes::sum_positions;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut};
use rayon::prelude::*;

/// Pixels and channels of the map.
pub use super::channel_sum::{Params, input_words, invocations};

/// A map.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::ChannelMoments, params: params.words(), inputs: vec![map], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.pixels as usize)
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * 2 * p.channels as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (c, pixels) = (p.channels as usize, p.pixels as usize);
    let maps = floats(inputs[0]).par_chunks(p.image());
    floats_mut(out).par_chunks_mut(2 * c).zip(maps).for_each_init(Vec::new, |chains, (out, map)| {
        let (mean, variance) = out.split_at_mut(c);
        sum_positions(mean, pixels, chains, |at, sums| {
            sums.iter_mut().zip(&map[at * c..(at + 1) * c]).for_each(|(sum, x)| *sum += x);
        });
        mean.iter_mut().for_each(|m| *m /= pixels as f32);
        sum_positions(variance, pixels, chains, |at, sums| {
            let distances = map[at * c..(at + 1) * c].iter().zip(&*mean).map(|(x, m)| x - m);
            sums.iter_mut().zip(distances).for_each(|(sum, d)| *sum += d * d);
        });
        variance.iter_mut().for_each(|v| *v /= pixels as f32);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let map = [1.0f32, 1000.0, 3.0, 1000.0, 5.0, 1000.0, 7.0, 1000.0];
        let mut out = [9; 4];
        twin(&Params::new(1, 4, 2), &[bytemuck::cast_slice(&map)], &mut out);
        assert_eq!(floats(&out), [4.0, 1000.0, 5.0, 0.0]);
    }
}
