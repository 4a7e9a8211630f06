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

impl Finish<'_> {
    /// Codes of `channels` channels from `lane` on; `sums` are `[position][16]`. `start` is the first
    /// code's index, counted over the batch.
    pub fn codes(
        &self,
        lane: usize,
        channels: usize,
        sums: &mut [i32],
        start: usize,
        codes: &mut [i8],
        counts: &mut Counts,
    ) {
        let vector = self.requant.zip(self.table.requantise);
        let vector = vector.filter(|(requant, _)| self.joins(channels, start, sums, requant.limit));
        let Some((requant, requantise)) = vector else {
            return self.one_by_one(lane, channels, sums, start, codes, counts);
        };
        let mut store = Store {
            style: requant.style,
            halved: requant.halved,
            sums,
            lanes: 16,
            channels,
            factor: &requant.factor[lane..],
            right: &requant.right[lane..],
            offset: &requant.offset[lane..],
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

    fn one_by_one(
        &self,
        lane: usize,
        channels: usize,
        sums: &[i32],
        start: usize,
        codes: &mut [i8],
        counts: &mut Counts,
    ) {
        for (i, sums) in sums.chunks_exact(16).enumerate() {
            for (c, &sum) in sums[..channels].iter().enumerate() {
                let (at, channel) = (i * self.pitch + c, lane + c);
                let has = if self.requant.is_some() { self.registers.bias[channel] } else { 0 };
                let joined = i64::from(sum) - i64::from(has) + self.join.map_or(0, |j| j.at(start + at));
                codes[at] = self.registers.code(channel, joined, self.output, counts);
            }
        }
    }

    /// Adds the tap-in to the sums, if there is one; not if that takes any beyond `limit`.
    fn joins(&self, channels: usize, start: usize, sums: &mut [i32], limit: i64) -> bool {
        let Some(join) = self.join else { return true };
        let joined = |sums: &[i32], i: usize, c: usize| i64::from(sums[c]) + join.at(start + i * self.pitch + c);
        let is_calm = |(i, sums): (usize, &[i32])| (0..channels).all(|c| joined(sums, i, c).abs() <= limit);
        let calm = sums.chunks_exact(16).enumerate().all(is_calm);
        if calm {
            for (i, sums) in sums.chunks_exact_mut(16).enumerate() {
                (0..channels).for_each(|c| sums[c] = joined(sums, i, c) as i32);
            }
        }
        calm
    }
}
