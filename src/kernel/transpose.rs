//! The axes of a map in another order. Moves bits, computes nothing.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, params, size};
use crate::op;
use crate::tensor::Shape;
use rayon::prelude::*;

params::params! {
    struct Params {
        out_h: u32,
        out_w: u32,
        out_c: u32,
        /// How far the index into the input moves per row, column and channel of the output.
        step_h: u32,
        step_w: u32,
        step_c: u32,
    }
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::U32], output: Cell::U32 };

impl Params {
    pub fn new(batch: u32, input: Shape, output: Shape, op: &op::Transpose) -> Self {
        let [step_h, step_w, step_c] = op.steps(input).map(size);
        Self { batch, out_h: size(output.h), out_w: size(output.w), out_c: size(output.c), step_h, step_w, step_c }
    }
}

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Transpose, params: params.words(), inputs: vec![map], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::Bitwise
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [output_words(p)]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.out_h as usize * p.out_w as usize * p.out_c as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let [h, w, c] = [p.out_h, p.out_w, p.out_c].map(|n| n as usize);
    let [down, right, deep] = [p.step_h, p.step_w, p.step_c].map(|n| n as usize);
    out.par_chunks_exact_mut(w * c).enumerate().for_each(|(row, out)| {
        let first = row / h * h * w * c + row % h * down;
        for (i, bits) in out.iter_mut().enumerate() {
            *bits = inputs[0][first + i / c * right + i % c * deep];
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_change_places() {
        let (input, op) = (Shape::new(1, 2, 3), op::Transpose { order: [2, 0, 1] });
        let map: Vec<u32> = (0..12).collect();
        let mut out = [99; 12];
        twin(&Params::new(2, input, op.output_shape(input).unwrap(), &op), &[&map], &mut out);
        assert_eq!(out, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
    }
}
