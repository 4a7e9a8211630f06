//! A window of a map in space and channels: the gradient of `pad`, and of one part of `concat`.
//! Moves bits, computes nothing.

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
        top: u32,
        left: u32,
        /// The input channel of the output's first.
        first: u32,
    }
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::U32], output: Cell::U32 };

impl Params {
    /// The window of shape `output` at row, column and channel `at` of a map of shape `input`.
    pub fn new(batch: u32, input: Shape, output: Shape, at: [usize; 3]) -> Self {
        let [top, left, first] = at;
        let fits = top + output.h <= input.h && left + output.w <= input.w && first + output.c <= input.c;
        assert!(fits, "no window of {output} at {at:?} of {input}");
        Self {
            batch,
            in_h: size(input.h),
            in_w: size(input.w),
            in_c: size(input.c),
            out_h: size(output.h),
            out_w: size(output.w),
            out_c: size(output.c),
            top: size(top),
            left: size(left),
            first: size(first),
        }
    }

    /// What `pad` took its input to: from the gradient of shape `padded` to that of shape `input`.
    pub fn unpad(batch: u32, padded: Shape, input: Shape, pad: &op::Pad) -> Self {
        Self::new(batch, padded, input, [pad.space[0], pad.space[1], pad.channels[0]])
    }

    /// Channels `first..first + channels`, at all positions: a part of a concatenation.
    pub fn part(batch: u32, whole: Shape, first: usize, channels: usize) -> Self {
        Self::new(batch, whole, Shape::new(whole.h, whole.w, channels), [0, 0, first])
    }
}

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Crop, params: params.words(), inputs: vec![map], output }
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
    let (out_h, out_w, out_c) = (p.out_h as usize, p.out_w as usize, p.out_c as usize);
    out.par_chunks_mut(out_w * out_c).enumerate().for_each(|(i, out)| {
        let row = (i / out_h * p.in_h as usize + p.top as usize + i % out_h) * in_w + p.left as usize;
        let pixels = inputs[0][row * in_c..].chunks_exact(in_c);
        for (out, pixel) in out.chunks_exact_mut(out_c).zip(pixels) {
            out.copy_from_slice(&pixel[p.first as usize..][..out_c]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crop_undoes_a_pad() {
        let pad = op::Pad { space: [1, 2, 0, 3], channels: [2, 1] };
        let input = Shape::new(3, 2, 4);
        let padded = pad.output_shape(input).unwrap();
        let map: Vec<u32> = (1..=48).collect();
        let mut big = vec![0; 2 * padded.elements()];
        super::super::pad::twin(&super::super::pad::Params::new(2, input, padded, &pad), &[&map], &mut big);
        let mut back = vec![0; 48];
        twin(&Params::unpad(2, padded, input, &pad), &[&big], &mut back);
        assert_eq!(back, map);
        let mut part = [0; 2];
        twin(&Params::part(1, Shape::new(1, 2, 3), 1, 1), &[&[1, 2, 3, 4, 5, 6]], &mut part);
        assert_eq!(part, [2, 5]);
    }
}
