//! Inference batch norm: a per-channel scale and shift from running statistics.

use super::{Counts, Output, Registers};
use crate::tensor::{Shape, Tensor};
use rayon::prelude::*;

/// Attributes of a batch norm over `channels`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    pub channels: usize,
    pub epsilon: f32,
}

impl BatchNorm {
    pub fn output_shape(&self, input: Shape) -> Result<Shape, String> {
        if input.c != self.channels {
            return Err(format!("normalises {} channels, gets {}", self.channels, input.c));
        }
        Ok(input)
    }

    /// The affine form `scale * x + shift` of (gamma, beta, mean, variance).
    pub fn affine(&self, gamma: &[f32], beta: &[f32], mean: &[f32], variance: &[f32]) -> (Vec<f32>, Vec<f32>) {
        (0..self.channels)
            .map(|c| {
                let (scale, shift) = self.affine_of(gamma[c], beta[c], mean[c], variance[c]);
                (scale as f32, shift as f32)
            })
            .unzip()
    }

    /// The affine form of one channel, unrounded: registers are computed from this.
    pub fn affine_of(&self, gamma: f32, beta: f32, mean: f32, variance: f32) -> (f64, f64) {
        let scale = f64::from(gamma) / (f64::from(variance) + f64::from(self.epsilon)).sqrt();
        (scale, f64::from(beta) - f64::from(mean) * scale)
    }
}

/// How far a code is shifted left before the bias is added: the bias of a batch norm without a
/// convolution in front then has steps of 1/4096 code, not of a whole code.
pub const HEADROOM_BITS: u32 = 12;

/// A batch norm of its own: `acc = (q - z)·f + b`, requantised per channel. The factor is 2^12, or a
/// weight per channel where the registers cannot hold the gains.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8 {
    pub input_zero_point: i32,
    pub factors: Vec<i32>,
    pub registers: Registers,
    pub output: Output,
}

pub fn int8(x: &Tensor<i8>, p: &Int8) -> (Tensor<i8>, Counts) {
    let mut y = Tensor::zeros(x.batch, x.shape);
    let channels = p.registers.channels();
    let counts = y
        .data
        .par_chunks_mut(channels.max(1))
        .zip(x.data.par_chunks(channels.max(1)))
        .map(|(codes, x)| {
            let mut counts = Counts::default();
            for (c, (code, &q)) in codes.iter_mut().zip(x).enumerate() {
                let acc = i64::from(i32::from(q) - p.input_zero_point) * i64::from(p.factors[c]);
                *code = p.registers.code(c, acc, &p.output, &mut counts);
            }
            counts
        })
        .sum();
    (y, counts)
}
