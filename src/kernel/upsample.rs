//! Enlargement by whole factors. Moves bits, computes nothing.

use super::window::pixel;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, params, size};
use crate::op;
use crate::op::upsample::Between;
use crate::tensor::Shape;
use rayon::prelude::*;

params::params! {
    struct Params {
        in_h: u32,
        in_w: u32,
        channels: u32,
        out_h: u32,
        out_w: u32,
        factor_h: u32,
        factor_w: u32,
        /// 1 if zeros lie between the positions, 0 if they are repeated.
        zeros: u32,
    }
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::U32], output: Cell::U32 };

impl Params {
    pub fn new(batch: u32, input: Shape, output: Shape, op: &op::Upsample) -> Self {
        Self {
            batch,
            in_h: size(input.h),
            in_w: size(input.w),
            channels: size(input.c),
            out_h: size(output.h),
            out_w: size(output.w),
            factor_h: size(op.factor[0]),
            factor_w: size(op.factor[1]),
            zeros: u32::from(op.between == Between::Zeros),
        }
    }
}

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Upsample, params: params.words(), inputs: vec![map], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::Bitwise
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

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (channels, in_w) = (p.channels as usize, p.in_w as usize);
    let (factor_h, factor_w) = (p.factor_h as usize, p.factor_w as usize);
    out.par_chunks_exact_mut(channels).enumerate().for_each(|(i, out)| {
        let (image, y, x) = pixel(i, p.out_h as usize, p.out_w as usize);
        if p.zeros == 1 && !(y.is_multiple_of(factor_h) && x.is_multiple_of(factor_w)) {
            return out.fill(0);
        }
        let from = ((image * p.in_h as usize + y / factor_h) * in_w + x / factor_w) * channels;
        out.copy_from_slice(&inputs[0][from..from + channels]);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_repeated_or_set_apart() {
        let input = Shape::new(1, 2, 1);
        let run = |between| {
            let op = op::Upsample { factor: [1, 2], between };
            let output = op.output_shape(input).unwrap();
            let mut out = vec![9; output.elements()];
            twin(&Params::new(1, input, output, &op), &[&[5, 6]], &mut out);
            out
        };
        assert_eq!(run(Between::Repeated), [5, 5, 6, 6]);
        assert_eq!(run(Between::Zeros), [5, 0, 6]);
    }
}
