//! Softmax cross-entropy of each image with a label, and whether the largest logit is the label's.
//!
//! The target is `1 - smoothing` on the label plus `smoothing / classes` everywhere. Of equal logits
//! the first is the largest. A label beyond the classes marks an image that does not count: loss 0.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        classes: u32,
        smoothing: f32,
    }
}

/// Logits, labels.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::U32], output: Cell::F32 };

/// Values of the output per image: the loss, and 1 for a hit.
pub const OUTPUTS: usize = 2;

impl Params {
    pub fn new(batch: u32, classes: usize, smoothing: f32) -> Self {
        Self { batch, classes: size(classes), smoothing }
    }
}

pub fn call(params: Params, logits: BufferId, labels: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::CrossEntropy, params: params.words(), inputs: vec![logits, labels], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.classes as usize)
}

pub fn invocations(p: &Params) -> usize {
    p.batch as usize
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [p.batch as usize * p.classes as usize, p.batch as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * OUTPUTS
}

/// The first of the largest values.
pub(super) fn argmax(values: &[f32]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let classes = p.classes as usize;
    let logits = floats(inputs[0]).par_chunks(classes);
    floats_mut(out).par_chunks_mut(OUTPUTS).zip(logits).zip(inputs[1]).for_each(|((out, logits), &label)| {
        let Some(&own) = logits.get(label as usize) else {
            out.fill(0.0);
            return;
        };
        let best = argmax(logits);
        let sum = logits.iter().fold(0.0, |s, x| s + (x - logits[best]).exp());
        let mean = logits.iter().fold(0.0, |s, x| s + (x - logits[best])) / classes as f32;
        out[0] = sum.ln() - (1.0 - p.smoothing) * (own - logits[best]) - p.smoothing * mean;
        out[1] = if best == label as usize { 1.0 } else { 0.0 };
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(smoothing: f32, logits: &[f32], labels: &[u32]) -> Vec<f32> {
        let p = Params::new(labels.len() as u32, logits.len() / labels.len(), smoothing);
        let mut out = vec![9; labels.len() * OUTPUTS];
        twin(&p, &[bytemuck::cast_slice(logits), labels], &mut out);
        floats(&out).to_vec()
    }

    #[test]
    fn known_losses() {
        let half = 2f32.ln();
        assert_eq!(run(0.0, &[5.0, 5.0, 900.0, -900.0], &[0, 1]), [half, 1.0, 1800.0, 0.0]);
        assert_eq!(run(0.5, &[0.0, 0.0], &[1]), [half, 0.0]);
        assert_eq!(run(0.0, &[0.0, 3.0], &[2]), [0.0, 0.0]);
    }
}
