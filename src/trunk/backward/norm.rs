//! The gradients of a batch norm that lives in registers: two sums per channel over a map's positions.

use super::errors::Errors;
use super::linear::{Number, masked};
use super::packed::Packed;
use crate::graph::NodeId;
use crate::quant::QuantParams;
use crate::tensor::{Shape, Tensor};
use rayon::prelude::*;

/// `∂β = Σ g` and `∂γ = Σ g·x̂` of every image, one value per channel; the batch's are their sums in the
/// order of the images.
#[derive(Clone, Debug, PartialEq)]
pub struct NormGrads {
    pub node: NodeId,
    pub gamma: Tensor<f32>,
    pub beta: Tensor<f32>,
}

/// A batch norm and the codes of what it made.
pub(super) struct Normed<'a> {
    pub node: NodeId,
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
    /// Channels whose registers hold a constant have no normalised input that anyone could see.
    pub constant: Vec<bool>,
    /// None where only the shifts train: their gradients are sums of errors.
    pub codes: Option<&'a [i8]>,
    pub quant: QuantParams,
}

impl Normed<'_> {
    /// `x̂ = (y - β) / γ`, from codes that no clamp has cut: where one has, no error passes.
    pub fn gradients(&self, error: &Errors, mask: &Packed) -> NormGrads {
        let (batch, channels) = (error.batch(), self.gamma.len());
        let mut gamma = Tensor::zeros(batch, Shape::vector(channels));
        let mut beta = gamma.clone();
        let images = gamma.data.par_chunks_mut(channels).zip(beta.data.par_chunks_mut(channels)).enumerate();
        images.for_each(|(i, (gamma, beta))| {
            let sums = match error {
                Errors::Values(values) => self.sums(values.image(i), mask, i),
                Errors::Codes { mantissas, exponents } => {
                    let unit = f64::from(exponents[i]).exp2();
                    let sums = self.sums(mantissas.image(i), mask, i);
                    sums.into_iter().map(|[plain, by_code]| [plain * unit, by_code * unit]).collect()
                }
            };
            for (c, [plain, by_code]) in sums.into_iter().enumerate() {
                beta[c] = plain as f32;
                gamma[c] = self.gamma_gradient(c, plain, by_code) as f32;
            }
        });
        NormGrads { node: self.node, gamma, beta }
    }

    fn gamma_gradient(&self, c: usize, plain: f64, by_code: f64) -> f64 {
        if self.codes.is_none() || self.constant[c] || self.gamma[c] == 0.0 {
            return 0.0;
        }
        (f64::from(self.quant.scale) * by_code - f64::from(self.beta[c]) * plain) / f64::from(self.gamma[c])
    }

    /// `Σ g` and `Σ g·(q - z)` of every channel of an image, position after position; exact for mantissas.
    fn sums<N: Number + Into<f64>>(&self, error: &[N], mask: &Packed, image: usize) -> Vec<[f64; 2]> {
        let channels = self.gamma.len();
        let mut buffer = Vec::new();
        let passed = masked(error, Some(mask), image, &mut buffer);
        let mut sums = vec![[0.0; 2]; channels];
        let Some(codes) = self.codes else {
            for error in passed.chunks_exact(channels) {
                sums.iter_mut().zip(error).for_each(|(sums, &e)| sums[0] += e.into());
            }
            return sums;
        };
        let codes = &codes[image * error.len()..][..error.len()];
        for (error, codes) in passed.chunks_exact(channels).zip(codes.chunks_exact(channels)) {
            for ((sums, &e), &q) in sums.iter_mut().zip(error).zip(codes) {
                let e: f64 = e.into();
                sums[0] += e;
                sums[1] += e * f64::from(i32::from(q) - self.quant.zero_point);
            }
        }
        sums
    }
}
