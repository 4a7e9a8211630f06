//! The errors of a batch's map: real values, or mantissas with one exponent per image.

use super::format::{Events, Origin, Settled, StepContext};
use crate::quant::error_code::{self, ErrorBits, GradFormat, LARGEST_EXPONENT, ZERO_EXPONENT};
use crate::tensor::{Shape, Tensor};
use crate::trunk::fast::backward::Accs;
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
        let (batch, shape) = (values.batch, values.shape);
        let mut mantissas = Tensor::zeros(batch, shape);
        let images = mantissas.data.par_chunks_mut(shape.elements().max(1)).enumerate().map(|(i, mantissas)| {
            let image = values.image(i);
            let largest = image.iter().fold(0f32, |most, v| most.max(v.abs()));
            let filling = error_code::exponent(largest, bits);
            let exponent = context.fixed(origin).unwrap_or(filling).clamp(ZERO_EXPONENT, LARGEST_EXPONENT);
            let codes = error_code::encode(image, exponent, bits, context.rounding(origin, i));
            mantissas.copy_from_slice(&codes.mantissas);
            let filling = (largest > 0.0).then_some(filling);
            zeros_have_one_exponent(mantissas, Settled { exponent, saturations: codes.saturations, filling })
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
                let codes = mantissas.data.chunks(image).zip(exponents);
                let data = codes.flat_map(|(codes, &exponent)| {
                    let scale = f64::from(exponent).exp2();
                    codes.iter().map(move |&m| (f64::from(m) * scale) as f32)
                });
                Tensor::from_vec(mantissas.batch, mantissas.shape, data.collect())
            }
        }
    }

    /// The sum of two errors of one map (SPEC 3.5). Both must have the context's format.
    pub fn add(&self, other: &Errors, context: &StepContext<'_>, origin: Origin) -> (Self, Events) {
        assert_eq!((self.batch(), self.shape()), (other.batch(), other.shape()), "errors of one map");
        match (self, other) {
            (Errors::Values(a), Errors::Values(b)) => {
                let data = a.data.iter().zip(&b.data).map(|(a, b)| a + b).collect();
                (Errors::Values(Tensor::from_vec(a.batch, a.shape, data)), Events::default())
            }
            (Errors::Codes { mantissas: a, exponents: x }, Errors::Codes { mantissas: b, exponents: y }) => {
                let mut sum = Tensor::zeros(a.batch, a.shape);
                let images = sum.data.par_chunks_mut(a.shape.elements().max(1)).enumerate().map(|(i, sum)| {
                    let (accs, exponent) = error_code::sums((a.image(i), x[i]), (b.image(i), y[i]));
                    settle(Accs::Wide(&accs), exponent, context, origin, i, sum)
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
