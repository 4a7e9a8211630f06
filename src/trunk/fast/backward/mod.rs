//! Input gradients of the trunk's convolutions and linear layers: frozen weights, transposed and packed
//! once for one instruction set.
//!
//! The loops of `op::conv2d_grad` define every gradient. Integer errors give their exact sums; real errors
//! are multiplied and added in their order (ky, kx, output channel), a product and its sum rounded
//! together (apart where the convolution is depthwise), so the bits are the same on every instruction set,
//! for any thread count and any batch.
//!
//! Refused, so that the plain loop runs: empty maps, and padding that makes a strip of errors absurdly large.

mod accs;
mod axis;
mod depthwise;
mod pack;
mod portable;
mod product;
mod store;
mod strip;
mod tile;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

pub use accs::Accs;

use self::depthwise::Depthwise;
use self::pack::Weights;
use self::product::{Band, Product, Scratch};
use self::store::Cell;
use self::strip::Errors;
use super::Kernels;
use crate::op::Conv2d;
use crate::quant::error_code::GradFormat;
use crate::tensor::Shape;
use rayon::prelude::*;
use std::cell::RefCell;

/// A layer's input gradient, ready to run.
#[derive(Clone, Debug)]
pub struct PackedGrad {
    input: Shape,
    output: Shape,
    format: GradFormat,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Product(Product),
    Depthwise(Depthwise),
}

impl PackedGrad {
    /// The gradient of a convolution's input of shape `input`, for errors of one format; none where the
    /// plain loop must run.
    ///
    /// `codes` are `[out][kh][kw][in / groups]`, without their zero point. What a channel's errors are scaled
    /// by (weight scale, gain) they have been scaled by, with their mask: a gain may train, codes never do.
    pub fn new(conv: &Conv2d, input: Shape, codes: &[i16], format: GradFormat, kernels: Kernels) -> Option<Self> {
        let set = kernels.set()?;
        let output = conv.output_shape(input).ok()?;
        assert_eq!(codes.len(), conv.weights(), "weight codes do not fill the filters");
        if input.elements() == 0 || output.elements() == 0 || codes.is_empty() {
            return None;
        }
        let weights = Weights { conv, codes };
        let form = match Depthwise::new(weights, input, output, format, set) {
            Some(depthwise) => Form::Depthwise(depthwise),
            None => Form::Product(Product::new(weights, input, format, set)?),
        };
        Some(Self { input, output, format, form })
    }

    /// Writes the gradients of a batch of real errors over all of `gradients`.
    pub fn run_f32(&self, errors: &[f32], batch: usize, gradients: &mut [f32]) {
        assert_eq!(self.format, GradFormat::F32, "made for mantissas");
        self.check(errors.len(), batch);
        assert_eq!(gradients.len(), batch * self.input.elements(), "made for one shape");
        let (images, rows) = self.cut(batch);
        let tasks = self.tasks(0, images, rows, gradients);
        each(tasks, |(band, to)| self.band(Errors::F32(errors), &band, to));
    }

    /// Gives the exact sums of every image, one image at a time, to `finish`, with the image's number and
    /// its part of `out`; returns what that returns, by image.
    ///
    /// The sums of a few images exist at a time, never those of a batch.
    pub fn run_int<T: Send, R: Send>(
        &self,
        errors: &[i16],
        batch: usize,
        out: &mut [T],
        finish: impl Fn(usize, Accs<'_>, &mut [T]) -> R + Sync,
    ) -> Vec<R> {
        assert_ne!(self.format, GradFormat::F32, "made for real errors");
        self.check(errors.len(), batch);
        assert_eq!(out.len(), batch * self.input.elements(), "made for one shape");
        let is_narrow = match &self.form {
            Form::Product(product) => product.is_narrow(),
            Form::Depthwise(_) => true,
        };
        if is_narrow {
            self.sums::<i32, _, _>(errors, batch, out, finish)
        } else {
            self.sums::<i64, _, _>(errors, batch, out, finish)
        }
    }

    fn check(&self, errors: usize, batch: usize) {
        assert_eq!(errors, batch * self.output.elements(), "made for one shape");
    }

    fn sums<A: accs::Wide, T: Send, R: Send>(
        &self,
        errors: &[i16],
        batch: usize,
        out: &mut [T],
        finish: impl Fn(usize, Accs<'_>, &mut [T]) -> R + Sync,
    ) -> Vec<R> {
        let (images, rows) = self.cut(batch);
        let image = self.input.elements();
        let groups: Vec<_> = out.chunks_mut(images * image).enumerate().collect();
        let done = each(groups, |(group, out)| {
            let mut sums = A::take();
            let n = out.len() / image;
            if sums.len() < out.len() {
                sums.resize(out.len(), A::default());
            }
            let tasks = self.tasks(group * images, n, rows, &mut sums[..out.len()]);
            each(tasks, |(band, to)| self.band(Errors::I16(errors), &band, to));
            let one = |(i, (sums, out)): (usize, (&[A], &mut [T]))| finish(group * images + i, A::accs(sums), out);
            let results: Vec<R> =
                sums.chunks_exact(image).zip(out.chunks_exact_mut(image)).enumerate().map(one).collect();
            A::give_back(sums);
            results
        });
        done.into_iter().flatten().collect()
    }

    fn cut(&self, batch: usize) -> (usize, usize) {
        match &self.form {
            Form::Product(product) => product.cut(batch.max(1)),
            Form::Depthwise(depthwise) => depthwise.cut(batch.max(1)),
        }
    }

    /// Cuts `to`, which begins with image `first`, into bands of `images` whole images, or of `rows` rows of one.
    fn tasks<'a, T>(&self, first: usize, images: usize, rows: usize, to: &'a mut [T]) -> Vec<(Band, &'a mut [T])> {
        let Shape { h, w, c } = self.input;
        let image = h * w * c;
        if rows == h {
            let band = |i: usize, n: usize| Band { images: first + i * images..first + i * images + n, rows: 0..h };
            return to.chunks_mut(images * image).enumerate().map(|(i, to)| (band(i, to.len() / image), to)).collect();
        }
        let band =
            |i: usize, r: usize, n: usize| Band { images: first + i..first + i + 1, rows: r * rows..r * rows + n };
        let bands = |(i, to): (usize, &'a mut [T])| {
            to.chunks_mut(rows * w * c).enumerate().map(move |(r, to)| (band(i, r, to.len() / (w * c)), to))
        };
        to.chunks_mut(image).enumerate().flat_map(bands).collect()
    }

    fn band<T: Cell + depthwise::Cell>(&self, errors: Errors<'_>, band: &Band, to: &mut [T]) {
        match &self.form {
            Form::Product(product) => {
                let mut scratch = SCRATCH.take();
                product.run(errors, band, &mut scratch, to);
                SCRATCH.set(scratch);
            }
            Form::Depthwise(depthwise) => depthwise.run(errors, band, to),
        }
    }
}

/// Runs a task on every item, in the current pool where there is more than one of both; results in order.
fn each<I: Send, R: Send>(items: Vec<I>, task: impl Fn(I) -> R + Sync) -> Vec<R> {
    if items.len() <= 1 || rayon::current_num_threads() == 1 {
        return items.into_iter().map(&task).collect();
    }
    items.into_par_iter().map(&task).collect()
}

thread_local! {
    /// One per thread for the life of the program: a task allocates only when it is the largest yet.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}
