//! 1×1 convolution without padding or groups, at any stride: the fast path of `conv2d`.
//!
//! Weights are `[in_c][out_c]`, which is `conv2d`'s order for a 1×1 kernel. Every output is the bias
//! plus its products in the order of the input channels.

use super::gemm::{self, Panels};
use super::window::pixel;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, WORKGROUP, floats, floats_mut, params, size};
use crate::op;
use crate::tensor::Shape;
use rayon::prelude::*;

pub use super::conv2d::pack;

params::params! {
    struct Params {
        in_h: u32,
        in_w: u32,
        in_c: u32,
        out_h: u32,
        out_w: u32,
        out_c: u32,
        stride_h: u32,
        stride_w: u32,
        /// 1 if the third input is the bias, 0 if it is to be ignored.
        has_bias: u32,
    }
}

/// Map, packed weights, bias.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32, Cell::F32], output: Cell::F32 };

/// The tile of a workgroup in the shader: pixels and output channels.
const TILE_PIXELS: usize = 256;
const TILE_CHANNELS: usize = 16;

/// Whether this kernel computes `conv`.
pub fn covers(conv: &op::Conv2d) -> bool {
    conv.kernel == [1, 1] && conv.pad == [0; 4] && conv.groups == 1
}

impl Params {
    pub fn new(batch: u32, input: Shape, output: Shape, conv: &op::Conv2d) -> Self {
        assert!(covers(conv), "not a 1x1 convolution without padding and groups: {conv:?}");
        Self {
            batch,
            in_h: size(input.h),
            in_w: size(input.w),
            in_c: size(input.c),
            out_h: size(output.h),
            out_w: size(output.w),
            out_c: size(output.c),
            stride_h: size(conv.stride[0]),
            stride_w: size(conv.stride[1]),
            has_bias: 0,
        }
    }

    pub(super) fn pixels(&self) -> usize {
        self.batch as usize * self.out_h as usize * self.out_w as usize
    }
}

pub fn call(params: Params, map: BufferId, weight: BufferId, bias: Option<BufferId>, output: BufferId) -> KernelCall {
    let params = Params { has_bias: u32::from(bias.is_some()), ..params };
    let inputs = vec![map, weight, bias.unwrap_or(weight)];
    KernelCall { kernel: Kernel::Conv1x1, params: params.words(), inputs, output }
}

/// Multiply-accumulates.
pub fn macs(p: &Params) -> u64 {
    output_words(p) as u64 * u64::from(p.in_c)
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.in_c as usize + 1)
}

pub fn invocations(p: &Params) -> usize {
    p.pixels().div_ceil(TILE_PIXELS) * (p.out_c as usize).div_ceil(TILE_CHANNELS) * WORKGROUP
}

pub fn input_words(p: &Params) -> [usize; 3] {
    let map = p.batch as usize * p.in_h as usize * p.in_w as usize * p.in_c as usize;
    [map, p.in_c as usize * p.out_c as usize, if p.has_bias == 1 { p.out_c as usize } else { 0 }]
}

pub fn output_words(p: &Params) -> usize {
    p.pixels() * p.out_c as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let map = floats(inputs[0]);
    let (in_c, out_c) = (p.in_c as usize, p.out_c as usize);
    let bias = (p.has_bias == 1).then(|| floats(inputs[2]));
    let panels = Panels::pack(floats(inputs[1]), in_c, out_c, 0, out_c);
    let rows = gemm::rows_per_task(in_c);
    let strided = (p.stride_h, p.stride_w) != (1, 1);
    floats_mut(out).par_chunks_mut(rows * out_c).enumerate().for_each_init(Vec::new, |gathered, (i, out)| {
        let range = i * rows..i * rows + out.len() / out_c;
        let rows = if strided {
            gather(p, map, range, gathered);
            gathered.as_slice()
        } else {
            &map[range.start * in_c..range.end * in_c]
        };
        panels.multiply(rows, bias, out, out_c, 0);
    });
}

/// The input pixels under output pixels `range`, one after the other.
pub(super) fn gather(p: &Params, map: &[f32], range: std::ops::Range<usize>, rows: &mut Vec<f32>) {
    let in_c = p.in_c as usize;
    rows.clear();
    for index in range {
        let (image, y, x) = pixel(index, p.out_h as usize, p.out_w as usize);
        let row = image * p.in_h as usize + y * p.stride_h as usize;
        let at = (row * p.in_w as usize + x * p.stride_w as usize) * in_c;
        rows.extend_from_slice(&map[at..at + in_c]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::conv2d;
    use super::*;

    #[test]
    fn the_fast_path_has_the_bits_of_the_general_kernel() {
        for stride in [1, 2, 3] {
            let conv = op::Conv2d::square(5, 19, 1, stride, 0);
            let input = Shape::new(7, 9, 5);
            let output = conv.output_shape(input).unwrap();
            let wave = |n: usize| (0..n).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>();
            let (map, weights, bias) = (wave(3 * input.elements()), pack(&conv, &wave(5 * 19)), wave(19));
            let inputs = [&map, &weights, &bias].map(|v| bytemuck::cast_slice(v));
            let (mut fast, mut general) = (vec![0; 3 * output.elements()], vec![0; 3 * output.elements()]);
            twin(&Params { has_bias: 1, ..Params::new(3, input, output, &conv) }, &inputs, &mut fast);
            let p = conv2d::Params { has_bias: 1, ..conv2d::Params::new(3, input, output, &conv) };
            conv2d::twin(&p, &inputs, &mut general);
            assert_eq!(fast, general);
        }
    }
}
