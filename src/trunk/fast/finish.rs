//! From sums of products to codes: on vectors where the layer is calm, one by one where it is not.

use super::requant::Requant;
use super::table::{Store, Table};
use crate::op::product::Join;
use crate::op::{Counts, Output, Registers};

/// How one layer ends.
pub(super) struct Finish<'a> {
    pub table: &'static Table,
    /// With it, sums hold the bias already; without it they do not.
    pub requant: Option<&'a Requant>,
    pub registers: &'a Registers,
    pub output: &'a Output,
    pub join: Option<Join<'a>>,
    /// Elements from one position to the next.
    pub pitch: usize,
}

/// Sums of some positions and channels.
pub(super) struct Sums<'a> {
    /// `[position][channel]`, padded to `lanes` channels.
    pub values: &'a mut [i32],
    pub lanes: usize,
    /// The first channel, and how many.
    pub first: usize,
    pub channels: usize,
}

impl Finish<'_> {
    /// Turns sums into codes, the first of which has index `start`, counted over the batch.
    pub fn codes(&self, sums: &mut Sums<'_>, start: usize, codes: &mut [i8], counts: &mut Counts) {
        let vector = self.requant.zip(self.table.requantise);
        let vector = vector.filter(|(requant, _)| self.joins(sums, start, requant.limit));
        let Some((requant, requantise)) = vector else {
            return self.one_by_one(sums, start, codes, counts);
        };
        let first = sums.first;
        let mut store = Store {
            style: requant.style,
            halved: requant.halved,
            sums: sums.values,
            lanes: sums.lanes,
            channels: sums.channels,
            factor: &requant.factor[first..],
            right: &requant.right[first..],
            offset: &requant.offset[first..],
            lo: self.output.clamp.lo(),
            hi: self.output.clamp.hi(),
            saturates: requant.saturates,
            codes,
            pitch: self.pitch,
        };
        store.check();
        // SAFETY: a table exists only where the CPU has its instructions, and the store is checked.
        counts.saturations += unsafe { requantise(&mut store) };
    }

    fn one_by_one(&self, sums: &Sums<'_>, start: usize, codes: &mut [i8], counts: &mut Counts) {
        for (i, values) in sums.values.chunks_exact(sums.lanes).enumerate() {
            for (c, &sum) in values[..sums.channels].iter().enumerate() {
                let (at, channel) = (i * self.pitch + c, sums.first + c);
                let has = if self.requant.is_some() { self.registers.bias[channel] } else { 0 };
                let joined = i64::from(sum) - i64::from(has) + self.join.map_or(0, |j| j.at(start + at));
                codes[at] = self.registers.code(channel, joined, self.output, counts);
            }
        }
    }

    /// Adds the tap-in to the sums, if there is one; not if that takes any beyond `limit`.
    fn joins(&self, sums: &mut Sums<'_>, start: usize, limit: i64) -> bool {
        let Some(join) = self.join else { return true };
        let joined = |sum: i32, i: usize, c: usize| i64::from(sum) + join.at(start + i * self.pitch + c);
        let rows = sums.values.chunks_exact(sums.lanes).enumerate();
        let mut all = rows.flat_map(|(i, row)| (0..sums.channels).map(move |c| joined(row[c], i, c)));
        let calm = all.all(|sum| sum.abs() <= limit);
        if calm {
            for (i, row) in sums.values.chunks_exact_mut(sums.lanes).enumerate() {
                row[..sums.channels].iter_mut().enumerate().for_each(|(c, sum)| *sum = joined(*sum, i, c) as i32);
            }
        }
        calm
    }
}
