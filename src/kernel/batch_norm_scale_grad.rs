//! Gradient of a batch norm's gamma by image: the sum over positions of `g * (x - mean)`, in the tree of
//! `lanes`, divided by the deviation. `sum_rows` adds up the images; beta's is `channel_sum`.

use super::batch_norm::inverse_deviations;
use super::lanes::sum_positions;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, WORKGROUP, floats, floats_mut};
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::batch_norm::Params;

/// Gradient of the output, the forward kernel's input, moments.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32, Cell::F32], output: Cell::F32 };

pub fn call(params: Params, gradient: BufferId, map: BufferId, moments: BufferId, output: BufferId) -> KernelCall {
    let inputs = vec![gradient, map, moments];
    KernelCall { kernel: Kernel::BatchNormScaleGrad, params: params.words(), inputs, output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.pixels as usize)
}

/// A workgroup sums eight channels in eight chains.
pub fn invocations(p: &Params) -> usize {
    p.batch as usize * (p.channels as usize).div_ceil(8) * WORKGROUP
}

pub fn input_words(p: &Params) -> [usize; 3] {
    [p.maps(), p.maps(), 2 * p.channels as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.channels as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let [gradient, map, moments] = [0, 1, 2].map(|i| floats(inputs[i]));
    let c = p.channels as usize;
    let inverse = inverse_deviations(moments, p.epsilon);
    let mean = &moments[..c];
    let pair = gradient.par_chunks(p.image()).zip(map.par_chunks(p.image()));
    floats_mut(out).par_chunks_mut(c).zip(pair).for_each_init(Vec::new, |chains, (out, (gradient, map))| {
        sum_positions(out, p.pixels as usize, chains, |at, sums| {
            let pixel = at * c..(at + 1) * c;
            let terms = gradient[pixel.clone()].iter().zip(&map[pixel]).zip(mean);
            sums.iter_mut().zip(terms).for_each(|(sum, ((g, x), m))| *sum += g * (x - m));
        });
        out.iter_mut().zip(&inverse).for_each(|(sum, i)| *sum *= i);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_gradient() {
        let [gradient, map, moments] = [&[1.0f32, 2.0][..], &[5.0, 1.0], &[3.0, 4.0]].map(bytemuck::cast_slice);
        let mut out = [9];
        twin(&Params::new(1, 2, 1, 0.0), &[gradient, map, moments], &mut out);
        assert_eq!(floats(&out), [-1.0]);
    }
}
