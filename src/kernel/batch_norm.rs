//! Batch norm by given statistics, of a batch or running ones: `(x - mean) * scale + beta` with
//! `scale = gamma / sqrt(variance + epsilon)`.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use crate::wide::wide;
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        pixels: u32,
        channels: u32,
        epsilon: f32,
    }
}

/// Map, moments (means, then variances), gamma, beta.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32, Cell::F32, Cell::F32], output: Cell::F32 };

impl Params {
    pub fn new(batch: u32, pixels: usize, channels: usize, epsilon: f32) -> Self {
        Self { batch, pixels: size(pixels), channels: size(channels), epsilon }
    }

    /// Elements of one image.
    pub(super) fn image(&self) -> usize {
        self.pixels as usize * self.channels as usize
    }

    pub(super) fn maps(&self) -> usize {
        self.batch as usize * self.image()
    }
}

pub fn call(p: Params, map: BufferId, moments: BufferId, affine: [BufferId; 2], output: BufferId) -> KernelCall {
    let inputs = vec![map, moments, affine[0], affine[1]];
    KernelCall { kernel: Kernel::BatchNorm, params: p.words(), inputs, output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::EXPRESSION
}

pub fn invocations(p: &Params) -> usize {
    p.maps()
}

pub fn input_words(p: &Params) -> [usize; 4] {
    let c = p.channels as usize;
    [p.maps(), 2 * c, c, c]
}

pub fn output_words(p: &Params) -> usize {
    p.maps()
}

/// `1 / sqrt(variance + epsilon)` of each channel.
pub(super) fn inverse_deviations(moments: &[f32], epsilon: f32) -> Vec<f32> {
    moments[moments.len() / 2..].iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect()
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let [map, moments, gamma, beta] = [0, 1, 2, 3].map(|i| floats(inputs[i]));
    let c = p.channels as usize;
    let inverse = inverse_deviations(moments, p.epsilon);
    let scale: Vec<f32> = gamma.iter().zip(&inverse).map(|(g, i)| g * i).collect();
    let mean = &moments[..c];
    floats_mut(out).par_chunks_mut(p.image()).zip(map.par_chunks(p.image())).for_each(|(out, map)| {
        values(c, map, [mean, &scale, beta], out);
    });
}

wide! {
    fn values(c: usize, map: &[f32], channels: [&[f32]; 3], out: &mut [f32]) {
        let [mean, scale, beta] = channels;
        for (out, map) in out.chunks_exact_mut(c).zip(map.chunks_exact(c)) {
            let affine = mean.iter().zip(scale).zip(beta);
            out.iter_mut().zip(map).zip(affine).for_each(|((y, x), ((m, s), b))| *y = (x - m) * s + b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_centred_scaled_and_shifted() {
        let [map, moments, gamma, beta] = [&[5.0f32, 1.0][..], &[3.0, 4.0], &[2.0], &[10.0]].map(bytemuck::cast_slice);
        let mut out = [9; 2];
        twin(&Params::new(2, 1, 1, 0.0), &[map, moments, gamma, beta], &mut out);
        assert_eq!(floats(&out), [12.0, 8.0]);
    }
}
