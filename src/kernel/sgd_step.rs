//! A step of stochastic gradient descent, in place:
//! `w = w - rate * (gradient_share * (g + decay * w) + velocity_share * v)`.
//!
//! The shares are (1, 0) without momentum, (0, 1) with it, and (1, momentum) in Nesterov's form.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, TASK_ELEMENTS, Tolerance, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        elements: u32,
        rate: f32,
        /// Weight decay of the gradient's share; the velocity has its own already.
        decay: f32,
        gradient_share: f32,
        velocity_share: f32,
    }
}

/// Gradient, velocity; updates the parameter.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

impl Params {
    /// Without momentum; the velocity is not used.
    pub fn plain(elements: usize, rate: f32, decay: f32) -> Self {
        Self { batch: 1, elements: size(elements), rate, decay, gradient_share: 1.0, velocity_share: 0.0 }
    }

    pub fn momentum(elements: usize, rate: f32) -> Self {
        Self { gradient_share: 0.0, velocity_share: 1.0, ..Self::plain(elements, rate, 0.0) }
    }

    pub fn nesterov(elements: usize, rate: f32, decay: f32, momentum: f32) -> Self {
        Self { velocity_share: momentum, ..Self::plain(elements, rate, decay) }
    }
}

/// Without a velocity the gradient stands in for it.
pub fn call(params: Params, gradient: BufferId, velocity: Option<BufferId>, parameter: BufferId) -> KernelCall {
    let inputs = vec![gradient, velocity.unwrap_or(gradient)];
    KernelCall { kernel: Kernel::SgdStep, params: params.words(), inputs, output: parameter }
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
    floats_mut(out).par_chunks_mut(TASK_ELEMENTS).zip(pair).for_each(|(out, (gradient, velocity))| {
        for ((w, g), v) in out.iter_mut().zip(gradient).zip(velocity) {
            *w -= p.rate * (p.gradient_share * (g + p.decay * *w) + p.velocity_share * v);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        let step = |p: Params| {
            let mut out = [8f32.to_bits()];
            twin(&p, &[&[1f32.to_bits()], &[16f32.to_bits()]], &mut out);
            f32::from_bits(out[0])
        };
        assert_eq!(step(Params::plain(1, 0.5, 0.25)), 6.5);
        assert_eq!(step(Params::momentum(1, 0.5)), 0.0);
        assert_eq!(step(Params::nesterov(1, 0.5, 0.25, 0.5)), 2.5);
    }
}
