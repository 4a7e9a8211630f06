//! Elementwise functions of one map.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, TASK_ELEMENTS, Tolerance, floats, floats_mut, params, size};
use crate::op;
use crate::wide::wide;
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        elements: u32,
        /// One of the `mode` constants, the same numbers as in the shader.
        mode: u32,
        /// Lower bound, slope or gain.
        a: f32,
        /// Upper bound or offset.
        b: f32,
    }
}

/// What `Params::mode` means.
pub mod mode {
    /// Clamp to `a ..= b`.
    pub const CLAMP: u32 = 0;
    /// `x` if positive, else `a * x`.
    pub const LEAKY_RELU: u32 = 1;
    /// `a / (1 + exp(-x))`.
    pub const SIGMOID: u32 = 2;
    pub const TANH: u32 = 3;
    /// `x * clamp(x + 3, 0, 6) / 6`.
    pub const HARD_SWISH: u32 = 4;
    /// `clamp(a * x + b, 0, 1)`.
    pub const HARD_SIGMOID: u32 = 5;
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

/// Arguments beyond which `exp` would overflow and `tanh` is 1; shaders may not assume infinities.
const EXP_MAX: f32 = 80.0;
const TANH_MAX: f32 = 15.0;

impl Params {
    pub fn new(batch: u32, elements: usize, activation: op::Activation) -> Self {
        use op::Activation::*;
        let (mode, a, b) = match activation {
            // A finite bound: a shader may be compiled as if infinities did not exist.
            Relu => (mode::CLAMP, 0.0, f32::MAX),
            Relu6 => (mode::CLAMP, 0.0, 6.0),
            ReluN1To1 => (mode::CLAMP, -1.0, 1.0),
            LeakyRelu { slope } => (mode::LEAKY_RELU, slope, 0.0),
            Sigmoid { gain } => (mode::SIGMOID, gain, 0.0),
            Tanh => (mode::TANH, 0.0, 0.0),
            HardSwish => (mode::HARD_SWISH, 0.0, 0.0),
            HardSigmoid { slope, offset } => (mode::HARD_SIGMOID, slope, offset),
        };
        Self { batch, elements: size(elements), mode, a, b }
    }

    fn total(&self) -> usize {
        self.batch as usize * self.elements as usize
    }
}

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Activation, params: params.words(), inputs: vec![map], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    match p.mode {
        mode::CLAMP => Tolerance::CHOSEN,
        mode::LEAKY_RELU => Tolerance::ROUNDED_ONCE,
        _ => Tolerance::EXPRESSION,
    }
}

pub fn invocations(p: &Params) -> usize {
    p.total()
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [p.total()]
}

pub fn output_words(p: &Params) -> usize {
    p.total()
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (a, b) = (p.a, p.b);
    let (map, out) = (floats(inputs[0]), floats_mut(out));
    match p.mode {
        mode::CLAMP => each(map, out, |x| x.max(a).min(b)),
        mode::LEAKY_RELU => each(map, out, |x| if x > 0.0 { x } else { a * x }),
        mode::SIGMOID => each(map, out, |x| a / (1.0 + (-x).min(EXP_MAX).exp())),
        mode::TANH => each(map, out, |x| x.clamp(-TANH_MAX, TANH_MAX).tanh()),
        mode::HARD_SWISH => each(map, out, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        mode::HARD_SIGMOID => each(map, out, |x| (a * x + b).clamp(0.0, 1.0)),
        other => unreachable!("activation mode {other}"),
    }
}

fn each(map: &[f32], out: &mut [f32], function: impl Fn(f32) -> f32 + Sync) {
    out.par_chunks_mut(TASK_ELEMENTS).zip(map.par_chunks(TASK_ELEMENTS)).for_each(|(out, map)| {
        apply(map, out, &function);
    });
}

wide! {
    fn apply(map: &[f32], out: &mut [f32], function: impl Fn(f32) -> f32) {
        out.iter_mut().zip(map).for_each(|(y, &x)| *y = function(x));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(activation: op::Activation, x: f32) -> f32 {
        let mut out = [0];
        twin(&Params::new(1, 1, activation), &[&[x.to_bits()]], &mut out);
        f32::from_bits(out[0])
    }

    #[test]
    fn known_values() {
        use op::Activation::*;
        assert_eq!([-2.0, 3.0].map(|x| apply(Relu, x)), [0.0, 3.0]);
        assert_eq!([-2.0, 3.0, 7.0].map(|x| apply(Relu6, x)), [0.0, 3.0, 6.0]);
        assert_eq!([-2.0, 0.5, 7.0].map(|x| apply(ReluN1To1, x)), [-1.0, 0.5, 1.0]);
        assert_eq!([-2.0, 3.0].map(|x| apply(LeakyRelu { slope: 0.25 }, x)), [-0.5, 3.0]);
        assert_eq!([0.0, 1e9, -1e9].map(|x| apply(Sigmoid { gain: 2.0 }, x) > 1e-30), [true, true, false]);
        assert_eq!(apply(Sigmoid { gain: 2.0 }, 0.0), 1.0);
        assert_eq!([0.0, 1e9, -1e9].map(|x| apply(Tanh, x)), [0.0, 1.0, -1.0]);
        assert_eq!([-4.0, 0.0, 3.0, 5.0].map(|x| apply(HardSwish, x)), [0.0, 0.0, 3.0, 5.0]);
        let gate = op::Activation::HARD_SIGMOID;
        assert_eq!([-4.0, -3.0, 0.0, 3.0, 5.0].map(|x| apply(gate, x)), [0.0, 0.0, 0.5, 1.0, 1.0]);
    }
}
