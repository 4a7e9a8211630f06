//! Gradient of `channel_pool`: the mean's, shared by all channels, plus the maximum's, for the first of
//! the largest channels.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut};
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::channel_pool::Params;

/// The forward kernel's input, gradient of its output.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

/// Pixels that one task handles.
const TASK_PIXELS: usize = 256;

pub fn call(params: Params, map: BufferId, gradient: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::ChannelPoolGrad, params: params.words(), inputs: vec![map, gradient], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::EXPRESSION
}

pub fn invocations(p: &Params) -> usize {
    p.batch as usize * p.pixels as usize
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [output_words(p), 2 * invocations(p)]
}

pub fn output_words(p: &Params) -> usize {
    invocations(p) * p.channels as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let c = p.channels as usize;
    let maps = floats(inputs[0]).par_chunks(TASK_PIXELS * c);
    let gradients = floats(inputs[1]).par_chunks(TASK_PIXELS * 2);
    floats_mut(out).par_chunks_mut(TASK_PIXELS * c).zip(maps).zip(gradients).for_each(|((out, map), gradient)| {
        let pixels = map.chunks_exact(c).zip(gradient.chunks_exact(2));
        for (out, (map, gradient)) in out.chunks_exact_mut(c).zip(pixels) {
            out.fill(gradient[0] / c as f32);
            out[super::cross_entropy::argmax(map)] += gradient[1];
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_channels_takes_the_maximum() {
        let (map, gradient) = ([1.0f32, 4.0, 4.0, 0.0], [8.0f32, 1.0]);
        let mut out = [9; 4];
        twin(&Params::new(1, 1, 4), &[bytemuck::cast_slice(&map), bytemuck::cast_slice(&gradient)], &mut out);
        assert_eq!(floats(&out), [2.0, 3.0, 2.0, 2.0]);
    }
}
