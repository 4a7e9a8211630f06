//! The mean over all positions of a map: sums of columns of channels, then vector requantisation.

use super::requant::Requant;
use super::table::{Kernels, Table};
use super::tasks::each_chunk;
use super::versions::versions;
use crate::op::{Counts, Output, mean};
use crate::tensor::Shape;
use crate::trunk::Map;

/// Channels that are summed together.
const BLOCK: usize = 64;

/// A mean prepared for one instruction set.
#[derive(Clone, Debug)]
pub struct Mean {
    table: &'static Table,
    sums: unsafe fn(&Columns<'_>, &mut [i32; BLOCK]),
    input: Shape,
    start: i32,
    requant: Requant,
    output: Output,
}

impl Mean {
    /// None where a sum could overflow.
    pub fn new(p: &mean::Int8, input: Shape, kernels: Kernels) -> Option<Self> {
        let (set, table) = (kernels.set()?, kernels.table()?);
        table.requantise?;
        if input.elements() == 0 {
            return None;
        }
        let largest = i64::try_from(input.pixels()).ok()?.checked_mul(128)?.checked_add(p.zero_sum.abs())?;
        let requant = Requant::uniform(&p.output, p.multiplier, largest, BLOCK)?;
        Some(Self { table, sums: sums(set), input, start: i32::try_from(-p.zero_sum).ok()?, requant, output: p.output })
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts.
    pub fn run_into(&self, x: Map<'_>, out: &mut [i8]) -> Counts {
        let c = self.input.c;
        assert_eq!((x.shape, out.len()), (self.input, x.batch * c), "made for one shape");
        each_chunk(out, c, |first, codes| {
            let image = x.image(first / c);
            let blocks = codes.chunks_mut(BLOCK).enumerate();
            blocks.map(|(i, codes)| self.block(&Columns { image, c, first: i * BLOCK, n: codes.len() }, codes)).sum()
        })
    }

    fn block(&self, columns: &Columns<'_>, codes: &mut [i8]) -> Counts {
        let mut sums = [self.start; BLOCK];
        // SAFETY: the function was chosen for instructions that the CPU has.
        unsafe { (self.sums)(columns, &mut sums) };
        let lanes = codes.len().next_multiple_of(16);
        let saturations = self.table.uniform(&self.requant, &self.output, &sums[..lanes], lanes, codes);
        Counts { saturations, ..Counts::default() }
    }
}

/// `n` channels of every pixel of an image.
struct Columns<'a> {
    image: &'a [i8],
    c: usize,
    first: usize,
    n: usize,
}

versions!(sums, add_columns(columns: &Columns<'_>, sums: &mut [i32; BLOCK]) -> ());

#[inline(always)]
fn add_columns(columns: &Columns<'_>, sums: &mut [i32; BLOCK]) {
    let pixels = columns.image.chunks_exact(columns.c);
    if columns.n == BLOCK {
        for pixel in pixels {
            let pixel = &pixel[columns.first..][..BLOCK];
            (0..BLOCK).for_each(|i| sums[i] += i32::from(pixel[i]));
        }
    } else {
        for pixel in pixels {
            let pixel = &pixel[columns.first..][..columns.n];
            sums.iter_mut().zip(pixel).for_each(|(sum, &q)| *sum += i32::from(q));
        }
    }
}
