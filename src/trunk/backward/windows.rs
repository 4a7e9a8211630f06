//! Pooling and the mean, transposed.

use super::linear::{Factors, Linear, Number};
use super::packed::{Packed, write};
use crate::op::Pool;
use crate::tensor::Shape;
use crate::trunk::Map;
use rayon::prelude::*;

/// Every input of a window gets the error over how many there are; padding does not count.
pub(super) struct Average {
    pool: Pool,
    input: Shape,
    output: Shape,
    /// How many inputs windows have, and one over each of these numbers.
    sizes: Vec<usize>,
    factors: Factors,
}

impl Average {
    pub fn new(pool: Pool, input: Shape, output: Shape) -> Self {
        let lengths = |axis: usize, outputs: usize, n: usize| -> Vec<usize> {
            (0..outputs).map(|o| pool.valid(axis, o, n).len()).collect()
        };
        let (rows, columns) = (lengths(0, output.h, input.h), lengths(1, output.w, input.w));
        let mut sizes: Vec<usize> = rows.iter().flat_map(|h| columns.iter().map(move |w| h * w)).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let factors = Factors::new(sizes.iter().map(|&n| (1.0 / n as f64) as f32).collect());
        Self { pool, input, output, sizes, factors }
    }
}

impl Linear for Average {
    fn image<N: Number>(&self, _: usize, error: &[N], sums: &mut [N::Sum]) {
        let c = self.output.c;
        for (pixel, error) in error.chunks_exact(c).enumerate() {
            let rows = self.pool.valid(0, pixel / self.output.w, self.input.h);
            let columns = self.pool.valid(1, pixel % self.output.w, self.input.w);
            let size = self.sizes.binary_search(&(rows.len() * columns.len())).expect("every window's size is listed");
            for (y, x) in rows.flat_map(|y| columns.clone().map(move |x| (y, x))) {
                let sums = &mut sums[(y * self.input.w + x) * c..][..c];
                sums.iter_mut().zip(error).for_each(|(sum, &e)| *sum += e.times(&self.factors, size));
            }
        }
    }

    fn factors(&self) -> Option<&Factors> {
        Some(&self.factors)
    }
}

/// The mean over all positions: the average of one window.
pub(super) fn mean(input: Shape, output: Shape) -> Average {
    Average::new(Pool { kernel: [input.h, input.w], stride: [1, 1], pad: [0; 4] }, input, output)
}

/// The first maximum of a window, row by row, gets its error.
pub(super) struct Maximum<'a> {
    pub pool: Pool,
    pub input: Shape,
    pub output: Shape,
    pub first: &'a Packed,
}

impl Linear for Maximum<'_> {
    fn image<N: Number>(&self, image: usize, error: &[N], sums: &mut [N::Sum]) {
        let (first, c) = (self.first.image(image), self.output.c);
        for (i, &e) in error.iter().enumerate() {
            let (oy, ox) = (i / c / self.output.w, i / c % self.output.w);
            let tap = first.get(i);
            let y = oy * self.pool.stride[0] + tap / self.pool.kernel[1] - self.pool.pad[0];
            let x = ox * self.pool.stride[1] + tap % self.pool.kernel[1] - self.pool.pad[1];
            sums[(y * self.input.w + x) * c + i % c] += e.whole();
        }
    }
}

/// Bits of a position in a window.
pub(super) fn position_bits(pool: &Pool) -> usize {
    let last = (pool.kernel[0] * pool.kernel[1]).saturating_sub(1);
    (usize::BITS - last.leading_zeros()).max(1) as usize
}

/// Where in its window the first maximum lies, for every output.
pub(super) fn first_maxima(pool: &Pool, x: Map<'_>, output: Shape) -> Packed {
    let mut first = Packed::zeros(position_bits(pool), x.batch, output.elements());
    let (bits, images) = first.images_mut();
    let images: Vec<(usize, &mut [u8])> = images.enumerate().collect();
    images.into_par_iter().for_each(|(n, data)| {
        let image = x.image(n);
        write(bits, data, (0..output.elements()).map(|i| first_maximum(pool, image, x.shape, output, i)));
    });
    first
}

fn first_maximum(pool: &Pool, image: &[i8], input: Shape, output: Shape, i: usize) -> u32 {
    let (oy, ox, c) = (i / output.c / output.w, i / output.c % output.w, i % output.c);
    let tap = |axis: usize, o: usize, at: usize| at + pool.pad[axis] - o * pool.stride[axis];
    let mut first = (i16::MIN, 0);
    for y in pool.valid(0, oy, input.h) {
        for x in pool.valid(1, ox, input.w) {
            let code = i16::from(image[(y * input.w + x) * input.c + c]);
            if code > first.0 {
                first = (code, tap(0, oy, y) * pool.kernel[1] + tap(1, ox, x));
            }
        }
    }
    first.1 as u32
}
