//! Gradient of softmax over channels, from its output: `beta * y * (g - Σ g * y)`, the sum in the tree
//! of `lanes`.

use super::lanes::dot;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut};
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::softmax::Params;

/// The forward kernel's output, gradient of it.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

/// Pixels that one task handles.
const TASK_PIXELS: usize = 64;

pub fn call(params: Params, output_map: BufferId, gradient: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::SoftmaxGrad, params: params.words(), inputs: vec![output_map, gradient], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.channels as usize)
}

pub fn invocations(p: &Params) -> usize {
    p.batch as usize * p.pixels as usize
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [output_words(p); 2]
}

pub fn output_words(p: &Params) -> usize {
    invocations(p) * p.channels as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let c = p.channels as usize;
    let pair = floats(inputs[0]).par_chunks(TASK_PIXELS * c).zip(floats(inputs[1]).par_chunks(TASK_PIXELS * c));
    floats_mut(out).par_chunks_mut(TASK_PIXELS * c).zip(pair).for_each(|(out, (map, gradient))| {
        let pixels = map.chunks_exact(c).zip(gradient.chunks_exact(c));
        for (out, (map, gradient)) in out.chunks_exact_mut(c).zip(pixels) {
            let mean = dot(gradient, map);
            let values = map.iter().zip(gradient);
            out.iter_mut().zip(values).for_each(|(d, (y, g))| *d = p.beta * y * (g - mean));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op;

    #[test]
    fn equal_gradients_cancel() {
        let (map, gradient) = ([0.25f32, 0.75, 0.5, 0.5], [7.0f32, 7.0, 1.0, -1.0]);
        let mut out = [9; 4];
        let p = Params::new(2, 1, 2, &op::Softmax { beta: 2.0 });
        twin(&p, &[bytemuck::cast_slice(&map), bytemuck::cast_slice(&gradient)], &mut out);
        assert_eq!(floats(&out), [0.0, 0.0, 1.0, -1.0]);
    }
}
