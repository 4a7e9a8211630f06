//! Adds a map to another, in place: the gradient of a map with several readers.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, TASK_ELEMENTS, Tolerance, floats, floats_mut};
use crate::wide::wide;
use rayon::prelude::*;

/// Elements of one image, as in an elementwise sum.
pub use super::add::{Params, invocations, output_words};

/// What is added; updates the sum.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

pub fn call(params: Params, term: BufferId, sum: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Accumulate, params: params.words(), inputs: vec![term], output: sum }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::ROUNDED_ONCE
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [output_words(p)]
}

pub fn twin(_: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let terms = floats(inputs[0]).par_chunks(TASK_ELEMENTS);
    floats_mut(out).par_chunks_mut(TASK_ELEMENTS).zip(terms).for_each(|(out, terms)| add(terms, out));
}

wide! {
    pub(super) fn add(terms: &[f32], sums: &mut [f32]) {
        sums.iter_mut().zip(terms).for_each(|(sum, x)| *sum += x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_keeps_what_it_held() {
        let mut out = [1f32, 2.0].map(f32::to_bits);
        twin(&Params::new(2, 1), &[&[3f32, 5.0].map(f32::to_bits)], &mut out);
        assert_eq!(floats(&out), [4.0, 7.0]);
    }
}
