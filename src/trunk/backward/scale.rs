//! Steps whose gradient is a factor per element: per channel, per code, or the other operand of a product.

use super::errors::{self, Errors};
use super::format::{Events, Origin, Settled, StepContext};
use super::linear::{FACTOR_BITS, Factors, Linear, Number, masked, masked_into};
use super::packed::Packed;
use crate::op::mul;
use crate::quant::QuantParams;
use crate::quant::error_code::ZERO_EXPONENT;
use crate::tensor::{Shape, Tensor};
use crate::trunk::fast::backward::Accs;
use crate::wide::wide;
use rayon::prelude::*;

/// The error times a factor per channel, where `mask` lets it pass.
pub(super) fn channels(
    factors: &Factors,
    error: &Errors,
    mask: Option<&Packed>,
    context: &StepContext<'_>,
    origin: Origin,
) -> (Errors, Events) {
    let (batch, shape) = (error.batch(), error.shape());
    let image = shape.elements().max(1);
    match error {
        Errors::Values(values) => {
            let mut products = Tensor::zeros(batch, shape);
            products.data.par_chunks_mut(image).enumerate().for_each(|(i, products)| {
                masked_into(values.image(i), mask, i, products);
                multiply_values(products, &factors.reals);
            });
            (Errors::Values(products), Events::default())
        }
        Errors::Codes { mantissas, exponents } => {
            let from = factors.codes.exponent - FACTOR_BITS;
            let mut codes = Tensor::zeros(batch, shape);
            let images = codes.data.par_chunks_mut(image).enumerate();
            let settled = images.map_init(Default::default, |(passed, products): &mut (Vec<_>, Vec<_>), (i, codes)| {
                let error = masked(mantissas.image(i), mask, i, passed);
                if error.iter().all(|&e| e == 0) {
                    return Settled { exponent: ZERO_EXPONENT, ..Settled::default() };
                }
                products.resize(error.len(), 0);
                multiply_mantissas(error, &factors.codes.factors, products);
                errors::settle(Accs::Narrow(products), exponents[i] + from, context, origin, i, codes)
            });
            let settled: Vec<Settled> = settled.collect();
            Errors::settled(codes, &settled, context, origin)
        }
    }
}

wide! {
    /// Like a sum of one product: a negative zero becomes a positive one.
    fn multiply_values(values: &mut [f32], factors: &[f32]) {
        for row in values.chunks_mut(factors.len().max(1)) {
            row.iter_mut().zip(factors).for_each(|(value, factor)| *value = 0.0 + *value * factor);
        }
    }
}

wide! {
    /// Below 2^31: factors have 15 bits, and mantissas as many.
    fn multiply_mantissas(error: &[i16], factors: &[i32], products: &mut [i32]) {
        let channels = factors.len().max(1);
        for (products, error) in products.chunks_mut(channels).zip(error.chunks(channels)) {
            let pairs = error.iter().zip(factors);
            products.iter_mut().zip(pairs).for_each(|(product, (&e, factor))| *product = i32::from(e) * factor);
        }
    }
}

/// What a function of one code was given.
pub(super) enum Given<'a> {
    /// The class of its slope.
    Classes(&'a Packed),
    /// The codes of a batch.
    Codes(&'a [i8]),
}

/// The slope of a function of one code.
pub(super) struct Slope<'a> {
    pub given: Given<'a>,
    pub factors: &'a Factors,
}

impl Linear for Slope<'_> {
    fn image<N: Number>(&self, image: usize, error: &[N], sums: &mut [N::Sum]) {
        let elements = sums.iter_mut().zip(error).enumerate();
        match self.given {
            Given::Classes(classes) => {
                let classes = classes.image(image);
                elements.for_each(|(i, (sum, &e))| *sum += e.times(self.factors, classes.get(i)));
            }
            Given::Codes(codes) => {
                let codes = &codes[image * error.len()..];
                elements.for_each(|(i, (sum, &e))| *sum += e.times(self.factors, index(codes[i])));
            }
        }
    }

    fn factors(&self) -> Option<&Factors> {
        Some(self.factors)
    }
}

fn index(code: i8) -> usize {
    (i32::from(code) + 128) as usize
}

/// The real values of all codes, as factors.
pub(super) fn reals(quant: &QuantParams) -> Factors {
    let real = |q: i32| (f64::from(q - quant.zero_point) * f64::from(quant.scale)) as f32;
    Factors::new((-128..=127).map(real).collect())
}

/// A product's gradient: for the first operand the error times the second, which spreads over it; for the
/// second the error times the first, summed over what it spread over.
pub(super) struct Product<'a> {
    /// The shapes of both operands.
    pub shapes: [Shape; 2],
    /// Which of them gets the gradient.
    pub operand: usize,
    /// The codes of the other, and their real values.
    pub other: &'a [i8],
    pub factors: Factors,
}

impl Linear for Product<'_> {
    fn image<N: Number>(&self, image: usize, error: &[N], sums: &mut [N::Sum]) {
        let [a, b] = self.shapes;
        let (pixel, channel) = mul::steps(a, b);
        let other = &self.other[image * self.shapes[1 - self.operand].elements()..];
        for (i, &e) in error.iter().enumerate() {
            let spread = i / a.c * pixel + i % a.c * channel;
            let (to, from) = if self.operand == 0 { (i, spread) } else { (spread, i) };
            sums[to] += e.times(&self.factors, index(other[from]));
        }
    }

    fn factors(&self) -> Option<&Factors> {
        Some(&self.factors)
    }
}
