//! Average pooling; the padding is never counted.
//!
//! Every output is the sum of the valid positions in the order `ky, kx`, divided by their number.

use super::window::{Axis, pixel};
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use crate::op;
use crate::tensor::Shape;
use rayon::prelude::*;

params::params! {
    struct Params {
        in_h: u32,
        in_w: u32,
        out_h: u32,
        out_w: u32,
        channels: u32,
        kernel_h: u32,
        kernel_w: u32,
        stride_h: u32,
        stride_w: u32,
        pad_top: u32,
        pad_left: u32,
    }
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

impl Params {
    pub fn new(batch: u32, input: Shape, output: Shape, pool: &op::Pool) -> Self {
        Self {
            batch,
            in_h: size(input.h),
            in_w: size(input.w),
            out_h: size(output.h),
            out_w: size(output.w),
            channels: size(input.c),
            kernel_h: size(pool.kernel[0]),
            kernel_w: size(pool.kernel[1]),
            stride_h: size(pool.stride[0]),
            stride_w: size(pool.stride[1]),
            pad_top: size(pool.pad[0]),
            pad_left: size(pool.pad[1]),
        }
    }
}

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::AvgPool, params: params.words(), inputs: vec![map], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.kernel_h as usize * p.kernel_w as usize)
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [p.batch as usize * p.in_h as usize * p.in_w as usize * p.channels as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.out_h as usize * p.out_w as usize * p.channels as usize
}

/// The rows and columns of the window.
pub(super) fn axes(p: &Params) -> (Axis, Axis) {
    let axis =
        |length, stride, pad| Axis { length: length as usize, stride: stride as usize, dilation: 1, pad: pad as usize };
    (axis(p.in_h, p.stride_h, p.pad_top), axis(p.in_w, p.stride_w, p.pad_left))
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let map = floats(inputs[0]);
    let (c, out_w) = (p.channels as usize, p.out_w as usize);
    let (rows, columns) = axes(p);
    floats_mut(out).par_chunks_mut(out_w * c).enumerate().for_each(|(i, out)| {
        let (image, y, _) = pixel(i * out_w, p.out_h as usize, out_w);
        for (x, out) in out.chunks_exact_mut(c).enumerate() {
            let mut valid = 0;
            out.fill(0.0);
            for iy in (0..p.kernel_h as usize).filter_map(|k| rows.source(y, k)) {
                for ix in (0..p.kernel_w as usize).filter_map(|k| columns.source(x, k)) {
                    let at = ((image * rows.length + iy) * columns.length + ix) * c;
                    out.iter_mut().zip(&map[at..at + c]).for_each(|(sum, x)| *sum += x);
                    valid += 1;
                }
            }
            out.iter_mut().for_each(|sum| *sum /= valid as f32);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_does_not_count() {
        let pool = op::Pool { kernel: [2, 2], stride: [1, 1], pad: [1, 1, 0, 0] };
        let input = Shape::new(2, 2, 1);
        let p = Params::new(1, input, pool.output_shape(input).unwrap(), &pool);
        let map = [1.0f32, 2.0, 3.0, 6.0];
        let mut out = [0; 4];
        twin(&p, &[bytemuck::cast_slice(&map)], &mut out);
        assert_eq!(floats(&out), [1.0, 1.5, 2.0, 3.0]);
    }
}
