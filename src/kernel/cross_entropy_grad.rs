//! Gradient of the softmax cross-entropy: `scale * (softmax(x) - target)`.
//!
//! `scale` is 1 over the images of the whole batch for a mean loss. An image that does not count gets
//! zeros.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        classes: u32,
        smoothing: f32,
        scale: f32,
    }
}

/// Logits, labels.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::U32], output: Cell::F32 };

impl Params {
    pub fn new(batch: u32, classes: usize, smoothing: f32, scale: f32) -> Self {
        Self { batch, classes: size(classes), smoothing, scale }
    }
}

pub fn call(params: Params, logits: BufferId, labels: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::CrossEntropyGrad, params: params.words(), inputs: vec![logits, labels], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::EXPRESSION
}

pub fn invocations(p: &Params) -> usize {
    p.batch as usize
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [output_words(p), p.batch as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.classes as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let classes = p.classes as usize;
    let logits = floats(inputs[0]).par_chunks(classes);
    floats_mut(out).par_chunks_mut(classes).zip(logits).zip(inputs[1]).for_each(|((out, logits), &label)| {
        if label >= p.classes {
            out.fill(0.0);
            return;
        }
        let largest = logits[super::cross_entropy::argmax(logits)];
        out.iter_mut().zip(logits).for_each(|(y, x)| *y = (x - largest).exp());
        let sum = out.iter().fold(0.0, |s, y| s + y);
        for (c, y) in out.iter_mut().enumerate() {
            let own = if c == label as usize { 1.0 - p.smoothing } else { 0.0 };
            *y = p.scale * (*y / sum - own - p.smoothing / classes as f32);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_pull_towards_the_label() {
        let logits = [1000.0f32; 8];
        let mut out = [9; 8];
        twin(&Params::new(2, 4, 0.0, 0.5), &[bytemuck::cast_slice(&logits), &[2, 4]], &mut out);
        assert_eq!(floats(&out), [0.125, 0.125, -0.375, 0.125, 0.0, 0.0, 0.0, 0.0]);
    }
}
