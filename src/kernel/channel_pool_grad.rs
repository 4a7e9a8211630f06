//! Gradient of `channel_pool`: the mean's, shared by all channels, plus the maximum's, for the first of
//! the largest channels, as `channel_max_index` kept it.

use super::channel_max_index::{self, bits};
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut};
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::channel_pool::Params;

/// The channels of the maxima, gradient of the forward kernel's output.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::U32, Cell::F32], output: Cell::F32 };

/// Pixels that one task handles.
const TASK_PIXELS: usize = 256;

pub fn call(params: Params, chosen: BufferId, gradient: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::ChannelPoolGrad, params: params.words(), inputs: vec![chosen, gradient], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::EXPRESSION
}

pub fn invocations(p: &Params) -> usize {
    p.batch as usize * p.pixels as usize
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [channel_max_index::output_words(p), 2 * invocations(p)]
}

pub fn output_words(p: &Params) -> usize {
    invocations(p) * p.channels as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (c, bits) = (p.channels as usize, bits(p));
    let per_word = (32 / bits) as usize;
    let chosen = |pixel: usize| {
        let shifted = inputs[0][pixel / per_word] >> ((pixel % per_word) as u32 * bits);
        (shifted & ((1 << bits) - 1)) as usize
    };
    let gradients = floats(inputs[1]).par_chunks(TASK_PIXELS * 2);
    floats_mut(out).par_chunks_mut(TASK_PIXELS * c).zip(gradients).enumerate().for_each(|(task, (out, gradient))| {
        let pixels = out.chunks_exact_mut(c).zip(gradient.chunks_exact(2));
        for (i, (out, gradient)) in pixels.enumerate() {
            out.fill(gradient[0] / c as f32);
            // What no forward pass wrote may name no channel; the shader then adds nothing either.
            if let Some(largest) = out.get_mut(chosen(task * TASK_PIXELS + i)) {
                *largest += gradient[1];
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_channel_takes_the_maximum() {
        let gradient = [8.0f32, 1.0, 4.0, 2.0];
        let mut out = [9; 8];
        twin(&Params::new(1, 2, 4), &[&[1 | 3 << 2], bytemuck::cast_slice(&gradient)], &mut out);
        assert_eq!(floats(&out), [2.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0, 3.0]);
    }
}
