//! Softmax over channels. TensorFlow Lite's fixed-point form is integers only (SPEC 5.3).

use super::Counts;
use crate::quant::fixed_point::{exp_on_negative, rdbp, reciprocal, srdhm};
use crate::quant::{Clamp, Formula, Multiplier, QuantParams, RequantStyle, Round, onnxruntime};
use crate::tensor::Tensor;
use rayon::prelude::*;

/// Attributes of a softmax: `exp(beta * x)` normalised over channels.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Softmax {
    pub beta: f32,
}

/// Integer bits of a scaled difference (Q5.26) and of the sum of exponentials (Q12.19).
const DIFFERENCE_BITS: u32 = 5;
const SUM_BITS: u32 = 12;

/// More channels than this could overflow the sum.
const MOST_CHANNELS: usize = (1 << SUM_BITS) - 1;

/// Prepared for the parameters of input and output.
#[derive(Clone, Debug, PartialEq)]
pub enum Int8 {
    Tflite(Fixed),
    Optimised(Lookup),
    Onnxruntime(onnxruntime::Softmax),
}

/// TensorFlow Lite's form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fixed {
    style: RequantStyle,
    pub multiplier: Multiplier,
    /// Differences below this have an exponential of zero.
    smallest: i32,
}

/// The form of TensorFlow Lite's optimised kernels, which run where a delegate does not: a table of
/// f32 exponentials, a product with the reciprocal of their sum, rounded half away.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// For differences -255 to 0 to the largest code.
    exponentials: Vec<f32>,
    output: QuantParams,
}

impl Lookup {
    fn new(softmax: Softmax, x: &QuantParams, y: &QuantParams) -> Self {
        let rate = -x.scale * softmax.beta;
        let exponential = |d: i32| f64::from(rate * d as f32).exp() as f32;
        Self { exponentials: (0..=255).rev().map(exponential).collect(), output: *y }
    }

    /// `exp` of a difference to the largest code.
    #[inline]
    pub(crate) fn exponential(&self, difference: i32) -> f32 {
        self.exponentials[(255 + difference) as usize]
    }

    /// What exponentials with this sum are multiplied by.
    pub(crate) fn inverse(&self, sum: f32) -> f32 {
        1.0 / (sum * self.output.scale)
    }

    #[inline]
    pub(crate) fn value(&self, exponential: f32, inverse: f32) -> i32 {
        ((exponential * inverse).round() as i32).saturating_add(self.output.zero_point)
    }
}

impl Int8 {
    pub fn new(
        softmax: Softmax,
        formula: impl Into<Formula>,
        x: &QuantParams,
        channels: usize,
        y: &QuantParams,
    ) -> Result<Self, String> {
        Ok(match formula.into() {
            Formula::Onnxruntime => Int8::Onnxruntime(onnxruntime::Softmax::new(softmax.beta, x, y)),
            Formula::Xnnpack => Int8::Optimised(Lookup::new(softmax, x, y)),
            other => Int8::Tflite(Fixed::new(softmax, other.style(), x, channels, y)?),
        })
    }

    /// Everything that can change a code.
    pub fn words(&self) -> Vec<i32> {
        match self {
            Int8::Tflite(p) => vec![p.multiplier.mantissa, p.multiplier.shift],
            Int8::Optimised(p) => {
                let exponentials = p.exponentials.iter().map(|e| e.to_bits() as i32);
                exponentials.chain([p.output.scale.to_bits() as i32, p.output.zero_point]).collect()
            }
            Int8::Onnxruntime(p) => p.words(),
        }
    }
}

impl Fixed {
    /// The output must be coded at 1/256 with zero point -128, in the engine's signed view.
    fn new(
        softmax: Softmax,
        style: RequantStyle,
        x: &QuantParams,
        channels: usize,
        y: &QuantParams,
    ) -> Result<Self, String> {
        if (y.scale, y.zero_point) != (1.0 / 256.0, -128) {
            return Err(format!(
                "int8 softmax is coded at 1/256 with zero point -128, not at {} with {}",
                y.scale, y.zero_point
            ));
        }
        if channels > MOST_CHANNELS {
            return Err(format!("int8 softmax sums at most {MOST_CHANNELS} channels, gets {channels}"));
        }
        let fraction = f64::from(1u32 << (31 - DIFFERENCE_BITS));
        let real = (f64::from(softmax.beta) * f64::from(x.scale) * fraction).min(2f64.powi(31) - 1.0);
        if real.is_nan() || real <= 0.0 {
            return Err(format!("beta must be positive, is {}", softmax.beta));
        }
        let multiplier = style.multiplier(real);
        let reach = 31.0 * fraction / 2f64.powi(multiplier.shift);
        Ok(Self { style, multiplier, smallest: -(reach.floor() as i32) })
    }

    /// `exp` of a difference to the largest code, in Q0.31.
    pub(crate) fn exponential(&self, difference: i32) -> i32 {
        match difference >= self.smallest {
            true => exp_on_negative(self.style.apply(difference, self.multiplier), DIFFERENCE_BITS),
            false => 0,
        }
    }

    /// What an exponential adds to the sum of its row.
    #[inline]
    pub(crate) fn part(exponential: i32) -> i32 {
        rdbp(exponential, SUM_BITS)
    }

    /// The value of an exponential in a row with this sum of parts.
    pub(crate) fn values(sum: i32) -> impl Fn(i32) -> i32 {
        let (scale, above_one) = reciprocal(sum, SUM_BITS as i32);
        move |e| Round::HalfAway.shift(i64::from(srdhm(scale, e)), (above_one + 31 - 8) as u32) as i32 - 128
    }
}

/// The int8 softmax of every position.
pub fn int8(x: &Tensor<i8>, p: &Int8) -> (Tensor<i8>, Counts) {
    let mut y = Tensor::zeros(x.batch, x.shape);
    let channels = x.shape.c.max(1);
    let rows = y.data.par_chunks_mut(channels).zip(x.data.par_chunks(channels));
    let counts = match p {
        Int8::Tflite(p) => rows.map(|(y, x)| fixed_row(x, p, y)).sum(),
        Int8::Optimised(p) => rows.map(|(y, x)| lookup_row(x, p, y)).sum(),
        Int8::Onnxruntime(p) => rows.map(|(y, x)| float_row(x, p, y)).sum(),
    };
    (y, counts)
}

fn fixed_row(x: &[i8], p: &Fixed, y: &mut [i8]) -> Counts {
    let mut counts = Counts::default();
    let largest = x.iter().copied().max().map_or(0, i32::from);
    let exponentials = x.iter().map(|&q| p.exponential(i32::from(q) - largest));
    let value = Fixed::values(exponentials.clone().map(Fixed::part).sum());
    for (code, e) in y.iter_mut().zip(exponentials) {
        let (clamped, saturated) = Clamp::INT8.apply(value(e));
        *code = clamped;
        counts.saturations += u64::from(saturated);
    }
    counts
}

fn float_row(x: &[i8], p: &onnxruntime::Softmax, y: &mut [i8]) -> Counts {
    let mut counts = Counts::default();
    let largest = x.iter().copied().max().map_or(0, i32::from);
    let exponential = |q: i8| p.exponential(i32::from(q) - largest);
    let sum: f32 = x.iter().map(|&q| exponential(q)).sum();
    for (code, &q) in y.iter_mut().zip(x) {
        let (clamped, saturated) = Clamp::INT8.apply(p.value(exponential(q), sum));
        *code = clamped;
        counts.saturations += u64::from(saturated);
    }
    counts
}

fn lookup_row(x: &[i8], p: &Lookup, y: &mut [i8]) -> Counts {
    let mut counts = Counts::default();
    let largest = x.iter().copied().max().map_or(0, i32::from);
    let exponential = |q: i8| p.exponential(i32::from(q) - largest);
    let inverse = p.inverse(x.iter().fold(0.0f32, |sum, &q| sum + exponential(q)));
    for (code, &q) in y.iter_mut().zip(x) {
        let (clamped, saturated) = Clamp::INT8.apply(p.value(exponential(q), inverse));
        *code = clamped;
        counts.saturations += u64::from(saturated);
    }
    counts
}
