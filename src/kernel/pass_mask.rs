//! Which elements of a map a clamp passes, one bit each: all that its gradient needs.
//!
//! Bit `i % 32` of word `i / 32` is 1 where `lower < x < upper`; bits beyond the last element are 0.
//! The map may be the input of the function or its output, which lie within the bounds alike.

use super::activation::{self, mode};
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, params};
use crate::op;
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        elements: u32,
        lower: f32,
        upper: f32,
    }
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::U32 };

/// Words that one task packs.
const TASK_WORDS: usize = 512;

impl Params {
    /// `None` if the derivative of `activation` is not one of two values.
    pub fn new(batch: u32, elements: usize, activation: op::Activation) -> Option<Self> {
        let forward = activation::Params::new(batch, elements, activation);
        let (lower, upper) = match forward.mode {
            mode::CLAMP => (forward.a, forward.b),
            // With a slope below zero the output would not tell the sides apart.
            mode::LEAKY_RELU if forward.a >= 0.0 => (0.0, f32::MAX),
            _ => return None,
        };
        Some(Self { batch, elements: forward.elements, lower, upper })
    }

    fn total(&self) -> usize {
        self.batch as usize * self.elements as usize
    }
}

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::PassMask, params: params.words(), inputs: vec![map], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::Bitwise
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [p.total()]
}

pub fn output_words(p: &Params) -> usize {
    p.total().div_ceil(32)
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (lower, upper) = (p.lower, p.upper);
    let maps = floats(inputs[0]).par_chunks(TASK_WORDS * 32);
    out.par_chunks_mut(TASK_WORDS).zip(maps).for_each(|(out, map)| {
        for (word, map) in out.iter_mut().zip(map.chunks(32)) {
            let bit = |(i, &x): (usize, &f32)| u32::from(x > lower && x < upper) << i;
            *word = map.iter().enumerate().map(bit).fold(0, |w, b| w | b);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_do_not_pass_and_smooth_functions_have_no_mask() {
        let map = [0.0f32, 1e-9, 6.0, 5.9, -1.0, 7.0];
        let mut out = [9];
        let p = Params::new(2, 3, op::Activation::Relu6).unwrap();
        twin(&p, &[bytemuck::cast_slice(&map)], &mut out);
        assert_eq!(out, [0b001010]);
        assert_eq!(Params::new(1, 1, op::Activation::Tanh), None);
        assert_eq!(Params::new(1, 1, op::Activation::LeakyRelu { slope: -0.1 }), None);
    }
}
