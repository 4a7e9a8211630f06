//! What convolutions and linear layers share in int8: centred operands, dot products, joins.

use super::{Counts, Output, Registers};
use crate::quant::{Accumulator, Running};
use crate::tensor::Tensor;

/// Weight codes minus their zero point, in the order in which a loop reads them.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedWeights {
    pub(super) values: Vec<i16>,
    /// `[tap][channel]` (depthwise) instead of `[channel][tap]`.
    pub(super) tap_major: bool,
}

impl PackedWeights {
    /// `zero_points` is one for all, or one per channel.
    pub(super) fn centred(codes: &[i8], zero_points: &[i32], channels: usize) -> Vec<i16> {
        let per_channel = (codes.len() / channels.max(1)).max(1);
        let zero_point = |i: usize| if zero_points.len() == 1 { zero_points[0] } else { zero_points[i / per_channel] };
        codes.iter().enumerate().map(|(i, &q)| (i32::from(q) - zero_point(i)) as i16).collect()
    }
}

/// Everything an int8 layer of products needs besides its attributes and its input.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    pub input_zero_point: i32,
    pub weights: PackedWeights,
    pub registers: Registers,
    pub output: Output,
    /// What sums the products, if it is not 32 wrapping bits.
    pub accumulator: Option<Accumulator>,
}

impl Product {
    /// The code of channel `c` from its products in canonical order, on an accumulator of its own kind.
    pub(super) fn code_on(
        &self,
        accumulator: Accumulator,
        c: usize,
        products: impl Iterator<Item = i64>,
        joined: Option<i64>,
        counts: &mut Counts,
    ) -> i8 {
        let (m, bias) = (self.registers.multipliers[c], self.registers.bias[c]);
        if m.mantissa == 0 {
            return self.output.place(bias, counts);
        }
        let end = total_on(accumulator, products, joined, bias);
        counts.overflows += u64::from(end.left);
        self.output.code(end.value, m, counts)
    }

    /// What channel `c` makes of the centred inputs `x` under its centred weights `w`, in canonical
    /// order, before the clamp.
    pub(crate) fn value(&self, c: usize, x: &[i16], w: &[i16], joined: Option<i64>) -> i32 {
        let (m, bias) = (self.registers.multipliers[c], self.registers.bias[c]);
        if m.mantissa == 0 {
            return bias.saturating_add(self.output.zero_point);
        }
        let acc = match self.accumulator {
            None => dot(x, w) + joined.unwrap_or(0) + i64::from(bias),
            Some(accumulator) => total_on(accumulator, products(x, w), joined, bias).value,
        };
        self.output.value(acc, m)
    }
}

/// Products, what is joined, and the bias, in this order.
fn total_on(accumulator: Accumulator, products: impl Iterator<Item = i64>, joined: Option<i64>, bias: i32) -> Running {
    let mut running = accumulator.sum(products);
    if let Some(joined) = joined {
        accumulator.add(&mut running, joined);
    }
    accumulator.add(&mut running, i64::from(bias));
    accumulator.finish(running)
}

/// A tap-in added to the accumulator: `acc += values << shift`, one value per output.
#[derive(Clone, Copy, Debug)]
pub struct Join<'a> {
    pub values: &'a Tensor<i16>,
    pub shift: u32,
}

impl Join<'_> {
    /// What output `index` of the batch gets.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> i64 {
        i64::from(self.values.data[index]) << self.shift
    }
}

/// Products in order.
pub(super) fn products<'a>(x: &'a [i16], w: &'a [i16]) -> impl Iterator<Item = i64> + 'a {
    x.iter().zip(w).map(|(&x, &w)| i64::from(x) * i64::from(w))
}

/// `q - z` for a whole map: at most nine bits, so products of two fit 32 with room for a sum.
pub(super) fn centre(codes: &[i8], zero_point: i32) -> Vec<i16> {
    codes.iter().map(|&q| i16::from(q) - zero_point as i16).collect()
}

/// Products that are summed in 32 bits before 64: 16384 × 255 × 255 cannot overflow.
pub(super) const RUN: usize = 16384;

/// The exact dot product.
#[inline]
pub(crate) fn dot(x: &[i16], w: &[i16]) -> i64 {
    debug_assert_eq!(x.len(), w.len());
    x.chunks(RUN).zip(w.chunks(RUN)).map(|(x, w)| i64::from(dot_run(x, w))).sum()
}

/// One run of products. Wrapping addition only so that nothing stands between LLVM and `pmaddwd`:
/// a run is too short to overflow.
#[inline]
fn dot_run(x: &[i16], w: &[i16]) -> i32 {
    x.iter().zip(w).fold(0i32, |sum, (&x, &w)| sum.wrapping_add(i32::from(x).wrapping_mul(i32::from(w))))
}
