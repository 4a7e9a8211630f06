//! The factor that brings gradients to at most a given norm, and their norm, in this order.
//!
//! The norm is the root of the sum of all parts, taken like those of `sum_squares`; the factor is
//! `min(1, max_norm / (norm + 1e-6))`. `scale` applies it.

use super::sum_squares::workgroup_sum;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, WORKGROUP, floats, floats_mut, params, size};

params::params! {
    struct Params {
        /// Sums of squares.
        parts: u32,
        max_norm: f32,
    }
}

/// Sums of squares.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

impl Params {
    pub fn new(parts: usize, max_norm: f32) -> Self {
        Self { batch: 1, parts: size(parts), max_norm }
    }
}

pub fn call(params: Params, parts: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::ClipFactor, params: params.words(), inputs: vec![parts], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.parts as usize)
}

pub fn invocations(_: &Params) -> usize {
    WORKGROUP
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [p.parts as usize]
}

pub fn output_words(_: &Params) -> usize {
    2
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let norm = workgroup_sum(floats(inputs[0]).iter().copied()).sqrt();
    floats_mut(out).copy_from_slice(&[(p.max_norm / (norm + 1e-6)).min(1.0), norm]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_gradient_is_shortened() {
        let factor = |max_norm| {
            let mut out = [9; 2];
            twin(&Params::new(2, max_norm), &[&[9f32, 16.0].map(f32::to_bits)], &mut out);
            floats(&out).to_vec()
        };
        assert_eq!(factor(10.0), [1.0, 5.0]);
        assert!((factor(2.5)[0] - 0.5).abs() < 1e-6);
    }
}
