//! Depthwise convolutions: one filter per channel, so vectors run along channels, and the errors are read
//! where they lie.
//!
//! Refused, so that the general path runs: several filters per channel, and sums that may leave 32 bits.

use super::pack::Weights;
use super::product::Band;
use super::strip::Errors;
use crate::op::Conv2d;
use crate::quant::error_code::GradFormat;
use crate::tensor::Shape;
use crate::trunk::fast::InstructionSet;
use crate::trunk::fast::versions::versions;

/// Channels whose sums are formed together.
const CHANNELS: usize = 32;

/// A depthwise convolution's input gradient.
#[derive(Clone, Debug)]
pub(super) struct Depthwise {
    set: InstructionSet,
    conv: Conv2d,
    input: Shape,
    output: Shape,
    filters: Filters,
}

/// `[ky][kx][channel]`.
#[derive(Clone, Debug)]
enum Filters {
    F32(Vec<f32>),
    I16(Vec<i16>),
}

/// An output position that reads, and the tap with which it does: their first elements.
type Reader = (usize, usize);

impl Depthwise {
    pub fn new(
        weights: Weights<'_>,
        input: Shape,
        output: Shape,
        format: GradFormat,
        set: InstructionSet,
    ) -> Option<Self> {
        let Weights { conv, codes } = weights;
        let taps = conv.depth();
        if !conv.is_depthwise() || conv.out_c != conv.in_c {
            return None;
        }
        let by_tap = || (0..taps).flat_map(|tap| (0..conv.out_c).map(move |c| (tap, c)));
        let filters = if format == GradFormat::F32 {
            Filters::F32(by_tap().map(|(tap, c)| f32::from(codes[c * taps + tap])).collect())
        } else {
            let largest = |filter: &[i16]| filter.iter().map(|&w| i64::from(w).abs()).sum::<i64>() << 15;
            if codes.chunks_exact(taps).any(|filter| largest(filter) > i64::from(i32::MAX)) {
                return None;
            }
            Filters::I16(by_tap().map(|(tap, c)| codes[c * taps + tap]).collect())
        };
        Some(Self { set, conv: conv.clone(), input, output, filters })
    }

    /// How many images, or else how many rows of one, a task takes.
    pub fn cut(&self, batch: usize) -> (usize, usize) {
        let (h, threads) = (self.input.h, rayon::current_num_threads());
        if batch >= threads { (1, h) } else { (1, h.div_ceil(threads.div_ceil(batch))) }
    }

    /// Writes the gradients of a band over all of `to`.
    pub fn run<T: Cell>(&self, errors: Errors<'_>, band: &Band, to: &mut [T]) {
        let (w, c) = (self.input.w, self.input.c);
        let pixels = band.images.clone().flat_map(|n| band.rows.clone().map(move |y| (n, y)));
        let pixels = pixels.flat_map(|(n, y)| (0..w).map(move |x| (n, y, x)));
        let mut readers = Vec::new();
        for ((n, y, x), to) in pixels.zip(to.chunks_exact_mut(c)) {
            self.readers(n, y, x, &mut readers);
            T::pixel(self.set, &readers, errors, self, to);
        }
    }

    /// Finds what reads an input position, in the order ky, kx.
    fn readers(&self, image: usize, y: usize, x: usize, readers: &mut Vec<Reader>) {
        let (conv, output) = (&self.conv, self.output);
        readers.clear();
        for ky in 0..conv.kernel[0] {
            let Some(oy) = conv.reader(0, y, ky, output.h) else { continue };
            for kx in 0..conv.kernel[1] {
                let Some(ox) = conv.reader(1, x, kx, output.w) else { continue };
                let position = (image * output.h + oy) * output.w + ox;
                readers.push((position * output.c, (ky * conv.kernel[1] + kx) * output.c));
            }
        }
    }
}

/// What gradients are summed in.
pub(super) trait Cell: Sized {
    /// Writes the sums of one position.
    fn pixel(set: InstructionSet, readers: &[Reader], errors: Errors<'_>, plan: &Depthwise, to: &mut [Self]);
}

impl Cell for f32 {
    fn pixel(set: InstructionSet, readers: &[Reader], errors: Errors<'_>, plan: &Depthwise, to: &mut [Self]) {
        let (Errors::F32(errors), Filters::F32(filters)) = (errors, &plan.filters) else {
            unreachable!("real errors have real filters");
        };
        // SAFETY: an instruction set is chosen only where the CPU has it.
        unsafe { pixel_f32(set)(readers, errors, filters, to) };
    }
}

impl Cell for i32 {
    fn pixel(set: InstructionSet, readers: &[Reader], errors: Errors<'_>, plan: &Depthwise, to: &mut [Self]) {
        let (Errors::I16(errors), Filters::I16(filters)) = (errors, &plan.filters) else {
            unreachable!("mantissas have filters of codes");
        };
        // SAFETY: an instruction set is chosen only where the CPU has it.
        unsafe { pixel_i16(set)(readers, errors, filters, to) };
    }
}

impl Cell for i64 {
    fn pixel(_: InstructionSet, _: &[Reader], _: Errors<'_>, _: &Depthwise, _: &mut [Self]) {
        unreachable!("sums that may leave 32 bits are refused");
    }
}

versions!(pixel_f32, f32s(readers: &[Reader], errors: &[f32], filters: &[f32], to: &mut [f32]) -> ());
versions!(pixel_i16, i16s(readers: &[Reader], errors: &[i16], filters: &[i16], to: &mut [i32]) -> ());

#[inline(always)]
fn f32s(readers: &[Reader], errors: &[f32], filters: &[f32], to: &mut [f32]) {
    // Two roundings, as the definition has them: a fused product gains nothing where memory is the limit.
    sums(readers, errors, filters, to, |sum, e, w| *sum += e * w);
}

#[inline(always)]
fn i16s(readers: &[Reader], errors: &[i16], filters: &[i16], to: &mut [i32]) {
    sums(readers, errors, filters, to, |sum, e, w| *sum += i32::from(e) * i32::from(w));
}

#[inline(always)]
fn sums<T: Copy, A: Copy + Default>(
    readers: &[Reader],
    errors: &[T],
    filters: &[T],
    to: &mut [A],
    add: impl Fn(&mut A, T, T),
) {
    let (blocks, rest) = to.as_chunks_mut::<CHANNELS>();
    let first = blocks.len() * CHANNELS;
    for (i, to) in blocks.iter_mut().enumerate() {
        let mut sums = [A::default(); CHANNELS];
        for &(at, tap) in readers {
            let (e, w) = (&errors[at + i * CHANNELS..][..CHANNELS], &filters[tap + i * CHANNELS..][..CHANNELS]);
            for lane in 0..CHANNELS {
                add(&mut sums[lane], e[lane], w[lane]);
            }
        }
        *to = sums;
    }
    rest.fill(A::default());
    for &(at, tap) in readers {
        let (e, w) = (&errors[at + first..], &filters[tap + first..]);
        rest.iter_mut().zip(e.iter().zip(w)).for_each(|(sum, (&e, &w))| add(sum, e, w));
    }
}
