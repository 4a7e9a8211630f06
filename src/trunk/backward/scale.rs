//! Steps whose gradient is a factor per element: per channel, per code, or the other operand of a product.

use super::linear::{Factors, Linear, Number};
use super::packed::Packed;
use crate::op::mul;
use crate::quant::QuantParams;
use crate::tensor::Shape;

/// A factor per channel.
pub(super) struct Channels {
    pub factors: Factors,
}

impl Linear for Channels {
    fn image<N: Number>(&self, _: usize, error: &[N], sums: &mut [N::Sum]) {
        let channels = self.factors.reals.len().max(1);
        for (sums, error) in sums.chunks_mut(channels).zip(error.chunks(channels)) {
            for (c, (sum, &e)) in sums.iter_mut().zip(error).enumerate() {
                *sum += e.times(&self.factors, c);
            }
        }
    }

    fn factors(&self) -> Option<&Factors> {
        Some(&self.factors)
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
