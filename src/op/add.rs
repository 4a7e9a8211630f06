//! Elementwise sum of two maps.

use super::{Counts, Output};
use crate::quant::sum::{Scaled, Sum};
use crate::quant::{Clamp, Formula, Multiplier, QuantParams, RequantStyle, onnxruntime};
use crate::tensor::{Shape, Tensor};
use rayon::prelude::*;

pub fn output_shape(inputs: &[Shape]) -> Result<Shape, String> {
    match inputs {
        [a, b] if a == b => Ok(*a),
        [a, b] => Err(format!("adds maps of one shape, gets {a} and {b}")),
        _ => Err(format!("takes two inputs, has {}", inputs.len())),
    }
}

/// How far codes are shifted left before they are brought to a common scale.
const LEFT_SHIFT: u32 = 20;

/// Prepared for two operands' and one output's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8 {
    pub form: Form,
    pub output: Output,
}

/// Whose sum.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    Tflite(Fixed),
    /// Another runtime's or a chip's, straight from the two codes.
    Direct(Sum),
}

/// TensorFlow Lite's sum: both operands requantised to a common scale, then to the output's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fixed {
    style: RequantStyle,
    pub zero_points: [i32; 2],
    /// To the common scale `2·max(s_a, s_b) / 2^20`.
    pub inputs: [Multiplier; 2],
    /// From there to the output's.
    pub sum: Multiplier,
}

impl Fixed {
    fn new(style: RequantStyle, a: &QuantParams, b: &QuantParams, y: &QuantParams) -> Self {
        let common = 2.0 * f64::from(a.scale.max(b.scale));
        let input = |q: &QuantParams| style.multiplier(f64::from(q.scale) / common);
        Self {
            style,
            zero_points: [a.zero_point, b.zero_point],
            inputs: [input(a), input(b)],
            sum: style.multiplier(common / (f64::from(1 << LEFT_SHIFT) * f64::from(y.scale))),
        }
    }

    /// One operand's code on the common scale.
    #[inline]
    pub(crate) fn scaled(&self, operand: usize, q: i8) -> i64 {
        let centred = (i32::from(q) - self.zero_points[operand]) << LEFT_SHIFT;
        i64::from(self.style.apply(centred, self.inputs[operand]))
    }
}

impl Int8 {
    pub fn new(formula: impl Into<Formula>, a: &QuantParams, b: &QuantParams, y: &QuantParams, clamp: Clamp) -> Self {
        let formula = formula.into();
        let form = match formula {
            Formula::Tflite(_) | Formula::Micro => Form::Tflite(Fixed::new(formula.style(), a, b, y)),
            Formula::Onnxruntime => Form::Direct(Sum::Onnxruntime(onnxruntime::Add::new(a, b, y))),
            Formula::Xnnpack => match Scaled::xnnpack(a, b, y) {
                Some(sum) => Form::Direct(Sum::Scaled(sum)),
                None => Form::Tflite(Fixed::new(RequantStyle::GemmlowpDouble, a, b, y)),
            },
            Formula::PowerOfTwo => Form::Direct(Sum::shifted(a, b, y)),
            Formula::Gemmini => Form::Direct(Sum::loaded(a, b, y)),
            Formula::Pulp => Form::Direct(Sum::cut(a, b, y)),
        };
        let style = match &form {
            Form::Tflite(fixed) => fixed.style,
            Form::Direct(_) => formula.style(),
        };
        Self { form, output: Output { style, zero_point: y.zero_point, clamp } }
    }

    /// The sum of two codes before the clamp.
    pub fn value(&self, a: i8, b: i8) -> i32 {
        match &self.form {
            Form::Tflite(form) => self.output.value(form.scaled(0, a) + form.scaled(1, b), form.sum),
            Form::Direct(sum) => sum.value(a, b),
        }
    }

    /// Everything that can change a code but the output's rule.
    pub fn words(&self) -> Vec<i32> {
        match &self.form {
            Form::Tflite(p) => {
                let multipliers = p.inputs.iter().chain([&p.sum]).flat_map(|m| [m.mantissa, m.shift]);
                p.zero_points.into_iter().chain(multipliers).collect()
            }
            Form::Direct(sum) => sum.words(),
        }
    }
}

/// The int8 sum.
pub fn int8(a: &Tensor<i8>, b: &Tensor<i8>, p: &Int8) -> (Tensor<i8>, Counts) {
    let output = &p.output;
    match &p.form {
        Form::Tflite(form) => {
            elementwise(a, b, |a, b, counts| output.code(form.scaled(0, a) + form.scaled(1, b), form.sum, counts))
        }
        Form::Direct(sum) => elementwise(a, b, |a, b, counts| output.clamped(sum.value(a, b), counts)),
    }
}

fn elementwise(a: &Tensor<i8>, b: &Tensor<i8>, f: impl Fn(i8, i8, &mut Counts) -> i8 + Sync) -> (Tensor<i8>, Counts) {
    assert_eq!((a.batch, a.shape), (b.batch, b.shape), "the graph has checked that both maps have one shape");
    let mut y = Tensor::zeros(a.batch, a.shape);
    const CHUNK: usize = 4096;
    let operands = a.data.par_chunks(CHUNK).zip(b.data.par_chunks(CHUNK));
    let counts = y
        .data
        .par_chunks_mut(CHUNK)
        .zip(operands)
        .map(|(codes, (a, b))| {
            let mut counts = Counts::default();
            for (code, (&a, &b)) in codes.iter_mut().zip(a.iter().zip(b)) {
                *code = f(a, b, &mut counts);
            }
            counts
        })
        .sum();
    (y, counts)
}
