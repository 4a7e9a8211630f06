//! Gradient of `global_mean`: every position gets its channel's, divided by the number of positions.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut};
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::global_mean::Params;

/// Gradient of the output.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

pub fn call(params: Params, gradient: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::GlobalMeanGrad, params: params.words(), inputs: vec![gradient], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::EXPRESSION
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [super::global_mean::output_words(p)]
}

pub fn output_words(p: &Params) -> usize {
    super::global_mean::input_words(p)[0]
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let c = p.channels as usize;
    let pixels = p.in_h as usize * p.in_w as usize;
    let gradients = floats(inputs[0]).par_chunks(c);
    floats_mut(out).par_chunks_mut(pixels * c).zip(gradients).for_each(|(out, gradient)| {
        for out in out.chunks_exact_mut(c) {
            out.iter_mut().zip(gradient).for_each(|(y, g)| *y = g / pixels as f32);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    #[test]
    fn positions_share_alike() {
        let gradient = [4.0f32, 8.0];
        let mut out = [9; 8];
        twin(&Params::new(1, Shape::new(2, 2, 2)), &[bytemuck::cast_slice(&gradient)], &mut out);
        assert_eq!(floats(&out), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    }
}
