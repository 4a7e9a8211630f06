//! The errors of a batch's map: real values, or mantissas with one exponent per image.

use super::format::{Events, Origin, Settled, StepContext};
use crate::quant::error_code::{self, ErrorBits, GradFormat, LARGEST_EXPONENT, ZERO_EXPONENT};
use crate::tensor::{Shape, Tensor};
use crate::trunk::fast::backward::Accs;
use crate::wide::wide;
use rayon::prelude::*;

/// The gradient of the loss with respect to a map's real values.
#[derive(Clone, Debug, PartialEq)]
pub enum Errors {
    Values(Tensor<f32>),
    /// `mantissa · 2^exponent`.
    Codes {
        mantissas: Tensor<i16>,
        exponents: Vec<i32>,
    },
}

impl Errors {
    pub fn zeros(format: GradFormat, batch: usize, shape: Shape) -> Self {
        match format {
            GradFormat::F32 => Errors::Values(Tensor::zeros(batch, shape)),
            _ => Errors::Codes { mantissas: Tensor::zeros(batch, shape), exponents: vec![ZERO_EXPONENT; batch] },
        }
    }

    /// Real errors in the context's format, as an adapter sends them.
    pub fn encode(values: Tensor<f32>, context: &StepContext<'_>, origin: Origin) -> (Self, Events) {
        let Some(bits) = context.format.format.mantissas() else {
            return (Errors::Values(values), Events::default());
        };
        Self::encode_in(bits, &values.data, (values.batch, values.shape), context, origin)
    }

    /// [`Errors::encode`] of a batch of maps in an integer format.
    pub fn encode_in(
        bits: ErrorBits,
        values: &[f32],
        (batch, shape): (usize, Shape),
        context: &StepContext<'_>,
        origin: Origin,
    ) -> (Self, Events) {
        let (mut mantissas, image) = (Tensor::zeros(batch, shape), shape.elements().max(1));
        let images = mantissas.data.par_chunks_mut(image).zip(values.par_chunks(image)).enumerate();
        let images = images.map(|(i, (mantissas, image))| {
            let largest = error_code::largest(image);
            let filling = error_code::exponent(largest, bits);
            let exponent = context.fixed(origin).unwrap_or(filling).clamp(ZERO_EXPONENT, LARGEST_EXPONENT);
            let saturations = error_code::encode_into(image, exponent, bits, context.rounding(origin, i), mantissas);
            let filling = (largest > 0.0).then_some(filling);
            zeros_have_one_exponent(mantissas, Settled { exponent, saturations, filling })
        });
        let settled: Vec<Settled> = images.collect();
        Self::settled(mantissas, &settled, context, origin)
    }

    /// Mantissas whose images have been brought into their format.
    pub(super) fn settled(
        mantissas: Tensor<i16>,
        images: &[Settled],
        context: &StepContext<'_>,
        origin: Origin,
    ) -> (Self, Events) {
        let mut exponents: Vec<i32> = images.iter().map(|s| s.exponent).collect();
        // An empty map has no images to settle.
        exponents.resize(mantissas.batch, ZERO_EXPONENT);
        (Errors::Codes { mantissas, exponents }, context.events(origin, images.iter().copied()))
    }

    pub fn batch(&self) -> usize {
        match self {
            Errors::Values(values) => values.batch,
            Errors::Codes { mantissas, .. } => mantissas.batch,
        }
    }

    pub fn shape(&self) -> Shape {
        match self {
            Errors::Values(values) => values.shape,
            Errors::Codes { mantissas, .. } => mantissas.shape,
        }
    }

    /// The real values.
    pub fn to_values(&self) -> Tensor<f32> {
        match self {
            Errors::Values(values) => values.clone(),
            Errors::Codes { mantissas, exponents } => {
                let image = mantissas.shape.elements().max(1);
                let mut data = Vec::with_capacity(mantissas.data.len());
                for (codes, &exponent) in mantissas.data.chunks(image).zip(exponents) {
                    decode(codes, f64::from(exponent).exp2() as f32, &mut data);
                }
                Tensor::from_vec(mantissas.batch, mantissas.shape, data)
            }
        }
    }

    /// The sum of two errors of one map (SPEC 3.5). Both must have the context's format.
    pub fn add(&self, other: &Errors, context: &StepContext<'_>, origin: Origin) -> (Self, Events) {
        assert_eq!((self.batch(), self.shape()), (other.batch(), other.shape()), "errors of one map");
        match (self, other) {
            (Errors::Values(a), Errors::Values(b)) => {
                let mut data = a.data.clone();
                add_values(&mut data, &b.data);
                (Errors::Values(Tensor::from_vec(a.batch, a.shape, data)), Events::default())
            }
            (Errors::Codes { mantissas: a, exponents: x }, Errors::Codes { mantissas: b, exponents: y }) => {
                let mut sum = Tensor::zeros(a.batch, a.shape);
                let images = sum.data.par_chunks_mut(a.shape.elements().max(1)).enumerate();
                let images = images.map_init(Vec::new, |sums, (i, sum)| {
                    sums.resize(sum.len(), 0);
                    let exponent = error_code::sums_into((a.image(i), x[i]), (b.image(i), y[i]), sums);
                    settle(Accs::Narrow(sums), exponent, context, origin, i, sum)
                });
                let settled: Vec<Settled> = images.collect();
                Self::settled(sum, &settled, context, origin)
            }
            _ => panic!("errors of two formats have no sum"),
        }
    }

    /// The error on the positions of a `grid` (every so many rows and columns) of a map of shape `to`, with
    /// zeros between: what a reader that does not look there sends.
    pub fn spread(&self, to: Shape, grid: (usize, usize)) -> Self {
        fn spread<T: Copy + Default>(from: &Tensor<T>, to: Shape, grid: (usize, usize)) -> Tensor<T> {
            let (mut map, c) = (Tensor::zeros(from.batch, to), to.c);
            for (i, pixel) in from.data.chunks_exact(c.max(1)).enumerate() {
                let (n, y, x) = (i / from.shape.pixels(), i / from.shape.w % from.shape.h, i % from.shape.w);
                let at = ((n * to.h + y * grid.0) * to.w + x * grid.1) * c;
                map.data[at..at + c].copy_from_slice(pixel);
            }
            map
        }
        match self {
            Errors::Values(values) => Errors::Values(spread(values, to, grid)),
            Errors::Codes { mantissas, exponents } => {
                Errors::Codes { mantissas: spread(mantissas, to, grid), exponents: exponents.clone() }
            }
        }
    }
}

wide! {
    /// Exact in f32: a mantissa has fewer bits, and its smallest exponent is a normal number's.
    fn decode(mantissas: &[i16], scale: f32, values: &mut Vec<f32>) {
        values.extend(mantissas.iter().map(|&m| f32::from(m) * scale));
    }
}

wide! {
    fn add_values(sums: &mut [f32], terms: &[f32]) {
        sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
    }
}

/// Brings image number `image` of accumulators of exponent `exponent` into the context's format.
pub(super) fn settle(
    accs: Accs<'_>,
    exponent: i32,
    context: &StepContext<'_>,
    origin: Origin,
    image: usize,
    mantissas: &mut [i16],
) -> Settled {
    let (bits, rounding, largest) = (bits(context), context.rounding(origin, image), accs.largest());
    let filling = error_code::filling(largest, exponent, bits);
    if filling.is_none() {
        mantissas.fill(0);
        return Settled { exponent: ZERO_EXPONENT, ..Settled::default() };
    }
    let fixed = context.fixed(origin);
    let to = fixed.unwrap_or(exponent + error_code::shift_of(largest, bits) as i32);
    let within = to.clamp(ZERO_EXPONENT, LARGEST_EXPONENT);
    let cut = accs.convert(exponent, within, bits, rounding, mantissas);
    if fixed.is_none() && to == within {
        return Settled { exponent: to, saturations: 0, filling };
    }
    // A dynamic exponent is too small for nothing but what no exponent could hold.
    let saturations = if fixed.is_some() { cut } else { 0 };
    zeros_have_one_exponent(mantissas, Settled { exponent: within, saturations, filling })
}

/// The mantissas of the context's format, which is not `f32`.
pub(super) fn bits(context: &StepContext<'_>) -> ErrorBits {
    context.format.format.mantissas().expect("integer errors are carried in an integer format")
}

/// Zeros must not make another error lose bits when it is added to them.
fn zeros_have_one_exponent(mantissas: &[i16], settled: Settled) -> Settled {
    let is_zero = mantissas.iter().all(|&m| m == 0);
    Settled { exponent: if is_zero { ZERO_EXPONENT } else { settled.exponent }, ..settled }
}
