//! Mean over all positions of a map.

use super::{Counts, Output};
use crate::quant::{Clamp, Formula, Multiplier, QuantParams, RequantStyle, Round, power_of_two};
use crate::tensor::{Shape, Tensor};
use rayon::prelude::*;

pub fn output_shape(input: Shape) -> Shape {
    Shape::vector(input.c)
}

/// Prepared for the parameters of input and output and a number of positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8 {
    /// The input's zero point times the number of positions.
    pub zero_sum: i64,
    pub multiplier: Multiplier,
    pub output: Output,
}

impl Int8 {
    pub fn new(formula: impl Into<Formula>, x: &QuantParams, positions: usize, y: &QuantParams, clamp: Clamp) -> Self {
        let (style, multiplier) = rule(formula.into(), x.scale, positions, y.scale);
        Self {
            zero_sum: i64::from(x.zero_point) * positions as i64,
            multiplier,
            output: Output { style, zero_point: y.zero_point, clamp },
        }
    }
}

/// The factor `s_x / (n · s_y)` and how it is applied.
fn rule(formula: Formula, s_x: f32, n: usize, s_y: f32) -> (RequantStyle, Multiplier) {
    let ratio = f64::from(s_x) / f64::from(s_y);
    if formula == Formula::PowerOfTwo {
        let (k, shift) = power_of_two::reciprocal(n);
        let style = RequantStyle::MulShift { round: Round::HalfUp, shared: false };
        return (style, style.multiplier(ratio * k as f64 / (1u64 << shift) as f64));
    }
    let style = formula.style();
    let multiplier = match style {
        RequantStyle::F32Rne => Multiplier::from_f32(s_x / (s_y * n as f32)),
        RequantStyle::MulShift { .. } | RequantStyle::Nvdla | RequantStyle::Shift { .. } => {
            style.multiplier(ratio / n.max(1) as f64)
        }
        _ => divided(style, s_x, n, s_y),
    };
    (style, multiplier)
}

/// TensorFlow Lite divides the mantissa of `s_x / s_y` by `n`, after shifting it left by what the
/// division will lose.
fn divided(style: RequantStyle, s_x: f32, n: usize, s_y: f32) -> Multiplier {
    let m = style.multiplier(f64::from(s_x) / f64::from(s_y));
    let bits = n.max(1).ilog2() as i32;
    let shift = bits.min(32).min(31 + m.shift);
    let mantissa = (i128::from(m.mantissa) << shift) / n.max(1) as i128;
    Multiplier { mantissa: mantissa as i32, shift: m.shift - shift }
}

/// The int8 mean over all positions.
pub fn int8(x: &Tensor<i8>, p: &Int8) -> (Tensor<i8>, Counts) {
    let mut y = Tensor::zeros(x.batch, output_shape(x.shape));
    if y.data.is_empty() {
        return (y, Counts::default());
    }
    let counts = y
        .data
        .par_chunks_mut(x.shape.c)
        .enumerate()
        .map(|(n, codes)| {
            let mut counts = Counts::default();
            let mut sums = vec![0i64; x.shape.c];
            for pixel in x.image(n).chunks_exact(x.shape.c) {
                sums.iter_mut().zip(pixel).for_each(|(sum, &q)| *sum += i64::from(q));
            }
            for (code, sum) in codes.iter_mut().zip(sums) {
                *code = p.output.code(sum - p.zero_sum, p.multiplier, &mut counts);
            }
            counts
        })
        .sum();
    (y, counts)
}
