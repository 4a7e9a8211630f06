//! Sum over channels of the product of two maps: h×w×c to h×w×1, in the tree of `lanes`.
//!
//! The gradient of a mask that a product spread over channels.

use super::lanes::dot;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut};
use crate::wide::wide;
use rayon::prelude::*;

/// Pixels and channels of the maps.
pub use super::channel_sum::Params;

/// Gradient of the product, the other factor.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

/// Pixels that one task reduces.
const TASK_PIXELS: usize = 256;

pub fn call(params: Params, gradient: BufferId, factor: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::DotChannels, params: params.words(), inputs: vec![gradient, factor], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.channels as usize)
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [p.maps(); 2]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.pixels as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let c = p.channels as usize;
    let pair = floats(inputs[0]).par_chunks(TASK_PIXELS * c).zip(floats(inputs[1]).par_chunks(TASK_PIXELS * c));
    floats_mut(out).par_chunks_mut(TASK_PIXELS).zip(pair).for_each(|(out, (a, b))| {
        dots(c, a, b, out);
    });
}

wide! {
    fn dots(c: usize, a: &[f32], b: &[f32], out: &mut [f32]) {
        let pixels = a.chunks_exact(c).zip(b.chunks_exact(c));
        out.iter_mut().zip(pixels).for_each(|(y, (a, b))| *y = dot(a, b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pixel_has_its_product() {
        let (a, b) = ([1.0f32, 2.0, 3.0, 4.0], [10.0f32, 1.0, 0.0, -1.0]);
        let mut out = [9; 2];
        twin(&Params::new(1, 2, 2), &[bytemuck::cast_slice(&a), bytemuck::cast_slice(&b)], &mut out);
        assert_eq!(floats(&out), [12.0, -4.0]);
    }
}
