//! Gradient of an elementwise function: `g` times the derivative, from what the forward pass kept.
//!
//! Where the derivative is one of two values, `pass_mask` and `mask_grad` do the same from one bit per
//! element.

use super::activation::{self, mode};
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, TASK_ELEMENTS, Tolerance, floats, floats_mut};
use crate::op;
use crate::wide::wide;
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::activation::Params;

/// What was kept, gradient of the output.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

/// What a derivative is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The function's input.
    Input,
    /// The function's output.
    Output,
}

/// What this kernel reads of the forward pass.
pub fn kept(activation: op::Activation) -> Kept {
    match activation::Params::new(1, 1, activation).mode {
        mode::SIGMOID | mode::TANH => Kept::Output,
        _ => Kept::Input,
    }
}

pub fn call(params: Params, kept: BufferId, gradient: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::ActivationGrad, params: params.words(), inputs: vec![kept, gradient], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    match p.mode {
        mode::CLAMP => Tolerance::CHOSEN,
        mode::LEAKY_RELU => Tolerance::ROUNDED_ONCE,
        _ => Tolerance::EXPRESSION,
    }
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [output_words(p); 2]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.elements as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (a, b) = (p.a, p.b);
    let (kept, gradient, out) = (floats(inputs[0]), floats(inputs[1]), floats_mut(out));
    match p.mode {
        mode::CLAMP => each(kept, gradient, out, |x, g| if x > a && x < b { g } else { 0.0 }),
        mode::LEAKY_RELU => each(kept, gradient, out, |x, g| if x > 0.0 { g } else { a * g }),
        mode::SIGMOID => each(kept, gradient, out, |y, g| g * (y * (a - y) / a)),
        mode::TANH => each(kept, gradient, out, |y, g| g * ((1.0 - y) * (1.0 + y))),
        mode::HARD_SWISH => each(kept, gradient, out, |x, g| g * hard_swish(x)),
        mode::HARD_SIGMOID => each(kept, gradient, out, |x, g| {
            let gate = a * x + b;
            if gate > 0.0 && gate < 1.0 { a * g } else { 0.0 }
        }),
        other => unreachable!("activation mode {other}"),
    }
}

fn hard_swish(x: f32) -> f32 {
    if x > -3.0 && x < 3.0 {
        (2.0 * x + 3.0) / 6.0
    } else if x >= 3.0 {
        1.0
    } else {
        0.0
    }
}

fn each(kept: &[f32], gradient: &[f32], out: &mut [f32], function: impl Fn(f32, f32) -> f32 + Sync) {
    let inputs = kept.par_chunks(TASK_ELEMENTS).zip(gradient.par_chunks(TASK_ELEMENTS));
    out.par_chunks_mut(TASK_ELEMENTS).zip(inputs).for_each(|(out, (kept, gradient))| {
        apply(kept, gradient, out, &function);
    });
}

wide! {
    fn apply(kept: &[f32], gradient: &[f32], out: &mut [f32], function: impl Fn(f32, f32) -> f32) {
        out.iter_mut().zip(kept).zip(gradient).for_each(|((y, &x), &g)| *y = function(x, g));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_slopes() {
        use op::Activation::*;
        let slope = |activation, kept: f32| {
            let mut out = [9];
            twin(&Params::new(1, 1, activation), &[&[kept.to_bits()], &[2f32.to_bits()]], &mut out);
            f32::from_bits(out[0])
        };
        assert_eq!([-1.0, 0.0, 1.0].map(|x| slope(Relu, x)), [0.0, 0.0, 2.0]);
        assert_eq!([0.5, 6.0].map(|x| slope(Relu6, x)), [2.0, 0.0]);
        assert_eq!([-1.0, 1.0].map(|x| slope(LeakyRelu { slope: 0.25 }, x)), [0.5, 2.0]);
        assert_eq!(slope(Sigmoid { gain: 2.0 }, 1.0), 1.0);
        assert_eq!([0.0, 1.0].map(|y| slope(Tanh, y)), [2.0, 0.0]);
        assert_eq!([-3.0, 0.0, 3.0].map(|x| slope(HardSwish, x)), [0.0, 1.0, 2.0]);
        let gate = op::Activation::HARD_SIGMOID;
        assert_eq!([-4.0, 0.0, 4.0].map(|x| slope(gate, x)), [0.0, 2.0 / 6.0, 0.0]);
        assert_eq!([kept(Tanh), kept(HardSwish)], [Kept::Output, Kept::Input]);
    }
}
