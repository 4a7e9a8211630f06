//! Gradient of a function whose derivative is one of two values, from the bits of `pass_mask`:
//! `g` where the bit is 1, `slope * g` elsewhere (exactly 0 for a clamp).

use super::activation::{self, mode};
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, TASK_ELEMENTS, Tolerance, params};
use crate::op;
use crate::wide::wide;
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        elements: u32,
        slope: f32,
    }
}

/// Gradient of the output, bits.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::U32], output: Cell::F32 };

impl Params {
    /// For an activation that has a mask.
    pub fn new(batch: u32, elements: usize, activation: op::Activation) -> Self {
        let forward = activation::Params::new(batch, elements, activation);
        let slope = if forward.mode == mode::LEAKY_RELU { forward.a } else { 0.0 };
        Self { batch, elements: forward.elements, slope }
    }
}

pub fn call(params: Params, gradient: BufferId, bits: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::MaskGrad, params: params.words(), inputs: vec![gradient, bits], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::ROUNDED_ONCE
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [output_words(p), output_words(p).div_ceil(32)]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.elements as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let slope = p.slope;
    if slope == 0.0 {
        select(inputs, out, |_| 0);
    } else {
        select(inputs, out, |gradient| (slope * f32::from_bits(gradient)).to_bits());
    }
}

/// The gradient where its bit is 1, else what `blocked` makes of it.
fn select(inputs: &[&[u32]], out: &mut [u32], blocked: impl Fn(u32) -> u32 + Sync) {
    let chunks = inputs[0].par_chunks(TASK_ELEMENTS).zip(inputs[1].par_chunks(TASK_ELEMENTS / 32));
    out.par_chunks_mut(TASK_ELEMENTS).zip(chunks).for_each(|(out, (gradient, bits))| {
        select_words(gradient, bits, out, &blocked);
    });
}

wide! {
    fn select_words(gradient: &[u32], bits: &[u32], out: &mut [u32], blocked: impl Fn(u32) -> u32) {
        for ((out, gradient), &word) in out.chunks_mut(32).zip(gradient.chunks(32)).zip(bits) {
            // All ones where the gradient passes: no branches, so that the loops vectorise.
            let passes: [u32; 32] = std::array::from_fn(|i| u32::from(word & (1 << i) != 0).wrapping_neg());
            let pairs = gradient.iter().zip(&passes);
            out.iter_mut().zip(pairs).for_each(|(y, (&g, pass))| *y = (g & pass) | (blocked(g) & !pass));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::floats;
    use super::*;

    #[test]
    fn bits_choose_between_the_gradient_and_its_slope() {
        let gradient = [8.0f32; 3];
        let run = |activation| {
            let mut out = [9; 3];
            twin(&Params::new(1, 3, activation), &[bytemuck::cast_slice(&gradient), &[0b101]], &mut out);
            floats(&out).to_vec()
        };
        assert_eq!(run(op::Activation::Relu), [8.0, 0.0, 8.0]);
        assert_eq!(run(op::Activation::LeakyRelu { slope: 0.25 }), [8.0, 2.0, 8.0]);
    }
}
