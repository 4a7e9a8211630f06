//! What every step's gradient is: sums of errors, some times a factor. Written once for real errors and
//! for mantissas.

use super::errors::{self, Errors};
use super::format::{Events, Origin, Settled, StepContext};
use super::packed::Packed;
use crate::quant::error_code::{ChannelFactors, ZERO_EXPONENT};
use crate::tensor::{Shape, Tensor};
use crate::trunk::fast::backward::Accs;
use crate::wide::wide;
use rayon::prelude::*;
use std::ops::AddAssign;

/// Bits of a factor behind its binary point (SPEC 3.5).
pub(super) const FACTOR_BITS: i32 = 15;

/// Real factors, and the same as integers under one exponent.
#[derive(Clone, Debug)]
pub(super) struct Factors {
    pub reals: Vec<f32>,
    pub codes: ChannelFactors,
}

impl Factors {
    pub fn new(reals: Vec<f32>) -> Self {
        let codes = ChannelFactors::new(&reals);
        Self { reals, codes }
    }
}

/// An element of an error.
pub(super) trait Number: Copy + Default + Send + Sync + PartialEq {
    /// What sums of it are held in.
    type Sum: Copy + Default + Send + AddAssign;
    fn whole(self) -> Self::Sum;
    fn times(self, factors: &Factors, k: usize) -> Self::Sum;
    /// Writes elements over all of `to` where their bit is 1, and zeros elsewhere.
    fn select(error: &[Self], bits: &[u8], to: &mut [Self]);
    /// Multiplies elements, whose channels follow each other, by their channel's factor; mantissas round and
    /// leave the factors' exponent to be added.
    fn scale_channels(elements: &mut [Self], factors: &Factors);
}

impl Number for f32 {
    type Sum = f32;
    fn whole(self) -> f32 {
        self
    }
    fn times(self, factors: &Factors, k: usize) -> f32 {
        self * factors.reals[k]
    }
    fn select(error: &[f32], bits: &[u8], to: &mut [f32]) {
        select_values(error, bits, to);
    }
    fn scale_channels(elements: &mut [f32], factors: &Factors) {
        multiply_rows(elements, &factors.reals);
    }
}

impl Number for i16 {
    type Sum = i64;
    fn whole(self) -> i64 {
        self.into()
    }
    fn times(self, factors: &Factors, k: usize) -> i64 {
        i64::from(self) * i64::from(factors.codes.factors[k])
    }
    fn select(error: &[i16], bits: &[u8], to: &mut [i16]) {
        select_mantissas(error, bits, to);
    }
    fn scale_channels(elements: &mut [i16], factors: &Factors) {
        factors.codes.scale_all(elements);
    }
}

wide! {
    fn select_values(error: &[f32], bits: &[u8], to: &mut [f32]) {
        // Without a choice of its own for each element, so that the loop vectorises.
        let passed = |value: f32, bit: u16| f32::from_bits(value.to_bits() & u32::from(bit).wrapping_neg());
        select(error, bits, to, passed);
    }
}

wide! {
    fn select_mantissas(error: &[i16], bits: &[u8], to: &mut [i16]) {
        select(error, bits, to, |mantissa, bit| mantissa & bit.wrapping_neg() as i16);
    }
}

/// Sixteen at a time, whose bits a register compares at once; `passed` is an element where its bit is 1, else 0.
#[inline(always)]
fn select<N: Copy>(error: &[N], bits: &[u8], to: &mut [N], passed: impl Fn(N, u16) -> N) {
    let ((many, rest), (to, to_rest)) = (error.as_chunks::<16>(), to.as_chunks_mut::<16>());
    let (pairs, last) = bits.split_at(2 * many.len());
    for ((to, error), pair) in to.iter_mut().zip(many).zip(pairs.as_chunks::<2>().0) {
        let word = u16::from_le_bytes(*pair);
        for i in 0..16 {
            to[i] = passed(error[i], word >> i & 1);
        }
    }
    for (i, (to, &error)) in to_rest.iter_mut().zip(rest).enumerate() {
        *to = passed(error, u16::from(last[i / 8] >> (i % 8) & 1));
    }
}

wide! {
    fn multiply_rows(values: &mut [f32], factors: &[f32]) {
        for row in values.chunks_mut(factors.len().max(1)) {
            row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
        }
    }
}

/// The transpose of a step, image by image. Sums have one order, whatever the thread count.
pub(super) trait Linear: Sync {
    /// Adds what the image's error gives every element of `sums`, which are zero.
    fn image<N: Number>(&self, image: usize, error: &[N], sums: &mut [N::Sum]);

    /// The factors that it takes; every sum must then be of products.
    fn factors(&self) -> Option<&Factors> {
        None
    }
}

/// The error for a map of shape `to`: `linear` of a step's error where `mask` lets it pass.
pub(super) fn transpose(
    linear: &impl Linear,
    error: &Errors,
    mask: Option<&Packed>,
    to: Shape,
    context: &StepContext<'_>,
    origin: Origin,
) -> (Errors, Events) {
    let (batch, elements) = (error.batch(), to.elements().max(1));
    match error {
        Errors::Values(values) => {
            let mut sums = Tensor::zeros(batch, to);
            sums.data.par_chunks_mut(elements).enumerate().for_each_init(Vec::new, |passed, (i, sums)| {
                linear.image(i, masked(values.image(i), mask, i, passed), sums);
            });
            (Errors::Values(sums), Events::default())
        }
        Errors::Codes { mantissas, exponents } => {
            let from = linear.factors().map_or(0, |f| f.codes.exponent - FACTOR_BITS);
            let mut codes = Tensor::zeros(batch, to);
            let images = codes.data.par_chunks_mut(elements).enumerate();
            let settled = images.map_init(
                || (Vec::new(), Vec::new()),
                |(passed, sums), (i, codes)| {
                    let error = masked(mantissas.image(i), mask, i, passed);
                    if error.iter().all(|&e| e == 0) {
                        return Settled { exponent: ZERO_EXPONENT, ..Settled::default() };
                    }
                    sums.clear();
                    sums.resize(codes.len(), 0);
                    linear.image(i, error, sums);
                    errors::settle(Accs::Wide(sums), exponents[i] + from, context, origin, i, codes)
                },
            );
            let settled: Vec<Settled> = settled.collect();
            Errors::settled(codes, &settled, context, origin)
        }
    }
}

/// The error of one image where the mask lets it pass, zero elsewhere.
pub(super) fn masked<'a, N: Number>(
    error: &'a [N],
    mask: Option<&Packed>,
    image: usize,
    passed: &'a mut Vec<N>,
) -> &'a [N] {
    let Some(mask) = mask else { return error };
    passed.resize(error.len(), N::default());
    N::select(error, mask.image(image).bytes(), passed);
    passed
}

/// The same over all of `to`.
pub(super) fn masked_into<N: Number>(error: &[N], mask: Option<&Packed>, image: usize, to: &mut [N]) {
    match mask {
        Some(mask) => N::select(error, mask.image(image).bytes(), to),
        None => to.copy_from_slice(error),
    }
}

/// A step's error where `mask` lets it pass: what an identity sends on. Mantissas keep their exponent.
pub(super) fn passed(error: &Errors, mask: Option<&Packed>) -> Errors {
    fn all<N: Number>(error: &Tensor<N>, mask: Option<&Packed>) -> Tensor<N> {
        let mut data = vec![N::default(); error.data.len()];
        let images = data.par_chunks_mut(error.shape.elements().max(1)).enumerate();
        images.for_each(|(i, data)| masked_into(error.image(i), mask, i, data));
        Tensor::from_vec(error.batch, error.shape, data)
    }
    match error {
        Errors::Values(values) => Errors::Values(all(values, mask)),
        Errors::Codes { mantissas, exponents } => {
            let mantissas = all(mantissas, mask);
            Errors::Codes { exponents: exponents_of(&mantissas, exponents), mantissas }
        }
    }
}

/// An identity in another order or on fewer elements: `image` fills one image. Mantissas keep their exponent.
pub(super) fn moved(error: &Errors, mask: Option<&Packed>, to: Shape, linear: &impl Linear) -> Errors {
    match error {
        Errors::Values(values) => {
            let mut map = Tensor::zeros(values.batch, to);
            map.data.par_chunks_mut(to.elements().max(1)).enumerate().for_each_init(Vec::new, |buffer, (i, map)| {
                linear.image(i, masked(values.image(i), mask, i, buffer), map);
            });
            Errors::Values(map)
        }
        Errors::Codes { mantissas, exponents } => {
            let mut map = Tensor::zeros(mantissas.batch, to);
            let init = || (Vec::new(), vec![0i64; to.elements()]);
            map.data.par_chunks_mut(to.elements().max(1)).enumerate().for_each_init(
                init,
                |(buffer, sums), (i, map)| {
                    sums.fill(0);
                    linear.image(i, masked(mantissas.image(i), mask, i, buffer), sums);
                    // No two errors meet, so each fits as it is.
                    map.iter_mut().zip(&*sums).for_each(|(m, &sum)| *m = sum as i16);
                },
            );
            Errors::Codes { exponents: exponents_of(&map, exponents), mantissas: map }
        }
    }
}

/// The exponents of images some of which may have become zero.
fn exponents_of(mantissas: &Tensor<i16>, exponents: &[i32]) -> Vec<i32> {
    let of = |(i, &exponent): (usize, &i32)| match mantissas.image(i).iter().all(|&m| m == 0) {
        true => ZERO_EXPONENT,
        false => exponent,
    };
    exponents.iter().enumerate().map(of).collect()
}
