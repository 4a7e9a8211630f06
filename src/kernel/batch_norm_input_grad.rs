//! Input gradient of a batch norm by the statistics of its batch, which depend on the input too:
//! `scale * (g - d_beta / n - x̂ * d_gamma / n)` with `x̂ = (x - mean) / deviation` and n values per channel.
//!
//! By running statistics the two mean terms are absent: that is `mul` by the scale.

use super::batch_norm::inverse_deviations;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        pixels: u32,
        channels: u32,
        epsilon: f32,
        /// Values per channel in the whole batch.
        values: u32,
    }
}

/// Gradient of the output, the forward kernel's input, moments, gamma, and the gradients of gamma and
/// beta over the whole batch.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32; 6], output: Cell::F32 };

/// The buffers of [`BINDINGS`] by name.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    pub gradient: BufferId,
    pub map: BufferId,
    pub moments: BufferId,
    pub gamma: BufferId,
    pub gamma_gradient: BufferId,
    pub beta_gradient: BufferId,
}

impl Params {
    /// For a micro-batch of `batch` images of a batch of `images`.
    pub fn new(batch: u32, pixels: usize, channels: usize, epsilon: f32, images: usize) -> Self {
        Self { batch, pixels: size(pixels), channels: size(channels), epsilon, values: size(images * pixels) }
    }

    fn image(&self) -> usize {
        self.pixels as usize * self.channels as usize
    }
}

pub fn call(params: Params, i: Inputs, output: BufferId) -> KernelCall {
    let inputs = vec![i.gradient, i.map, i.moments, i.gamma, i.gamma_gradient, i.beta_gradient];
    KernelCall { kernel: Kernel::BatchNormInputGrad, params: params.words(), inputs, output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::EXPRESSION
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 6] {
    let (maps, c) = (output_words(p), p.channels as usize);
    [maps, maps, 2 * c, c, c, c]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.image()
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let [gradient, map, moments, gamma, d_gamma, d_beta] = [0, 1, 2, 3, 4, 5].map(|i| floats(inputs[i]));
    let c = p.channels as usize;
    let n = p.values as f32;
    let inverse = inverse_deviations(moments, p.epsilon);
    let mean = &moments[..c];
    let scale: Vec<f32> = (0..c).map(|i| gamma[i] * inverse[i]).collect();
    let slope: Vec<f32> = (0..c).map(|i| inverse[i] * (d_gamma[i] / n)).collect();
    let shift: Vec<f32> = d_beta.iter().map(|d| d / n).collect();
    let pair = gradient.par_chunks(p.image()).zip(map.par_chunks(p.image()));
    floats_mut(out).par_chunks_mut(p.image()).zip(pair).for_each(|(out, (gradient, map))| {
        let pixels = gradient.chunks_exact(c).zip(map.chunks_exact(c));
        for (out, (gradient, map)) in out.chunks_exact_mut(c).zip(pixels) {
            let values = gradient.iter().zip(map).zip(mean.iter().zip(&scale).zip(slope.iter().zip(&shift)));
            out.iter_mut().zip(values).for_each(|(y, ((g, x), ((mean, scale), (slope, shift))))| {
                *y = scale * (g - shift - (x - mean) * slope);
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_gradient_moves_nothing() {
        let (map, moments) = ([1.0f32, 3.0, 5.0, 7.0], [4.0f32, 5.0]);
        let gradient = [2.0f32; 4];
        let inputs = [&gradient[..], &map, &moments, &[3.0], &[0.0], &[8.0]].map(bytemuck::cast_slice);
        let mut out = [9; 4];
        twin(&Params::new(2, 2, 1, 0.0, 2), &inputs, &mut out);
        assert_eq!(floats(&out), [0.0; 4]);
    }
}
