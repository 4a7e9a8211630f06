//! Zero padding in space and in channels. Moves bits, computes nothing.

use super::window::pixel;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, params, size};
use crate::op;
use crate::tensor::Shape;
use rayon::prelude::*;

params::params! {
    struct Params {
        in_h: u32,
        in_w: u32,
        in_c: u32,
        out_h: u32,
        out_w: u32,
        out_c: u32,
        pad_top: u32,
        pad_left: u32,
        /// Zero channels before the input's.
        pad_channels: u32,
    }
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::U32], output: Cell::U32 };

impl Params {
    pub fn new(batch: u32, input: Shape, output: Shape, pad: &op::Pad) -> Self {
        Self {
            batch,
            in_h: size(input.h),
            in_w: size(input.w),
            in_c: size(input.c),
            out_h: size(output.h),
            out_w: size(output.w),
            out_c: size(output.c),
            pad_top: size(pad.space[0]),
            pad_left: size(pad.space[1]),
            pad_channels: size(pad.channels[0]),
        }
    }
}

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Pad, params: params.words(), inputs: vec![map], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::Bitwise
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [p.batch as usize * p.in_h as usize * p.in_w as usize * p.in_c as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.out_h as usize * p.out_w as usize * p.out_c as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (in_w, in_c) = (p.in_w as usize, p.in_c as usize);
    let (out_w, out_c) = (p.out_w as usize, p.out_c as usize);
    out.par_chunks_mut(out_w * out_c).enumerate().for_each(|(i, out)| {
        out.fill(0);
        let (image, y, _) = pixel(i * out_w, p.out_h as usize, out_w);
        let Some(iy) = y.checked_sub(p.pad_top as usize).filter(|&iy| iy < p.in_h as usize) else {
            return;
        };
        let row = (image * p.in_h as usize + iy) * in_w * in_c;
        let pixels = inputs[0][row..row + in_w * in_c].chunks_exact(in_c);
        for (out, pixel) in out.chunks_exact_mut(out_c).skip(p.pad_left as usize).zip(pixels) {
            let from = p.pad_channels as usize;
            out[from..from + in_c].copy_from_slice(pixel);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_go_around_the_map() {
        let pad = op::Pad { space: [1, 0, 0, 1], channels: [1, 0] };
        let input = Shape::new(1, 2, 1);
        let p = Params::new(1, input, pad.output_shape(input).unwrap(), &pad);
        let mut out = [9; 12];
        twin(&p, &[&[5, 6]], &mut out);
        assert_eq!(out, [0, 0, 0, 0, 0, 0, 0, 5, 0, 6, 0, 0]);
    }
}
