//! A moment of Adam, in place: `m = beta * m + (1 - beta) * (g + decay * w)^power`, for powers 1 and 2.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, TASK_ELEMENTS, Tolerance, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        elements: u32,
        beta: f32,
        /// 1 - beta, rounded once.
        rest: f32,
        /// Weight decay that enters the gradient; 0 for AdamW.
        decay: f32,
        /// 1 for the mean, 2 for the uncentred variance.
        power: u32,
    }
}

/// Gradient, parameter; updates the moment.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

impl Params {
    pub fn mean(elements: usize, beta: f64, decay: f32) -> Self {
        Self { batch: 1, elements: size(elements), beta: beta as f32, rest: (1.0 - beta) as f32, decay, power: 1 }
    }

    pub fn variance(elements: usize, beta: f64, decay: f32) -> Self {
        Self { power: 2, ..Self::mean(elements, beta, decay) }
    }
}

pub fn call(params: Params, gradient: BufferId, parameter: BufferId, moment: BufferId) -> KernelCall {
    let inputs = vec![gradient, parameter];
    KernelCall { kernel: Kernel::AdamMoment, params: params.words(), inputs, output: moment }
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
        for ((m, g), w) in out.iter_mut().zip(gradient).zip(parameter) {
            let g = g + p.decay * w;
            let term = if p.power == 2 { g * g } else { g };
            *m = p.beta * *m + p.rest * term;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_powers() {
        let moment = |p: Params| {
            let mut out = [8f32.to_bits()];
            twin(&p, &[&[1f32.to_bits()], &[4f32.to_bits()]], &mut out);
            f32::from_bits(out[0])
        };
        assert_eq!(moment(Params::mean(1, 0.75, 0.5)), 6.75);
        assert_eq!(moment(Params::variance(1, 0.75, 0.5)), 8.25);
    }
}
