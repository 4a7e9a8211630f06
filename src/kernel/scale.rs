//! Multiplies a buffer by one value, in place.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, TASK_ELEMENTS, Tolerance, floats, floats_mut, params, size};
use crate::wide::wide;
use rayon::prelude::*;

params::params! {
    struct Params {
        elements: u32,
    }
}

/// The factor, the first word of its buffer; updates the values.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

impl Params {
    pub fn new(elements: usize) -> Self {
        Self { batch: 1, elements: size(elements) }
    }
}

pub fn call(params: Params, factor: BufferId, values: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Scale, params: params.words(), inputs: vec![factor], output: values }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::ROUNDED_ONCE
}

pub fn invocations(p: &Params) -> usize {
    p.elements as usize
}

pub fn input_words(_: &Params) -> [usize; 1] {
    [1]
}

pub fn output_words(p: &Params) -> usize {
    p.elements as usize
}

pub fn twin(_: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let factor = floats(inputs[0])[0];
    floats_mut(out).par_chunks_mut(TASK_ELEMENTS).for_each(|out| multiply(out, factor));
}

wide! {
    fn multiply(values: &mut [f32], factor: f32) {
        values.iter_mut().for_each(|x| *x *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_scaled() {
        let mut out = [1f32, -3.0].map(f32::to_bits);
        twin(&Params::new(2), &[&[0.5f32.to_bits()]], &mut out);
        assert_eq!(floats(&out), [0.5, -1.5]);
    }
}
