//! A batch norm of its own: codes, shifted left, are its accumulators; vectors requantise them.
//!
//! Refused: registers with which an accumulator could overflow, and more channels than a buffer on the
//! stack has lanes.

use super::pack::Block;
use super::requant::Requant;
use super::table::{Kernels, MAX_SUMS, Store, Table};
use super::tasks::{each_chunk, whole_units};
use super::versions::versions;
use crate::op::{Counts, Output, batch_norm};
use crate::trunk::Map;

/// A batch norm prepared for one instruction set.
#[derive(Clone, Debug)]
pub struct Norm {
    table: &'static Table,
    fill: unsafe fn(&mut Fill<'_>),
    zero_point: i32,
    /// In lanes: what a channel's accumulator starts from.
    bias: Vec<i32>,
    channels: usize,
    requant: Requant,
    output: Output,
}

impl Norm {
    /// None where the reference loop must run.
    pub fn new(p: &batch_norm::Int8, kernels: Kernels) -> Option<Self> {
        let (set, table) = (kernels.set()?, kernels.table()?);
        table.requantise?;
        let channels = p.registers.channels();
        let lines = channels.div_ceil(16);
        // On chips without registers the gain is in the factors: those run the plain loop.
        let shifted = p.factors.iter().all(|&f| f == 1 << batch_norm::HEADROOM_BITS);
        if channels == 0 || lines * 16 > MAX_SUMS || !shifted {
            return None;
        }
        let whole = Block { first: 0, channels, lines, input: 0, weights: 0, lane: 0 };
        let largest = vec![255 << batch_norm::HEADROOM_BITS; lines * 16];
        let requant = Requant::of(&p.registers, &p.output, &[whole], &largest)?;
        let mut bias = p.registers.bias.clone();
        // A constant channel's register holds no bias.
        for (bias, m) in bias.iter_mut().zip(&p.registers.multipliers) {
            *bias = if m.mantissa == 0 { 0 } else { *bias };
        }
        bias.resize(lines * 16, 0);
        Some(Self { table, fill: fill(set), zero_point: p.input_zero_point, bias, channels, requant, output: p.output })
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts.
    pub fn run_into(&self, x: Map<'_>, out: &mut [i8]) -> Counts {
        assert_eq!(x.codes.len(), out.len(), "a batch norm keeps its map's shape");
        let Some(requantise) = self.table.requantise else { return Counts::default() };
        let (channels, lanes) = (self.channels, self.bias.len());
        let together = MAX_SUMS / lanes;
        each_chunk(out, whole_units(channels), |first, codes| {
            let mut sums = [0i32; MAX_SUMS];
            let mut saturations = 0;
            for (i, codes) in codes.chunks_mut(together * channels).enumerate() {
                let x = &x.codes[first + i * together * channels..][..codes.len()];
                let sums = &mut sums[..codes.len() / channels * lanes];
                let mut work = Fill { norm: self, x, sums };
                // SAFETY: the function was chosen for instructions that the CPU has.
                unsafe { (self.fill)(&mut work) };
                let mut store = Store {
                    style: self.requant.style,
                    halved: self.requant.halved,
                    sums,
                    lanes,
                    channels,
                    factor: &self.requant.factor,
                    right: &self.requant.right,
                    offset: &self.requant.offset,
                    lo: self.output.clamp.lo(),
                    hi: self.output.clamp.hi(),
                    saturates: self.requant.saturates,
                    codes,
                    pitch: channels,
                };
                store.check();
                // SAFETY: a table exists only where the CPU has its instructions, and the store is checked.
                saturations += unsafe { requantise(&mut store) };
            }
            Counts { saturations, ..Counts::default() }
        })
    }
}

/// Positions whose accumulators are to be made.
struct Fill<'a> {
    norm: &'a Norm,
    x: &'a [i8],
    sums: &'a mut [i32],
}

versions!(fill, fill_sums(work: &mut Fill<'_>) -> ());

#[inline(always)]
fn fill_sums(work: &mut Fill<'_>) {
    let Norm { zero_point, bias, channels, .. } = work.norm;
    let positions = work.sums.chunks_exact_mut(bias.len()).zip(work.x.chunks_exact(*channels));
    for (sums, x) in positions {
        for ((sum, &q), &bias) in sums.iter_mut().zip(x).zip(bias) {
            *sum = ((i32::from(q) - zero_point) << batch_norm::HEADROOM_BITS) + bias;
        }
    }
}
