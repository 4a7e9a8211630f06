//! The input errors of convolutions and linear layers: scaled per channel, then through the transposed
//! convolution of the frozen codes.
//!
//! A layer that the fast kernels take has its weights packed once, transposed. The loops of
//! `op::conv2d_grad`, which run the others, read the weights where the trunk has them.

use super::errors::{self, Errors};
use super::format::{Events, Origin, Settled, StepContext};
use super::linear::{Factors, Number, masked_into};
use super::packed::Packed;
use crate::op::Conv2d;
use crate::op::conv2d_grad::{input_grad_f32, input_grad_int};
use crate::quant::error_code::GradFormat;
use crate::quant::weights::WeightCodes;
use crate::tensor::{Shape, Tensor};
use crate::trunk::fast::Kernels;
use crate::trunk::fast::backward::{Accs, PackedGrad};
use rayon::prelude::*;

/// A layer on its way backward.
pub(super) struct Transposed<'a> {
    pub conv: &'a Conv2d,
    /// As the convolution sees it: a linear layer's is flattened.
    pub input: Shape,
    pub weights: &'a WeightCodes,
    /// Per output channel: real error of an input of weight code 1.
    pub factors: Factors,
    /// The same layer on the fast kernels.
    pub packed: Option<&'a PackedGrad>,
}

/// A layer's weights on the fast kernels, for errors of one format; none where the plain loops run. They
/// have no factors in them, because a batch norm that is loaded would change these.
pub(super) fn pack(
    conv: &Conv2d,
    input: Shape,
    weights: &WeightCodes,
    format: GradFormat,
    kernels: Kernels,
) -> Option<PackedGrad> {
    let codes: Vec<i16> = centred(conv, weights).collect();
    PackedGrad::new(conv, input, &codes, format, kernels)
}

/// Weight codes without their zero points.
fn centred<'a>(conv: &Conv2d, weights: &'a WeightCodes) -> impl Iterator<Item = i16> + use<'a> {
    let depth = conv.depth().max(1);
    weights.codes.iter().enumerate().map(move |(i, &q)| i16::from(q) - weights.zero_point(i / depth) as i16)
}

impl Transposed<'_> {
    /// The error for the layer's input, a map of shape `to`.
    pub fn run(
        &self,
        error: &Errors,
        mask: Option<&Packed>,
        to: Shape,
        context: &StepContext<'_>,
        origin: Origin,
    ) -> (Errors, Events) {
        match error {
            Errors::Values(values) => {
                let mut out = Tensor::zeros(values.batch, to);
                self.reals(&self.scaled(values, mask), &mut out);
                (Errors::Values(out), Events::default())
            }
            Errors::Codes { mantissas, exponents } => {
                let scaled = self.scaled(mantissas, mask);
                let mut out = Tensor::zeros(mantissas.batch, to);
                let settled = self.codes(&scaled, &mut out, |i, sums, out| {
                    errors::settle(sums, exponents[i] + self.factors.codes.exponent, context, origin, i, out)
                });
                Errors::settled(out, &settled, context, origin)
            }
        }
    }

    /// The error where it passes, times its channels' factors: what SPEC 3.5 takes before the convolution.
    fn scaled<N: Number>(&self, error: &Tensor<N>, mask: Option<&Packed>) -> Tensor<N> {
        let mut scaled = Tensor::from_vec(error.batch, error.shape, vec![N::default(); error.data.len()]);
        let images = scaled.data.par_chunks_mut(error.shape.elements().max(1)).enumerate();
        images.for_each(|(i, scaled)| {
            masked_into(error.image(i), mask, i, scaled);
            N::scale_channels(scaled, &self.factors);
        });
        scaled
    }

    /// Real errors through the transposed convolution.
    fn reals(&self, scaled: &Tensor<f32>, out: &mut Tensor<f32>) {
        if let Some(packed) = self.packed {
            return packed.run_f32(&scaled.data, scaled.batch, &mut out.data);
        }
        let weights: Vec<f32> = centred(self.conv, self.weights).map(f32::from).collect();
        let images = out.data.par_chunks_mut(out.shape.elements().max(1)).enumerate();
        images.for_each(|(i, out)| input_grad_f32(self.conv, self.input, &weights, scaled.image(i), out));
    }

    /// Mantissas through it: `settle` takes the exact sums of every image.
    fn codes(
        &self,
        scaled: &Tensor<i16>,
        out: &mut Tensor<i16>,
        settle: impl Fn(usize, Accs<'_>, &mut [i16]) -> Settled + Sync,
    ) -> Vec<Settled> {
        if let Some(packed) = self.packed {
            return packed.run_int(&scaled.data, scaled.batch, &mut out.data, settle);
        }
        let weights: Vec<i16> = centred(self.conv, self.weights).collect();
        let images = out.data.par_chunks_mut(out.shape.elements().max(1)).enumerate();
        let settled = images.map_init(Vec::new, |sums, (i, out)| {
            sums.clear();
            sums.resize(out.len(), 0);
            input_grad_int(self.conv, self.input, &weights, scaled.image(i), sums);
            settle(i, Accs::Wide(sums), out)
        });
        settled.collect()
    }
}
