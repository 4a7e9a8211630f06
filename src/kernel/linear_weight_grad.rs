//! Weight gradient of a fully connected layer, added up over the images in order.
//!
//! An image's part would be an outer product as large as the weights, so none is ever stored: the
//! sums continue from what the output holds, or start from zero. Micro-batches must come in order.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        inputs: u32,
        outputs: u32,
        /// 1 to continue from what the output holds, 0 to start from zero.
        accumulate: u32,
    }
}

/// Maps, gradient of the output.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

impl Params {
    pub fn new(batch: u32, inputs: usize, outputs: usize, accumulate: bool) -> Self {
        Self { batch, inputs: size(inputs), outputs: size(outputs), accumulate: u32::from(accumulate) }
    }
}

pub fn call(params: Params, map: BufferId, gradient: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::LinearWeightGrad, params: params.words(), inputs: vec![map, gradient], output }
}

/// Multiply-accumulates.
pub fn macs(p: &Params) -> u64 {
    u64::from(p.batch) * u64::from(p.inputs) * u64::from(p.outputs)
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.batch as usize + 1)
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [p.inputs, p.outputs].map(|n| p.batch as usize * n as usize)
}

pub fn output_words(p: &Params) -> usize {
    p.inputs as usize * p.outputs as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (map, gradient) = (floats(inputs[0]), floats(inputs[1]));
    let (depth, columns) = (p.inputs as usize, p.outputs as usize);
    floats_mut(out).par_chunks_mut(columns).enumerate().for_each(|(i, out)| {
        if p.accumulate == 0 {
            out.fill(0.0);
        }
        for (map, gradient) in map.chunks_exact(depth).zip(gradient.chunks_exact(columns)) {
            out.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += map[i] * g);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grouping_the_images_leaves_the_bits() {
        let wave = |n: usize, f: f32| (0..n).map(|i| (i as f32 * f).sin().to_bits()).collect::<Vec<_>>();
        let (map, gradient) = (wave(5 * 7, 0.3), wave(5 * 3, 0.9));
        let run = |groups: &[usize]| {
            let (mut out, mut first) = (vec![7; 21], 0);
            for &n in groups {
                let p = Params::new(n as u32, 7, 3, first > 0);
                let inputs = [&map[first * 7..(first + n) * 7], &gradient[first * 3..(first + n) * 3]];
                twin(&p, &inputs, &mut out);
                first += n;
            }
            out
        };
        assert_eq!(run(&[5]), run(&[2, 1, 2]));
    }
}
