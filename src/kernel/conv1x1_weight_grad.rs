//! Weight gradient of a 1×1 convolution, in parts: one for every 256 output pixels of every image.
//!
//! A part is `[in_c][out_c]`, each of its sums taken over the pixels in order. `sum_rows` adds the
//! parts up in order, so that the bits do not depend on how the images were grouped.

use super::outer::{self, Columns};
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, WORKGROUP, floats, floats_mut};
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::conv1x1::Params;

/// Map, gradient of the output.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

/// Output pixels of a part. The shaders have the same number.
pub(super) const PART: usize = 256;
/// The tile of a workgroup in the shader: input and output channels.
const TILE: usize = 32;

/// Parts of one image.
pub fn parts(p: &Params) -> usize {
    (p.out_h as usize * p.out_w as usize).div_ceil(PART)
}

pub fn call(params: Params, map: BufferId, gradient: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Conv1x1WeightGrad, params: params.words(), inputs: vec![map, gradient], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::sum(PART)
}

pub fn invocations(p: &Params) -> usize {
    let tiles = (p.in_c as usize).div_ceil(TILE) * (p.out_c as usize).div_ceil(TILE);
    p.batch as usize * parts(p) * tiles * WORKGROUP
}

pub fn input_words(p: &Params) -> [usize; 2] {
    let map = p.batch as usize * p.in_h as usize * p.in_w as usize * p.in_c as usize;
    [map, p.pixels() * p.out_c as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * parts(p) * p.in_c as usize * p.out_c as usize
}

/// The output pixels, of all images, that part `index` of all parts sums over.
pub(super) fn pixels_of(index: usize, image: usize) -> std::ops::Range<usize> {
    let parts = image.div_ceil(PART);
    let from = index / parts * image + index % parts * PART;
    from..(from + PART).min((index / parts + 1) * image)
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (map, gradient) = (floats(inputs[0]), floats(inputs[1]));
    let (in_c, out_c) = (p.in_c as usize, p.out_c as usize);
    let strided = (p.stride_h, p.stride_w) != (1, 1);
    let scratch = || (Vec::new(), Vec::new());
    floats_mut(out).par_chunks_mut(in_c * out_c).enumerate().for_each_init(scratch, |(gathered, panel), (i, out)| {
        let range = pixels_of(i, p.out_h as usize * p.out_w as usize);
        let gradient = &gradient[range.start * out_c..range.end * out_c];
        let rows = if strided {
            super::conv1x1::gather(p, map, range, gathered);
            gathered.as_slice()
        } else {
            &map[range.start * in_c..range.end * in_c]
        };
        let x = Columns { data: rows, stride: in_c, first: 0, count: in_c };
        let g = Columns { data: gradient, stride: out_c, first: 0, count: out_c };
        outer::sum(x, g, out, panel);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_each_image_by_itself() {
        assert_eq!([0, 1, 2, 3].map(|i| pixels_of(i, 300)), [0..256, 256..300, 300..556, 556..600]);
        assert_eq!(pixels_of(5, 64), 320..384);
    }
}
