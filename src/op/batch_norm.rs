//! Inference batch norm: a per-channel scale and shift from running statistics.

use crate::tensor::Shape;

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
                let scale = f64::from(gamma[c]) / (f64::from(variance[c]) + f64::from(self.epsilon)).sqrt();
                (scale as f32, (f64::from(beta[c]) - f64::from(mean[c]) * scale) as f32)
            })
            .unzip()
    }
}
