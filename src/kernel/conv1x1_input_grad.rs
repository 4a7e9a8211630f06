//! Input gradient of a 1×1 convolution, and of a fully connected layer ([`linear`]).
//!
//! Every input position gets its products `g[o] * w[i][o]` in the order of the output channels; a
//! position that a stride skips gets zero. Writes the whole map.

use super::gemm::{self, Panels};
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, WORKGROUP, floats, floats_mut, size};
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::conv1x1::Params;

/// Gradient of the output, the forward kernel's weights.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

/// The tile of a workgroup in the shader: pixels of the gradient and input channels.
const TILE_PIXELS: usize = 256;
const TILE_CHANNELS: usize = 16;

/// A fully connected layer is a 1×1 convolution of a single pixel.
pub fn linear(batch: u32, inputs: usize, outputs: usize) -> Params {
    let (in_c, out_c) = (size(inputs), size(outputs));
    Params { batch, in_h: 1, in_w: 1, in_c, out_h: 1, out_w: 1, out_c, stride_h: 1, stride_w: 1, has_bias: 0 }
}

pub fn call(params: Params, gradient: BufferId, weight: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Conv1x1InputGrad, params: params.words(), inputs: vec![gradient, weight], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.out_c as usize)
}

pub fn invocations(p: &Params) -> usize {
    p.pixels().div_ceil(TILE_PIXELS) * (p.in_c as usize).div_ceil(TILE_CHANNELS) * WORKGROUP
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [p.pixels() * p.out_c as usize, p.in_c as usize * p.out_c as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.in_h as usize * p.in_w as usize * p.in_c as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (gradient, out) = (floats(inputs[0]), floats_mut(out));
    let (in_c, out_c) = (p.in_c as usize, p.out_c as usize);
    let panels = Panels::pack_transposed(floats(inputs[1]), out_c, out_c, 0, in_c);
    if (p.stride_h, p.stride_w) == (1, 1) {
        let rows = gemm::rows_per_task(out_c);
        out.par_chunks_mut(rows * in_c).zip(gradient.par_chunks(rows * out_c)).for_each(|(out, gradient)| {
            panels.multiply(gradient, None, out, in_c, 0);
        });
        return;
    }
    let image = p.in_h as usize * p.in_w as usize * in_c;
    let gradients = gradient.par_chunks(p.out_h as usize * p.out_w as usize * out_c);
    out.par_chunks_mut(image).zip(gradients).for_each_init(Vec::new, |row, (out, gradient)| {
        out.fill(0.0);
        row.resize(p.out_w as usize * in_c, 0.0);
        for (y, gradient) in gradient.chunks_exact(p.out_w as usize * out_c).enumerate() {
            panels.multiply(gradient, None, row, in_c, 0);
            let from = y * p.stride_h as usize * p.in_w as usize * in_c;
            let places = out[from..].chunks_exact_mut(in_c).step_by(p.stride_w as usize);
            places.zip(row.chunks_exact(in_c)).for_each(|(place, value)| place.copy_from_slice(value));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op;
    use crate::tensor::Shape;

    #[test]
    fn a_stride_leaves_zeros_between() {
        let conv = op::Conv2d::square(2, 1, 1, 2, 0);
        let p = Params::new(1, Shape::new(3, 2, 2), Shape::new(2, 1, 1), &conv);
        let (gradient, weight) = ([2.0f32, 3.0], [1.0f32, -1.0]);
        let mut out = [9; 12];
        twin(&p, &[bytemuck::cast_slice(&gradient), bytemuck::cast_slice(&weight)], &mut out);
        assert_eq!(floats(&out), [2.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, -3.0, 0.0, 0.0]);
    }
}
