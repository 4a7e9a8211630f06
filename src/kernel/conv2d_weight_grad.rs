//! Weight gradient of a convolution of any kernel, in parts: one for every 256 output pixels of
//! every image, each in the order of the forward kernel's weights. `sum_rows` adds them up in order.
//!
//! Every sum is taken over the output pixels in order; a tap in the padding adds nothing.

use super::conv1x1_weight_grad::{PART, pixels_of};
use super::outer::{self, Columns};
use super::window::pixel;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut};
use rayon::prelude::*;
use std::ops::Range;

/// Those of the forward kernel.
pub use super::conv2d::Params;

/// Map, gradient of the output.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

/// Parts of one image.
pub fn parts(p: &Params) -> usize {
    image(p).div_ceil(PART)
}

/// Output pixels of one image.
fn image(p: &Params) -> usize {
    p.out_h as usize * p.out_w as usize
}

pub fn call(params: Params, map: BufferId, gradient: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Conv2dWeightGrad, params: params.words(), inputs: vec![map, gradient], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::sum(PART)
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 2] {
    let map = p.batch as usize * p.in_h as usize * p.in_w as usize * p.in_c as usize;
    [map, p.pixels() * p.out_c as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * parts(p) * p.depth() * p.out_c as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (map, gradient) = (floats(inputs[0]), floats(inputs[1]));
    let scratch = || (Vec::new(), Vec::new());
    let weights = p.depth() * p.out_c as usize;
    floats_mut(out).par_chunks_mut(weights).enumerate().for_each_init(scratch, |(patches, panel), (i, out)| {
        let range = pixels_of(i, image(p));
        if p.is_depthwise() {
            depthwise(p, map, gradient, range, out);
            return;
        }
        let (out_c, columns) = (p.out_c as usize, p.group_out());
        for group in 0..p.groups as usize {
            super::conv2d::gather(p, map, group, range.clone(), patches);
            let x = Columns { data: patches, stride: p.depth(), first: 0, count: p.depth() };
            let data = &gradient[range.start * out_c..range.end * out_c];
            let g = Columns { data, stride: out_c, first: group * columns, count: columns };
            outer::sum(x, g, out, panel);
        }
    });
}

/// Each channel by itself, all channels of a pixel in one vector loop.
fn depthwise(p: &Params, map: &[f32], gradient: &[f32], range: Range<usize>, out: &mut [f32]) {
    let (rows, columns) = p.axes();
    let c = p.out_c as usize;
    out.fill(0.0);
    for index in range {
        let (image, y, x) = pixel(index, p.out_h as usize, p.out_w as usize);
        let gradient = &gradient[index * c..(index + 1) * c];
        for (tap, out) in out.chunks_exact_mut(c).enumerate() {
            let (ky, kx) = (tap / p.kernel_w as usize, tap % p.kernel_w as usize);
            if let Some((iy, ix)) = rows.source(y, ky).zip(columns.source(x, kx)) {
                let at = ((image * rows.length + iy) * columns.length + ix) * c;
                let map = &map[at..at + c];
                out.iter_mut().zip(map).zip(gradient).for_each(|((o, m), g)| *o += m * g);
            }
        }
    }
}
