//! A step of Adam or AdamW, in place: `w = keep * w - step * m / (sqrt(v) / root + epsilon)`.
//!
//! The corrections of both moments' bias are in `step` and `root`, computed in f64 from the number of
//! the step; AdamW's weight decay is in `keep`.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, TASK_ELEMENTS, Tolerance, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        elements: u32,
        /// 1 - rate * decay.
        keep: f32,
        /// rate / (1 - beta1^t).
        step: f32,
        /// sqrt(1 - beta2^t).
        root: f32,
        epsilon: f32,
    }
}

/// Mean and uncentred variance of the gradient; updates the parameter.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

/// What a user sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub rate: f64,
    pub betas: [f64; 2],
    pub epsilon: f64,
    /// Weight decay apart from the gradient (AdamW); 0 for Adam.
    pub decoupled_decay: f64,
}

impl Params {
    /// For step `t`, the first being 1.
    pub fn new(elements: usize, settings: &Settings, t: u64) -> Self {
        let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(t).unwrap_or(i32::MAX));
        Self {
            batch: 1,
            elements: size(elements),
            keep: (1.0 - settings.rate * settings.decoupled_decay) as f32,
            step: (settings.rate / correction(settings.betas[0])) as f32,
            root: correction(settings.betas[1]).sqrt() as f32,
            epsilon: settings.epsilon as f32,
        }
    }
}

pub fn call(params: Params, mean: BufferId, variance: BufferId, parameter: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::AdamStep, params: params.words(), inputs: vec![mean, variance], output: parameter }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::EXPRESSION
}

pub fn invocations(p: &Params) -> usize {
    p.elements as usize
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [p.elements as usize; 2]
}

pub fn output_words(p: &Params) -> usize {
    p.elements as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let pair = floats(inputs[0]).par_chunks(TASK_ELEMENTS).zip(floats(inputs[1]).par_chunks(TASK_ELEMENTS));
    floats_mut(out).par_chunks_mut(TASK_ELEMENTS).zip(pair).for_each(|(out, (mean, variance))| {
        for ((w, m), v) in out.iter_mut().zip(mean).zip(variance) {
            *w = p.keep * *w - p.step * (m / (v.sqrt() / p.root + p.epsilon));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_has_the_length_of_the_rate() {
        let settings = Settings { rate: 0.5, betas: [0.9, 0.999], epsilon: 0.0, decoupled_decay: 0.25 };
        let p = Params::new(2, &settings, 1);
        // Moments after one step with gradients 3 and -0.01.
        let (mean, variance) = ([0.3f32, -0.001], [0.009f32, 1e-7]);
        let mut out = [8f32, 0.0].map(f32::to_bits);
        twin(&p, &[bytemuck::cast_slice(&mean), bytemuck::cast_slice(&variance)], &mut out);
        let [a, b] = out.map(f32::from_bits);
        assert!((a - 6.5).abs() < 1e-5 && (b - 0.5).abs() < 1e-5, "{a} {b}");
    }
}
