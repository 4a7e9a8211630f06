//! The input errors of convolutions and linear layers: scaled per channel, then through the transposed
//! convolution of the frozen codes.
//!
//! The loops of `op::conv2d_grad` read the weights where the trunk has them; nothing is packed for them.

use super::errors::{self, Errors};
use super::format::{Events, Origin, Settled, StepContext};
use super::linear::{Factors, Number, masked};
use super::packed::Packed;
use crate::op::Conv2d;
use crate::op::conv2d_grad::{input_grad_f32, input_grad_int};
use crate::quant::error_code::ZERO_EXPONENT;
use crate::quant::weights::WeightCodes;
use crate::tensor::{Shape, Tensor};
use rayon::prelude::*;

/// A layer on its way backward.
pub(super) struct Transposed<'a> {
    pub conv: &'a Conv2d,
    /// As the convolution sees it: a linear layer's is flattened.
    pub input: Shape,
    pub weights: &'a WeightCodes,
    /// Per output channel: real error of an input of weight code 1.
    pub factors: Factors,
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
            Errors::Values(values) => (Errors::Values(self.reals(values, mask, to)), Events::default()),
            Errors::Codes { mantissas, exponents } => {
                let mut codes = Tensor::zeros(mantissas.batch, to);
                let settled = self.codes(mantissas, exponents, mask, &mut codes, context, origin);
                Errors::settled(codes, &settled, context, origin)
            }
        }
    }

    fn reals(&self, error: &Tensor<f32>, mask: Option<&Packed>, to: Shape) -> Tensor<f32> {
        let weights: Vec<f32> = self.centred().map(f32::from).collect();
        let mut out = Tensor::zeros(error.batch, to);
        let images = out.data.par_chunks_mut(to.elements().max(1)).enumerate();
        images.for_each_init(
            || (Vec::new(), Vec::new()),
            |(passed, scaled), (i, out)| {
                let error = masked(error.image(i), mask, i, passed);
                self.scaled(error, scaled, |e, c| e.times(&self.factors, c));
                input_grad_f32(self.conv, self.input, &weights, scaled, out);
            },
        );
        out
    }

    fn codes(
        &self,
        error: &Tensor<i16>,
        exponents: &[i32],
        mask: Option<&Packed>,
        out: &mut Tensor<i16>,
        context: &StepContext<'_>,
        origin: Origin,
    ) -> Vec<Settled> {
        let weights: Vec<i16> = self.centred().collect();
        let images = out.data.par_chunks_mut(out.shape.elements().max(1)).enumerate();
        let settled = images.map_init(
            || (Vec::new(), Vec::new(), Vec::new()),
            |(passed, scaled, sums), (i, out)| {
                let error = masked(error.image(i), mask, i, passed);
                if error.iter().all(|&e| e == 0) {
                    return Settled { exponent: ZERO_EXPONENT, ..Settled::default() };
                }
                self.scaled(error, scaled, |e, c| self.factors.codes.scale(e, c));
                sums.clear();
                sums.resize(out.len(), 0);
                input_grad_int(self.conv, self.input, &weights, scaled, sums);
                errors::settle(sums, exponents[i] + self.factors.codes.exponent, context, origin, i, out)
            },
        );
        settled.collect()
    }

    /// One image's error times its channels' factors.
    fn scaled<N: Number>(&self, error: &[N], scaled: &mut Vec<N>, times: impl Fn(N, usize) -> N) {
        scaled.clear();
        let channels = self.conv.out_c;
        scaled.extend(error.iter().enumerate().map(|(i, &e)| times(e, i % channels)));
    }

    /// The weight codes without their zero points.
    fn centred(&self) -> impl Iterator<Item = i16> + '_ {
        let depth = self.conv.depth().max(1);
        self.weights
            .codes
            .iter()
            .enumerate()
            .map(move |(i, &q)| i16::from(q) - self.weights.zero_point(i / depth) as i16)
    }
}
