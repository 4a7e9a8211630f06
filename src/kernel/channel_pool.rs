//! Mean and maximum over channels, in this order: h×w×c to h×w×2.
//!
//! The mean is the sum in channel order, divided once.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        pixels: u32,
        channels: u32,
    }
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

/// Pixels that one task reduces.
const TASK_PIXELS: usize = 256;

impl Params {
    pub fn new(batch: u32, pixels: usize, channels: usize) -> Self {
        Self { batch, pixels: size(pixels), channels: size(channels) }
    }
}

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::ChannelPool, params: params.words(), inputs: vec![map], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.channels as usize)
}

pub fn invocations(p: &Params) -> usize {
    p.batch as usize * p.pixels as usize
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [invocations(p) * p.channels as usize]
}

pub fn output_words(p: &Params) -> usize {
    invocations(p) * 2
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let c = p.channels as usize;
    let map = floats(inputs[0]).par_chunks(TASK_PIXELS * c);
    floats_mut(out).par_chunks_mut(TASK_PIXELS * 2).zip(map).for_each(|(out, map)| {
        for (out, map) in out.chunks_exact_mut(2).zip(map.chunks_exact(c)) {
            let sum: f32 = map.iter().fold(0.0, |s, x| s + x);
            let max = map.iter().fold(map[0], |m, &x| if x > m { x } else { m });
            out.copy_from_slice(&[sum / c as f32, max]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_comes_first() {
        let map = [1.0f32, 2.0, 6.0, -4.0, -1.0, -1.0];
        let mut out = [0; 4];
        twin(&Params::new(1, 2, 3), &[bytemuck::cast_slice(&map)], &mut out);
        assert_eq!(floats(&out), [3.0, 6.0, -2.0, -1.0]);
    }
}
