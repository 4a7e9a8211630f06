//! Softmax over channels: `exp(beta * (x - max))` normalised.
//!
//! The maximum is taken out first, so nothing overflows; the sum runs in channel order.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use crate::op;
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        pixels: u32,
        channels: u32,
        beta: f32,
    }
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

/// Pixels that one task normalises.
const TASK_PIXELS: usize = 16;

impl Params {
    pub fn new(batch: u32, pixels: usize, channels: usize, softmax: &op::Softmax) -> Self {
        Self { batch, pixels: size(pixels), channels: size(channels), beta: softmax.beta }
    }
}

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Softmax, params: params.words(), inputs: vec![map], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::EXPRESSION
}

pub fn invocations(p: &Params) -> usize {
    p.batch as usize * p.pixels as usize
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [output_words(p)]
}

pub fn output_words(p: &Params) -> usize {
    invocations(p) * p.channels as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let c = p.channels as usize;
    let map = floats(inputs[0]).par_chunks(TASK_PIXELS * c);
    floats_mut(out).par_chunks_mut(TASK_PIXELS * c).zip(map).for_each(|(out, map)| {
        for (out, map) in out.chunks_exact_mut(c).zip(map.chunks_exact(c)) {
            let max = map.iter().fold(map[0], |m, &x| if x > m { x } else { m });
            out.iter_mut().zip(map).for_each(|(y, x)| *y = (p.beta * (x - max)).exp());
            let sum = out.iter().fold(0.0, |s, y| s + y);
            out.iter_mut().for_each(|y| *y /= sum);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_do_not_overflow() {
        let map = [1000.0f32, 1000.0, -1000.0, 0.0, 0.0, 0.0];
        let mut out = [0; 6];
        let p = Params::new(2, 1, 3, &op::Softmax { beta: 1.0 });
        twin(&p, &[bytemuck::cast_slice(&map)], &mut out);
        let third = 1.0 / 3.0;
        assert_eq!(floats(&out), [0.5, 0.5, 0.0, third, third, third]);
    }
}
