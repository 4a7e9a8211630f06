//! Average and maximum pooling: down the columns first, which is one pass over whole rows, then along
//! the row. Padding is never read; an average knows how many positions it had.
//!
//! A pooling cannot leave the range of its codes, so it counts nothing. Refused: windows so large
//! that a 32-bit float does not divide their sums exactly.

use super::table::Kernels;
use super::tasks::{each_chunk, whole_units};
use super::versions::versions;
use crate::op::{Counts, Pool};
use crate::quant::{Clamp, CodeType};
use crate::tensor::Shape;
use crate::trunk::Map;
use std::cell::RefCell;
use std::ops::Range;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Maximum,
    /// What presented codes are above engine codes.
    Average {
        offset: i32,
    },
}

/// A pooling prepared for one instruction set.
#[derive(Clone, Debug)]
pub struct Pooling {
    row: unsafe fn(&mut Row<'_>),
    pool: Pool,
    kind: Kind,
    clamp: Clamp,
    input: Shape,
    output: Shape,
}

impl Pooling {
    pub fn maximum(pool: &Pool, input: Shape, clamp: Clamp, kernels: Kernels) -> Option<Self> {
        Self::new(pool, input, clamp, Kind::Maximum, maximum(kernels.set()?))
    }

    pub fn average(pool: &Pool, input: Shape, codes: CodeType, clamp: Clamp, kernels: Kernels) -> Option<Self> {
        /// Positions up to which an f32 divides a sum of codes and leaves the same integer part: the
        /// quotient is below 512 and at least 1/positions away from an integer that it is not.
        const MOST: usize = 1 << 14;
        let positions = pool.kernel[0].checked_mul(pool.kernel[1]).filter(|&n| n <= MOST);
        positions?;
        Self::new(pool, input, clamp, Kind::Average { offset: codes.offset() }, average(kernels.set()?))
    }

    fn new(pool: &Pool, input: Shape, clamp: Clamp, kind: Kind, row: unsafe fn(&mut Row<'_>)) -> Option<Self> {
        let output = pool.output_shape(input).ok()?;
        // An empty range of bounds has an order of its own.
        let usable = output.elements() > 0 && input.elements() > 0 && clamp.lo() <= clamp.hi();
        usable.then_some(Self { row, pool: *pool, kind, clamp, input, output })
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts.
    pub fn run_into(&self, x: Map<'_>, out: &mut [i8]) -> Counts {
        assert_eq!((x.shape, out.len()), (self.input, x.batch * self.output.elements()), "made for one shape");
        let unit = self.output.w * self.output.c;
        each_chunk(out, whole_units(unit), |first, codes| {
            SCRATCH.with_borrow_mut(|scratch| {
                for (r, codes) in codes.chunks_exact_mut(unit).enumerate() {
                    let at = first / unit + r;
                    let mut row = Row {
                        rows: self.valid(0, at % self.output.h, self.input.h),
                        image: x.image(at / self.output.h),
                        plan: self,
                        scratch,
                        codes,
                    };
                    // SAFETY: the function was chosen for instructions that the CPU has.
                    unsafe { (self.row)(&mut row) };
                }
            });
            Counts::default()
        })
    }

    /// The positions of the map under window `o` along axis `i`.
    #[inline(always)]
    fn valid(&self, i: usize, o: usize, n: usize) -> Range<usize> {
        let (start, pad) = (o * self.pool.stride[i], self.pool.pad[i]);
        start.saturating_sub(pad)..(start + self.pool.kernel[i]).saturating_sub(pad).min(n)
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// One input row's worth of columns.
#[derive(Default)]
struct Scratch {
    largest: Vec<i8>,
    sums: Vec<i32>,
}

/// One output row.
struct Row<'a> {
    plan: &'a Pooling,
    image: &'a [i8],
    /// The input rows under it.
    rows: Range<usize>,
    scratch: &'a mut Scratch,
    codes: &'a mut [i8],
}

/// Cuts channels into blocks of 64, 16 and 1. A macro because a closure would be compiled by itself,
/// without the instructions of the loop that it is in.
macro_rules! in_blocks {
    ($channels:expr, $block:ident($($arg:expr),*)) => {{
        let (channels, mut first) = ($channels, 0);
        while channels - first >= 64 {
            $block::<64>(first, $($arg),*);
            first += 64;
        }
        while channels - first >= 16 {
            $block::<16>(first, $($arg),*);
            first += 16;
        }
        while first < channels {
            $block::<1>(first, $($arg),*);
            first += 1;
        }
    }};
}

versions!(maximum, maximum_row(row: &mut Row<'_>) -> ());
versions!(average, average_row(row: &mut Row<'_>) -> ());

#[inline(always)]
fn maximum_row(row: &mut Row<'_>) {
    let plan = row.plan;
    let (c, pitch) = (plan.input.c, plan.input.w * plan.input.c);
    let source = |y: usize| &row.image[y * pitch..][..pitch];
    let largest = &mut row.scratch.largest;
    largest.clear();
    largest.extend_from_slice(source(row.rows.start));
    for y in row.rows.start + 1..row.rows.end {
        largest.iter_mut().zip(source(y)).for_each(|(m, &q)| *m = (*m).max(q));
    }
    let (lo, hi) = (plan.clamp.lo() as i8, plan.clamp.hi() as i8);
    for (ox, codes) in row.codes.chunks_exact_mut(c).enumerate() {
        let columns = plan.valid(1, ox, plan.input.w);
        let under = &largest[columns.start * c..columns.end * c];
        in_blocks!(c, maximum_block(under, c, lo, hi, codes));
    }
}

#[inline(always)]
fn maximum_block<const N: usize>(first: usize, under: &[i8], c: usize, lo: i8, hi: i8, codes: &mut [i8]) {
    let mut largest = [lo; N];
    for pixel in under.chunks_exact(c) {
        let pixel = &pixel[first..][..N];
        (0..N).for_each(|i| largest[i] = largest[i].max(pixel[i]));
    }
    let codes = &mut codes[first..][..N];
    (0..N).for_each(|i| codes[i] = largest[i].min(hi));
}

#[inline(always)]
fn average_row(row: &mut Row<'_>) {
    let plan = row.plan;
    let Kind::Average { offset } = plan.kind else { return };
    let (c, pitch) = (plan.input.c, plan.input.w * plan.input.c);
    let sums = &mut row.scratch.sums;
    sums.clear();
    sums.resize(pitch, row.rows.len() as i32 * offset);
    for y in row.rows.clone() {
        let source = &row.image[y * pitch..][..pitch];
        sums.iter_mut().zip(source).for_each(|(sum, &q)| *sum += i32::from(q));
    }
    for (ox, codes) in row.codes.chunks_exact_mut(c).enumerate() {
        let columns = plan.valid(1, ox, plan.input.w);
        let positions = (row.rows.len() * columns.len()) as i32;
        let under = &sums[columns.start * c..columns.end * c];
        let share = Share { positions, offset, lo: plan.clamp.lo(), hi: plan.clamp.hi() };
        in_blocks!(c, average_block(under, c, share, codes));
    }
}

#[derive(Clone, Copy)]
struct Share {
    positions: i32,
    offset: i32,
    lo: i32,
    hi: i32,
}

#[inline(always)]
fn average_block<const N: usize>(first: usize, under: &[i32], c: usize, share: Share, codes: &mut [i8]) {
    let mut sums = [0i32; N];
    for pixel in under.chunks_exact(c) {
        let pixel = &pixel[first..][..N];
        (0..N).for_each(|i| sums[i] += pixel[i]);
    }
    let half = share.positions / 2;
    let codes = &mut codes[first..][..N];
    for i in 0..N {
        let nudged = sums[i] + if sums[i] > 0 { half } else { -half };
        // SAFETY: a quotient of codes and their half is far below 2^31. (The checked cast is no vector's.)
        let mean = unsafe { (nudged as f32 / share.positions as f32).to_int_unchecked::<i32>() } - share.offset;
        codes[i] = mean.max(share.lo).min(share.hi) as i8;
    }
}
