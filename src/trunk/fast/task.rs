//! A few output positions of one layer: tiles of sums, and how they become codes.

use super::pack::{Block, Line};
use super::plan::Plan;
use super::sum::{Rows, Sum};
use super::table::{MAX_SUMS, Store, Tile};
use crate::op::Counts;
use crate::op::product::{Join, Product};

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
            self.counts[0].saturations += unsafe { requantise(&mut store) };
            return;
        }
        for (i, sums) in sums.chunks_exact(lanes).enumerate() {
            let start = self.first + start + i * plan.out_c;
            for (c, &sum) in sums[..block.channels].iter().enumerate() {
                let has = if plan.requant.is_some() { self.p.registers.bias[block.first + c] } else { 0 };
                let joined = i64::from(sum) - i64::from(has) + self.join.map_or(0, |j| j.at(start + c));
                let code = self.p.registers.code(block.first + c, joined, &self.p.output, &mut self.counts[0]);
                place.codes[i * place.pitch + c] = code;
            }
        }
    }

    /// Adds the tap-in to a tile of sums, if there is one; not if that takes any beyond `limit`.
    fn joins(&self, block: &Block, start: usize, sums: &mut [i32], limit: i64) -> bool {
        let Some(join) = self.join else { return true };
        let (lanes, first) = (block.lanes(), self.first + start);
        let joined = |sums: &[i32], i: usize, c: usize| i64::from(sums[c]) + join.at(first + i * self.plan.out_c + c);
        let is_calm = |(i, sums): (usize, &[i32])| (0..block.channels).all(|c| joined(sums, i, c).abs() <= limit);
        let calm = sums.chunks_exact(lanes).enumerate().all(is_calm);
        if calm {
            for (i, sums) in sums.chunks_exact_mut(lanes).enumerate() {
                (0..block.channels).for_each(|c| sums[c] = joined(sums, i, c) as i32);
            }
        }
        calm
    }
}
