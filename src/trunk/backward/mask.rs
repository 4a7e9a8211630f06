//! Where a step lets errors pass: exactly, although its loops leave only codes after the clamp.
//!
//! A code strictly between the bounds passes and one at an activation's bound does not. Only a code at
//! an end of its own range tells too little, and only if the step saturated at all: then that element's
//! value is computed again.

use super::operands::{Scratch, operands};
use super::packed::{Packed, write};
use crate::op::pool::Average;
use crate::op::product::{Join, Product};
use crate::op::{Conv2d, Counts, mul};
use crate::quant::Clamp;
use crate::tensor::Shape;
use crate::trunk::work::Work;
use crate::trunk::{Map, TrunkStep};
use rayon::prelude::*;

/// The bounds behind which a step's codes can be cut; none where nothing is ever cut.
pub(super) fn clamp(work: &Work) -> Option<Clamp> {
    match work {
        Work::Conv2d(_, p) | Work::Linear(_, p) => Some(p.output.clamp),
        Work::BatchNorm(p) => Some(p.output.clamp),
        Work::Add(p) => Some(p.output.clamp),
        Work::Mul(p) => Some(p.output.clamp),
        Work::Mean(p) => Some(p.output.clamp),
        // An average of codes is within their range; so is a maximum.
        Work::AvgPool(_, Average::Tflite(_), clamp) | Work::MaxPool(_, clamp) => {
            clamp.is_activation().then_some(*clamp)
        }
        Work::AvgPool(_, _, clamp) => Some(*clamp),
        Work::Concat(tables) => tables.iter().any(Option::is_some).then_some(Clamp::INT8),
        // A table's slope is zero where it cuts.
        Work::Table(..) | Work::Softmax(_) => None,
        Work::Pad(..) | Work::Transpose(_) | Work::Upsample(..) | Work::Reshape(_) => None,
    }
}

/// One bit per output element of a step that ran on these inputs and counted `counts`.
pub(super) fn mask(
    step: &TrunkStep,
    clamp: Clamp,
    inputs: &[Map<'_>],
    join: Option<Join<'_>>,
    output: Map<'_>,
    counts: Counts,
) -> Packed {
    let before = Before { step, inputs, join };
    let elements = output.shape.elements();
    let known: Vec<Option<bool>> = (i8::MIN..=i8::MAX).map(|q| clamp.passes_code(q)).collect();
    let saturated = counts.saturations > 0;
    let mut mask = Packed::zeros(1, output.batch, elements);
    let (bits, images) = mask.images_mut();
    let images: Vec<(usize, &mut [u8])> = images.enumerate().collect();
    images.into_par_iter().for_each_init(Scratch::default, |scratch, (n, data)| {
        let passes = output.image(n).iter().enumerate().map(|(i, &q)| {
            let known = known[(i32::from(q) + 128) as usize];
            known.unwrap_or_else(|| !saturated || before.passes(n, i, clamp, scratch)).into()
        });
        write(bits, data, passes);
    });
    mask
}

/// A step's outputs before their clamp.
struct Before<'a> {
    step: &'a TrunkStep,
    inputs: &'a [Map<'a>],
    join: Option<Join<'a>>,
}

impl Before<'_> {
    /// Whether an error passes element `i` of image `n`.
    fn passes(&self, n: usize, i: usize, clamp: Clamp, scratch: &mut Scratch) -> bool {
        let x = self.inputs[0];
        let second = |i: usize| self.inputs[1].image(n)[i];
        let value = match &self.step.work {
            Work::Conv2d(conv, p) => self.product(conv, x.shape, p, (n, i), scratch),
            Work::Linear(op, p) => self.product(&op.as_conv2d(), Shape::vector(op.inputs), p, (n, i), scratch),
            Work::BatchNorm(p) => {
                let c = i % p.registers.channels();
                let acc = i64::from(i32::from(x.image(n)[i]) - p.input_zero_point) * i64::from(p.factors[c]);
                p.registers.value(c, acc, &p.output)
            }
            Work::Add(p) => p.value(x.image(n)[i], second(i)),
            Work::Mul(p) => {
                let (pixel, channel) = mul::steps(x.shape, self.inputs[1].shape);
                p.value(x.image(n)[i], second(i / x.shape.c * pixel + i % x.shape.c * channel))
            }
            Work::Mean(p) => {
                let sum: i64 = x.image(n)[i..].iter().step_by(x.shape.c).map(|&q| i64::from(q)).sum();
                p.output.value(sum - p.zero_sum, p.multiplier)
            }
            Work::AvgPool(op, form, _) => {
                let (shape, c) = (self.step.output_shape, x.shape.c);
                let rows = op.valid(0, i / c / shape.w, x.shape.h);
                let columns = op.valid(1, i / c % shape.w, x.shape.w);
                let at = rows.flat_map(|y| columns.clone().map(move |x| (y, x)));
                let codes: Vec<i8> = at.map(|(y, ix)| x.image(n)[(y * x.shape.w + ix) * c + i % c]).collect();
                form.value(&codes)
            }
            Work::Concat(tables) => return !self.rescaling_saturates(tables, n, i),
            _ => unreachable!("step '{}' has no bounds of its own", self.step.name),
        };
        clamp.passes(value)
    }

    fn product(&self, conv: &Conv2d, input: Shape, p: &Product, (n, i): (usize, usize), scratch: &mut Scratch) -> i32 {
        let c = i % conv.out_c;
        operands(self.step, conv, input, p.input_zero_point, self.inputs[0].image(n), i, scratch);
        let joined = self.join.map(|join| join.at(n * self.step.output_shape.elements() + i));
        p.value(c, &scratch.x, &scratch.w, joined)
    }

    fn rescaling_saturates(&self, tables: &[Option<crate::op::Table>], n: usize, i: usize) -> bool {
        let (pixel, mut c) = (i / self.step.output_shape.c, i % self.step.output_shape.c);
        for (map, table) in self.inputs.iter().zip(tables) {
            if c < map.shape.c {
                let q = map.image(n)[pixel * map.shape.c + c];
                return table.as_ref().is_some_and(|t| t.events()[(i32::from(q) + 128) as usize].saturations > 0);
            }
            c -= map.shape.c;
        }
        false
    }
}
