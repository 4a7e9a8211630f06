//! Steps that only move codes, transposed: what moved goes back, what was filled in is dropped.

use super::linear::{Linear, Number};
use crate::op::{Pad, Transpose, Upsample};
use crate::tensor::Shape;

/// What padding surrounded.
pub(super) struct Crop {
    pub pad: Pad,
    pub input: Shape,
    pub output: Shape,
}

impl Linear for Crop {
    fn image<N: Number>(&self, _: usize, error: &[N], sums: &mut [N::Sum]) {
        let [top, left, ..] = self.pad.space;
        for (pixel, sums) in sums.chunks_exact_mut(self.input.c).enumerate() {
            let (y, x) = (pixel / self.input.w + top, pixel % self.input.w + left);
            let error = &error[(y * self.output.w + x) * self.output.c + self.pad.channels[0]..];
            sums.iter_mut().zip(error).for_each(|(sum, &e)| *sum += e.whole());
        }
    }
}

/// One part of a concatenation: the channels from `first` on.
pub(super) struct Part {
    pub first: usize,
    pub channels: usize,
    pub of: usize,
}

impl Linear for Part {
    fn image<N: Number>(&self, _: usize, error: &[N], sums: &mut [N::Sum]) {
        for (sums, error) in sums.chunks_exact_mut(self.channels).zip(error.chunks_exact(self.of)) {
            sums.iter_mut().zip(&error[self.first..]).for_each(|(sum, &e)| *sum += e.whole());
        }
    }
}

/// Axes back in their order.
pub(super) struct Untranspose {
    pub op: Transpose,
    pub input: Shape,
    pub output: Shape,
}

impl Linear for Untranspose {
    fn image<N: Number>(&self, _: usize, error: &[N], sums: &mut [N::Sum]) {
        let [down, right, deep] = self.op.steps(self.input);
        for (i, &e) in error.iter().enumerate() {
            let (y, x, c) = (i / self.output.c / self.output.w, i / self.output.c % self.output.w, i % self.output.c);
            sums[y * down + x * right + c * deep] += e.whole();
        }
    }
}

/// Every position gets the errors of its copies.
pub(super) struct Shrink {
    pub op: Upsample,
    pub input: Shape,
    pub output: Shape,
}

impl Linear for Shrink {
    fn image<N: Number>(&self, _: usize, error: &[N], sums: &mut [N::Sum]) {
        let c = self.input.c;
        for (pixel, error) in error.chunks_exact(c).enumerate() {
            let y = self.op.source(0, pixel / self.output.w);
            let Some((y, x)) = y.zip(self.op.source(1, pixel % self.output.w)) else { continue };
            let sums = &mut sums[(y * self.input.w + x) * c..][..c];
            sums.iter_mut().zip(error).for_each(|(sum, &e)| *sum += e.whole());
        }
    }
}
