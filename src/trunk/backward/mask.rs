//! Where a step lets errors pass: exactly, although its loops leave only codes after the clamp.
//!
//! A code strictly between the bounds passes and one at an activation's bound does not. Only a code at
//! an end of its own range tells too little, and only if the step saturated at all: then that element's
//! value is computed again, or its kernel has told whether it was cut.

use super::operands::{Scratch, operands};
use super::packed::Packed;
use crate::op::pool::Average;
use crate::op::product::{Join, Product};
use crate::op::{Conv2d, Counts, mul};
use crate::quant::Clamp;
use crate::tensor::Shape;
use crate::trunk::work::Work;
use crate::trunk::{Map, TrunkStep};
use crate::wide::wide;
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
    let mut mask = Packed::zeros(1, output.batch, output.shape.elements());
    let (_, images) = mask.images_mut();
    let images: Vec<(usize, &mut [u8])> = images.enumerate().collect();
    images.into_par_iter().for_each_init(Scratch::default, |scratch, (n, bits)| {
        may_pass(clamp, output.image(n), bits);
        if counts.saturations > 0 {
            for (i, codes) in output.image(n).chunks(64).enumerate() {
                if !reaches_end(clamp, codes) {
                    continue;
                }
                for (i, &q) in (i * 64..).zip(codes) {
                    if clamp.passes_code(q).is_none() && !before.passes(n, i, clamp, scratch) {
                        bits[i / 8] &= !(1 << (i % 8));
                    }
                }
            }
        }
    });
    mask
}

/// The same bits where the step's loops have told which codes were cut off: 1 in `cut`, which is 0 elsewhere.
pub(super) fn told(clamp: Clamp, output: Map<'_>, cut: &[u8]) -> Packed {
    let elements = output.shape.elements();
    let mut mask = Packed::zeros(1, output.batch, elements);
    let (_, images) = mask.images_mut();
    let images: Vec<(usize, &mut [u8])> = images.enumerate().collect();
    images.into_par_iter().for_each(|(n, bits)| uncut(clamp, output.image(n), &cut[n * elements..][..elements], bits));
    mask
}

/// Whether a code stands at an end of its own range, behind which it may have been.
fn reaches_end(clamp: Clamp, codes: &[i8]) -> bool {
    let (low, high) = clamp.open();
    // What lies beyond a bound of an activation is known.
    let lowest = if low < clamp.lo() { clamp.lo() } else { i32::from(i8::MIN) - 1 } as i16;
    let highest = if high > clamp.hi() { clamp.hi() } else { i32::from(i8::MAX) + 1 } as i16;
    codes.iter().fold(false, |reached, &q| reached | (i16::from(q) <= lowest) | (i16::from(q) >= highest))
}

/// One bit for every code that may let an error pass.
fn may_pass(clamp: Clamp, codes: &[i8], bits: &mut [u8]) {
    let (low, high) = clamp.open();
    between(codes, bits, low as i16, high as i16);
}

/// One bit for every code that may let an error pass and was not cut off.
fn uncut(clamp: Clamp, codes: &[i8], cut: &[u8], bits: &mut [u8]) {
    let (low, high) = clamp.open();
    between_uncut(codes, cut, bits, low as i16, high as i16);
}

wide! {
    fn between(codes: &[i8], bits: &mut [u8], low: i16, high: i16) {
        let (many, rest) = codes.as_chunks::<64>();
        let flag = |q: i8| u8::from((low < i16::from(q)) & (i16::from(q) < high));
        pack_bits(many.iter().map(|codes| codes.map(flag)), rest.iter().map(|&q| flag(q)), bits);
    }
}

wide! {
    fn between_uncut(codes: &[i8], cut: &[u8], bits: &mut [u8], low: i16, high: i16) {
        let ((many, rest), (many_cut, rest_cut)) = (codes.as_chunks::<64>(), cut.as_chunks::<64>());
        let flag = |q: i8, cut: u8| u8::from((low < i16::from(q)) & (i16::from(q) < high) & (cut == 0));
        let flags = |(codes, cut): (&[i8; 64], &[u8; 64])| std::array::from_fn(|i| flag(codes[i], cut[i]));
        let rest = rest.iter().zip(rest_cut).map(|(&q, &cut)| flag(q, cut));
        pack_bits(many.iter().zip(many_cut).map(flags), rest, bits);
    }
}

/// A bit for each flag, which are 0 or 1; in blocks of 64, whose comparisons fill registers.
#[inline(always)]
fn pack_bits(blocks: impl Iterator<Item = [u8; 64]>, rest: impl Iterator<Item = u8>, bits: &mut [u8]) {
    /// Brings the lowest bits of eight bytes together in the highest byte.
    const TOGETHER: u64 = 0x0102_0408_1020_4080;
    let mut done = 0;
    for flags in blocks {
        for (byte, eight) in bits[done..done + 8].iter_mut().zip(flags.as_chunks::<8>().0) {
            *byte = (u64::from_le_bytes(*eight).wrapping_mul(TOGETHER) >> 56) as u8;
        }
        done += 8;
    }
    bits[done..].fill(0);
    rest.enumerate().for_each(|(i, flag)| bits[done + i / 8] |= flag << (i % 8));
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
