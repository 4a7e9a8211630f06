//! Momentum of stochastic gradient descent, in place: `v = momentum * v + (g + decay * w)`.
//!
//! No dampening: the gradient enters whole, so that a velocity of zeros is the right start.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, TASK_ELEMENTS, Tolerance, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        elements: u32,
        momentum: f32,
        /// Weight decay.
        decay: f32,
    }
}

/// Gradient, parameter; updates the velocity.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

impl Params {
    pub fn new(elements: usize, momentum: f32, decay: f32) -> Self {
        Self { batch: 1, elements: size(elements), momentum, decay }
    }
}

pub fn call(params: Params, gradient: BufferId, parameter: BufferId, velocity: BufferId) -> KernelCall {
    let inputs = vec![gradient, parameter];
    KernelCall { kernel: Kernel::SgdVelocity, params: params.words(), inputs, output: velocity }
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
    floats_mut(out).par_chunks_mut(TASK_ELEMENTS).zip(pair).for_each(|(out, (gradient, parameter))| {
        out.iter_mut().zip(gradient).zip(parameter).for_each(|((v, g), w)| *v = p.momentum * *v + (g + p.decay * w));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_velocity_fades() {
        let mut out = [4f32.to_bits()];
        twin(&Params::new(1, 0.5, 0.25), &[&[1f32.to_bits()], &[8f32.to_bits()]], &mut out);
        assert_eq!(floats(&out), [5.0]);
    }
}
