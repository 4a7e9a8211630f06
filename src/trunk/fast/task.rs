//! A few output positions of one layer: tiles of sums, and how they become codes.

use super::pack::{Block, Line};
use super::plan::Plan;
use super::sum::{Rows, Sum};
use super::table::{MAX_LANES, MAX_SUMS, Store, Tile};
use crate::op::Counts;
use crate::op::product::{Join, Product};
use crate::wide::wide;

/// An addition that reads a layer's codes before they are stored.
#[derive(Clone, Copy, Debug)]
pub struct After<'a> {
    pub sum: &'a Sum,
    /// The other operand's codes, for the whole batch.
    pub other: &'a [i8],
    /// Which operand the layer's own codes are.
    pub operand: usize,
}

/// A few output positions of one call.
pub(super) struct Task<'a> {
    pub plan: &'a Plan,
    pub p: &'a Product,
    pub join: Option<Join<'a>>,
    pub after: Option<After<'a>>,
    /// The first output element, counted over the batch.
    pub first: usize,
    pub codes: &'a mut [i8],
    /// Where codes that their own range cut off are marked, if anybody asks; not with an addition after it.
    pub cut: Option<&'a mut [u8]>,
    /// Of the layer, and of the addition after it.
    pub counts: [Counts; 2],
}

/// A tile's sums, and its codes where an addition reads them. What they hold before does not matter.
pub(super) struct Scratch {
    sums: Box<[i32; MAX_SUMS]>,
    own: Box<[i8; MAX_SUMS]>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { sums: Box::new([0; MAX_SUMS]), own: Box::new([0; MAX_SUMS]) }
    }
}

/// Where a tile's codes go.
struct Place<'a> {
    codes: &'a mut [i8],
    pitch: usize,
}

impl Task<'_> {
    /// Blocks outside, positions inside: a block's weights stay in cache while positions pass.
    pub fn run(&mut self, source: &[i8], bases: &[usize], scratch: &mut Scratch) {
        let plan = self.plan;
        let Scratch { sums, own } = scratch;
        for (number, block) in plan.blocks.iter().enumerate() {
            let ahead = plan.blocks.get(number + 1).map_or(&[][..], |next| &plan.lines[next.weights..]);
            let (lanes, channels) = (block.lanes(), block.channels);
            // Narrow blocks take more positions: their sums are as many, and calls are fewer.
            let together = MAX_SUMS / lanes;
            for (i, at) in bases.chunks(together).enumerate() {
                let start = i * together * plan.out_c + block.first;
                let sums = &mut sums[..at.len() * lanes];
                self.tile(block, source, at, if i == 0 { ahead } else { &[] }, sums);
                let Some(after) = self.after else {
                    let codes = std::mem::take(&mut self.codes);
                    self.finish(block, start, sums, Place { codes: &mut codes[start..], pitch: plan.out_c });
                    self.codes = codes;
                    continue;
                };
                self.finish(block, start, sums, Place { codes: &mut own[..], pitch: channels });
                let other = &after.other[self.first + start..];
                let (pitch, codes) = ([channels, plan.out_c], [&own[..], other]);
                let (pitch, codes) = match after.operand {
                    0 => (pitch, codes),
                    _ => ([pitch[1], pitch[0]], [codes[1], codes[0]]),
                };
                after.sum.add(codes, Rows { channels, lanes, pitch }, sums);
                let cut = after.sum.store(sums, lanes, channels, &mut self.codes[start..], plan.out_c);
                self.counts[1].saturations += cut;
            }
        }
    }

    /// The centred sums of products of some positions, with the bias where a vector requantises them.
    fn tile(&self, block: &Block, source: &[i8], at: &[usize], ahead: &[Line], sums: &mut [i32]) {
        let plan = self.plan;
        let input = &source[block.input..];
        let init = if plan.requant.is_some() { &plan.biased } else { &plan.centre };
        let mut tile = Tile {
            input,
            at,
            segments: &plan.geometry.segments,
            steps: plan.steps,
            weights: &plan.lines[block.weights..],
            ahead,
            lines: block.lines,
            init: &init[block.lane..],
            sums,
        };
        tile.check();
        // SAFETY: a table exists only where the CPU has its instructions, and the tile is checked.
        unsafe { (plan.table.tile)(&mut tile) };
    }

    /// From sums to codes; `start` is the first one's element of the task.
    fn finish(&mut self, block: &Block, start: usize, sums: &mut [i32], place: Place<'_>) {
        let (plan, lanes) = (self.plan, block.lanes());
        let vector = plan.requant.as_ref().zip(plan.table.requantise);
        let vector = vector.filter(|(requant, _)| self.joins(block, start, sums, requant.limit));
        if let Some((requant, requantise)) = vector {
            let mut store = Store {
                style: requant.style,
                halved: requant.halved,
                sums,
                lanes,
                channels: block.channels,
                factor: &requant.factor[block.lane..],
                right: &requant.right[block.lane..],
                offset: &requant.offset[block.lane..],
                lo: self.p.output.clamp.lo(),
                hi: self.p.output.clamp.hi(),
                saturates: requant.saturates,
                codes: place.codes,
                pitch: place.pitch,
            };
            store.check();
            // SAFETY: a table exists only where the CPU has its instructions, and the store is checked.
            let saturations = unsafe { requantise(&mut store) };
            self.counts[0].saturations += saturations;
            if let (Some(cut), 1..) = (self.cut.as_deref_mut(), saturations) {
                mark_cut(&mut store, requantise, &mut cut[start..]);
            }
            return;
        }
        for (i, sums) in sums.chunks_exact(lanes).enumerate() {
            let start = self.first + start + i * plan.out_c;
            for (c, &sum) in sums[..block.channels].iter().enumerate() {
                let has = if plan.requant.is_some() { self.p.registers.bias[block.first + c] } else { 0 };
                let joined = i64::from(sum) - i64::from(has) + self.join.map_or(0, |j| j.at(start + c));
                let before = self.counts[0].saturations;
                let code = self.p.registers.code(block.first + c, joined, &self.p.output, &mut self.counts[0]);
                place.codes[i * place.pitch + c] = code;
                if let Some(cut) = &mut self.cut {
                    cut[start - self.first + c] = u8::from(self.counts[0].saturations > before);
                }
            }
        }
    }

    /// Adds the tap-in to a tile of sums, if there is one; not if that takes any beyond `limit`.
    fn joins(&self, block: &Block, start: usize, sums: &mut [i32], limit: i64) -> bool {
        let Some(join) = self.join else { return true };
        let rows = Joined { lanes: block.lanes(), channels: block.channels, pitch: self.plan.out_c, shift: join.shift };
        let values = &join.values.data[self.first + start..];
        let calm = largest_joined(sums, values, rows) <= limit as u64;
        if calm {
            add_joined(sums, values, rows);
        }
        calm
    }
}

/// How a tile's sums and the tap-in's values lie.
#[derive(Clone, Copy)]
struct Joined {
    lanes: usize,
    channels: usize,
    pitch: usize,
    shift: u32,
}

wide! {
    /// The largest magnitude of a sum with what is added to it.
    fn largest_joined(sums: &[i32], values: &[i16], rows: Joined) -> u64 {
        let mut largest = 0;
        for (sums, values) in sums.chunks_exact(rows.lanes).zip(values.chunks(rows.pitch)) {
            let pairs = sums[..rows.channels].iter().zip(&values[..rows.channels]);
            let joined = pairs.map(|(&sum, &value)| i64::from(sum) + (i64::from(value) << rows.shift));
            largest = joined.fold(largest, |most: u64, sum| most.max(sum.unsigned_abs()));
        }
        largest
    }
}

wide! {
    /// Adds the values to sums that 32 bits hold.
    fn add_joined(sums: &mut [i32], values: &[i16], rows: Joined) {
        for (sums, values) in sums.chunks_exact_mut(rows.lanes).zip(values.chunks(rows.pitch)) {
            let pairs = sums[..rows.channels].iter_mut().zip(&values[..rows.channels]);
            // Both together fit, so what wraps on the way comes back.
            pairs.for_each(|(sum, &value)| *sum = sum.wrapping_add((i64::from(value) << rows.shift) as i32));
        }
    }
}

/// Marks the codes of a store that has run and that their own range cut off. With its offset one lower, a value
/// is at the upper bound only if it was beyond that bound before; so with one higher at the lower.
fn mark_cut(store: &mut Store<'_>, requantise: unsafe fn(&mut Store<'_>) -> u64, cut: &mut [u8]) {
    let (lanes, offset) = (store.lanes, store.offset);
    let (mut moved, mut codes) = ([0i32; MAX_LANES], [0i8; MAX_SUMS]);
    let [least, most] = store.saturates;
    let (lo, hi) = (store.lo as i8, store.hi as i8);
    for (asked, by, bound) in [(most < i32::MAX, -1, hi), (least > i32::MIN, 1, lo)] {
        if !asked {
            continue;
        }
        moved.iter_mut().zip(offset).for_each(|(to, &from)| *to = from.saturating_add(by));
        let (channels, positions) = (store.channels, store.positions());
        let mut again =
            Store { offset: &moved[..lanes], codes: &mut codes[..positions * channels], pitch: channels, ..*store };
        again.check();
        // SAFETY: the caller's function ran on the same store, which differs by its offsets and its checked place.
        unsafe { requantise(&mut again) };
        for (codes, cut) in codes.chunks_exact(channels).take(positions).zip(cut.chunks_mut(store.pitch)) {
            cut.iter_mut().zip(codes).for_each(|(cut, &code)| *cut |= u8::from(code == bound));
        }
    }
}
