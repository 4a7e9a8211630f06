//! Elementwise sum of two maps of one shape.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, TASK_ELEMENTS, Tolerance, floats, floats_mut, params, size};
use crate::wide::wide;
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        elements: u32,
    }
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

impl Params {
    pub fn new(batch: u32, elements: usize) -> Self {
        Self { batch, elements: size(elements) }
    }

    fn total(&self) -> usize {
        self.batch as usize * self.elements as usize
    }
}

pub fn call(params: Params, a: BufferId, b: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Add, params: params.words(), inputs: vec![a, b], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::ROUNDED_ONCE
}

pub fn invocations(p: &Params) -> usize {
    p.total()
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [p.total(); 2]
}

pub fn output_words(p: &Params) -> usize {
    p.total()
}

pub fn twin(_: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (a, b) = (floats(inputs[0]), floats(inputs[1]));
    floats_mut(out).par_chunks_mut(TASK_ELEMENTS).enumerate().for_each(|(i, out)| {
        let from = i * TASK_ELEMENTS;
        sums(&a[from..], &b[from..], out);
    });
}

wide! {
    fn sums(a: &[f32], b: &[f32], out: &mut [f32]) {
        out.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = a + b);
    }
}
