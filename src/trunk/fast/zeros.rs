//! What weights with zero points need after their products: `Σ x (w - z) = Σ x w - z Σ x`.
//!
//! A block with an absent channel has the sum of its inputs in that channel, whose weights are ones;
//! another one adds its inputs up. Blocks whose weights all fit their distance from the zero point need
//! neither ([`centred`](super::pack::centred)).

use super::pack::Block;
use super::table::{InstructionSet, Table};
use super::versions::versions;

/// The zero points of one layer's weights.
#[derive(Clone, Debug)]
pub(super) struct Zeros {
    take: unsafe fn(&mut Take<'_>),
    /// In lanes.
    values: Vec<i32>,
    /// By block: whether any of its zero points is not zero.
    needed: Vec<bool>,
    /// What a code as a tile reads it is cut to: a byte, or nothing.
    mask: i32,
}

/// Some positions' inputs, and where they are.
pub(super) struct Inputs<'a> {
    pub codes: &'a [i8],
    pub at: &'a [usize],
    /// Where runs start from there, and how long they are.
    pub segments: &'a [usize],
    pub len: usize,
}

impl Zeros {
    /// None where all are zero.
    pub fn new(values: Vec<i32>, blocks: &[Block], table: &Table, set: InstructionSet) -> Option<Self> {
        let of_block = |block: &Block| values[block.lane..block.lane + block.lanes()].iter().any(|&zero| zero != 0);
        let needed: Vec<bool> = blocks.iter().map(of_block).collect();
        let mask = if table.unsigned_inputs { 0xff } else { -1 };
        needed.contains(&true).then(|| Self { take: take(set), values, needed, mask })
    }

    /// Takes the zero points' part from the sums of block `number`. What inputs have besides is part of
    /// what sums start from.
    pub fn correct(&self, number: usize, block: &Block, inputs: Inputs<'_>, sums: &mut [i32]) {
        if self.needed[number] {
            let total = (block.channels < block.lanes()).then_some(block.channels);
            let zeros = &self.values[block.lane..block.lane + block.lanes()];
            let mut work = Take { inputs, mask: self.mask, total, zeros, sums };
            // SAFETY: the function was chosen for instructions that the CPU has.
            unsafe { (self.take)(&mut work) };
        }
    }
}

/// Positions to be corrected.
struct Take<'a> {
    inputs: Inputs<'a>,
    mask: i32,
    /// The lane that holds the sum of a position's inputs, if one does.
    total: Option<usize>,
    zeros: &'a [i32],
    sums: &'a mut [i32],
}

versions!(take, take_zeros(work: &mut Take<'_>) -> ());

#[inline(always)]
fn take_zeros(work: &mut Take<'_>) {
    let Inputs { codes, at, segments, len } = work.inputs;
    for (&at, sums) in at.iter().zip(work.sums.chunks_exact_mut(work.zeros.len())) {
        let mut total = 0;
        if let Some(lane) = work.total {
            total = sums[lane];
        } else {
            for &segment in segments {
                total += run_total(&codes[at + segment..][..len], work.mask);
            }
        }
        for (sums, zeros) in sums.as_chunks_mut::<16>().0.iter_mut().zip(work.zeros.as_chunks::<16>().0) {
            // Copies, which cannot be the same memory.
            let (mut line, zeros) = (*sums, *zeros);
            for i in 0..16 {
                line[i] = line[i].wrapping_sub(total.wrapping_mul(zeros[i]));
            }
            *sums = line;
        }
    }
}

#[inline(always)]
fn run_total(run: &[i8], mask: i32) -> i32 {
    let mut sums = [0i32; 16];
    let mut pieces = run.chunks_exact(16);
    for piece in &mut pieces {
        for i in 0..16 {
            sums[i] += i32::from(piece[i]) & mask;
        }
    }
    let mut total = 0;
    let (eights, rest) = pieces.remainder().as_chunks::<8>();
    for eight in eights {
        for i in 0..8 {
            sums[i] += i32::from(eight[i]) & mask;
        }
    }
    for &q in rest {
        total += i32::from(q) & mask;
    }
    for sum in sums {
        total += sum;
    }
    total
}
