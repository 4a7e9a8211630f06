//! Elementwise product; the second operand may be a mask (h×w×1) or a channel vector (1×1×c).

use super::{Counts, Output};
use crate::quant::{Clamp, Formula, Multiplier, QuantParams, onnxruntime};
use crate::tensor::{Shape, Tensor};
use rayon::prelude::*;

pub fn output_shape(inputs: &[Shape]) -> Result<Shape, String> {
    match inputs {
        [a, b] if broadcasts(*a, *b) => Ok(*a),
        [a, b] => Err(format!(
            "multiplies {a} by a map of its shape, a mask {0}x{1}x1 or a vector 1x1x{2}; gets {b}",
            a.h, a.w, a.c
        )),
        _ => Err(format!("takes two inputs, has {}", inputs.len())),
    }
}

/// Whether `b` spreads over `a`.
pub fn broadcasts(a: Shape, b: Shape) -> bool {
    let same_map = (b.h, b.w) == (a.h, a.w);
    let one_pixel = (b.h, b.w) == (1, 1);
    (same_map || one_pixel) && (b.c == a.c || b.c == 1)
}

/// How far the index into `b` moves per pixel and per channel of `a`.
pub fn steps(a: Shape, b: Shape) -> (usize, usize) {
    let channel = usize::from(b.c == a.c);
    let pixel = if (b.h, b.w) == (a.h, a.w) { b.c } else { 0 };
    (pixel, channel)
}

/// Prepared for two operands' and one output's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8 {
    pub form: Form,
    pub output: Output,
}

/// Whose product.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// `(q_a - z_a)(q_b - z_b)`, requantised.
    Tflite {
        zero_points: [i32; 2],
        multiplier: Multiplier,
    },
    Onnxruntime(onnxruntime::Mul),
}

impl Int8 {
    pub fn new(formula: impl Into<Formula>, a: &QuantParams, b: &QuantParams, y: &QuantParams, clamp: Clamp) -> Self {
        let formula = formula.into();
        let form = match formula {
            Formula::Onnxruntime => Form::Onnxruntime(onnxruntime::Mul::new(a, b, y)),
            _ => Form::Tflite {
                zero_points: [a.zero_point, b.zero_point],
                multiplier: formula.style().product_multiplier(a.scale, b.scale, 1.0, y.scale),
            },
        };
        Self { form, output: Output { style: formula.style(), zero_point: y.zero_point, clamp } }
    }

    /// The product of two codes before the clamp.
    pub fn value(&self, a: i8, b: i8) -> i32 {
        match &self.form {
            Form::Tflite { zero_points: [z_a, z_b], multiplier } => {
                let product = (i64::from(a) - i64::from(*z_a)) * (i64::from(b) - i64::from(*z_b));
                self.output.value(product, *multiplier)
            }
            Form::Onnxruntime(form) => form.value(a, b),
        }
    }

    /// Everything that can change a code but the output's rule.
    pub fn words(&self) -> Vec<i32> {
        match &self.form {
            Form::Tflite { zero_points: [a, b], multiplier: m } => vec![*a, *b, m.mantissa, m.shift],
            Form::Onnxruntime(p) => p.words(),
        }
    }
}

/// The int8 product; `b` spreads over `a` as [`steps`] says.
pub fn int8(a: &Tensor<i8>, b: &Tensor<i8>, p: &Int8) -> (Tensor<i8>, Counts) {
    let output = &p.output;
    match &p.form {
        Form::Tflite { zero_points: [z_a, z_b], multiplier } => elementwise(a, b, |a, b, counts| {
            let product = (i64::from(a) - i64::from(*z_a)) * (i64::from(b) - i64::from(*z_b));
            output.code(product, *multiplier, counts)
        }),
        Form::Onnxruntime(form) => elementwise(a, b, |a, b, counts| output.clamped(form.value(a, b), counts)),
    }
}

fn elementwise(a: &Tensor<i8>, b: &Tensor<i8>, f: impl Fn(i8, i8, &mut Counts) -> i8 + Sync) -> (Tensor<i8>, Counts) {
    assert_eq!(a.batch, b.batch, "both operands hold the same images");
    let mut y = Tensor::zeros(a.batch, a.shape);
    if y.data.is_empty() {
        return (y, Counts::default());
    }
    let (pixel, channel) = steps(a.shape, b.shape);
    let counts = y
        .data
        .par_chunks_mut(a.shape.c)
        .zip(a.data.par_chunks(a.shape.c))
        .enumerate()
        .map(|(i, (codes, row))| {
            let mut counts = Counts::default();
            let b = &b.image(i / a.shape.pixels())[i % a.shape.pixels() * pixel..];
            for (c, (code, &q)) in codes.iter_mut().zip(row).enumerate() {
                *code = f(q, b[c * channel], &mut counts);
            }
            counts
        })
        .sum();
    (y, counts)
}
