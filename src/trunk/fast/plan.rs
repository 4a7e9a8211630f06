//! One layer on the fast kernels: what is packed once, and how a batch runs through it.

use super::geometry::{Geometry, Windows};
use super::pack::{Block, Line, Runs, blocks, lines};
use super::requant::Requant;
use super::table::{Kernels, MAX_SUMS, POSITIONS, Store, Table, Tile, Window};
use crate::op::product::{Join, Product};
use crate::op::{Conv2d, Counts, Linear};
use crate::quant::weights::WeightCodes;
use crate::tensor::Shape;
use crate::trunk::Map;
use crate::units::Macs;
use rayon::prelude::*;
use std::cell::RefCell;

/// A convolution or linear layer with its weights packed for one instruction set.
#[derive(Clone, Debug)]
pub struct Plan {
    table: &'static Table,
    geometry: Geometry,
    /// The input as the geometry sees it: a linear layer's is flattened.
    input: Shape,
    out_c: usize,
    depth: usize,
    zero: i8,
    blocks: Vec<Block>,
    weights: Weights,
    /// In lanes: what turns raw products into centred ones; the same with the bias.
    centre: Vec<i32>,
    biased: Vec<i32>,
    requant: Option<Requant>,
}

#[derive(Clone, Debug)]
enum Weights {
    Lines {
        lines: Vec<Line>,
        steps: usize,
    },
    /// `[tap][channel]`.
    Depthwise(Vec<i8>),
}

impl Plan {
    /// The fast form of a convolution on maps of shape `input`; none where the reference loop must run.
    pub fn conv2d(conv: &Conv2d, input: Shape, codes: &WeightCodes, p: &Product, kernels: Kernels) -> Option<Self> {
        let table = kernels.table()?;
        let output = conv.output_shape(input).ok()?;
        if codes.zero_point != 0 || output.elements() == 0 || conv.depth() == 0 {
            return None;
        }
        let is_depthwise = conv.is_depthwise() && conv.out_c == conv.in_c;
        let blocks = if is_depthwise { one_block(conv.out_c) } else { blocks(conv) };
        // The depthwise loops take signed codes on every instruction set.
        let is_flipped = table.unsigned_inputs && !is_depthwise;
        let offset = p.input_zero_point + if is_flipped { 128 } else { 0 };
        let lanes = blocks.last().map_or(0, |b| b.lane + b.lanes());
        let (mut centre, mut biased, mut largest) = (vec![0i32; lanes], vec![0i32; lanes], vec![0i64; lanes]);
        let widest = i64::from((-128 - p.input_zero_point).abs().max((127 - p.input_zero_point).abs()));
        for block in &blocks {
            for c in 0..block.channels {
                let (filter, lane) = (&codes.codes[(block.first + c) * conv.depth()..][..conv.depth()], block.lane + c);
                let sum = filter.iter().fold(0i32, |s, &w| s.wrapping_add(i32::from(w)));
                centre[lane] = sum.wrapping_mul(offset).wrapping_neg();
                biased[lane] = centre[lane].wrapping_add(p.registers.bias[block.first + c]);
                largest[lane] = widest * filter.iter().map(|&w| i64::from(w).abs()).sum::<i64>();
            }
        }
        if largest.iter().any(|&sum| sum > i64::from(i32::MAX)) {
            return None;
        }
        let weights = if is_depthwise {
            let (taps, channels) = (conv.depth(), conv.out_c);
            let by_tap = (0..taps).flat_map(|t| (0..channels).map(move |c| c * taps + t));
            Weights::Depthwise(by_tap.map(|i| codes.codes[i]).collect())
        } else {
            Weights::Lines { lines: lines(conv, &blocks, &codes.codes), steps: Runs::of(conv).steps() }
        };
        Some(Self {
            table,
            geometry: Geometry::new(conv, input, output, !is_depthwise, is_flipped),
            input,
            out_c: conv.out_c,
            depth: conv.depth(),
            zero: p.input_zero_point as i8,
            requant: Requant::new(p, &blocks, &largest).filter(|_| table.requantise.is_some()),
            blocks,
            weights,
            centre,
            biased,
        })
    }

    /// A linear layer is a 1×1 convolution of a map of one position.
    pub fn linear(linear: &Linear, codes: &WeightCodes, p: &Product, kernels: Kernels) -> Option<Self> {
        let conv = Conv2d::square(linear.inputs, linear.outputs, 1, 1, 0);
        Self::conv2d(&conv, Shape::vector(linear.inputs), codes, p, kernels)
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts. `p` is what the
    /// plan was made from.
    pub fn run_into(&self, x: Map<'_>, p: &Product, join: Option<Join<'_>>, out: &mut [i8]) -> Counts {
        assert_eq!(x.shape.elements(), self.input.elements(), "a plan is made for one shape");
        assert_eq!(out.len(), x.batch * self.geometry.output.elements(), "a plan is made for one shape");
        if out.is_empty() {
            return Counts::default();
        }
        let rows = self.geometry.rows_per_task(x.batch);
        let row = self.geometry.output.w * self.out_c;
        let macs = Macs((out.len() * self.depth) as u64);
        let tasks = out.par_chunks_mut(rows * row).enumerate();
        let counts: Counts = tasks
            .map(|(i, codes)| {
                SCRATCH.with_borrow_mut(|scratch| {
                    self.geometry.place(self.table, x, self.zero, i * rows, codes.len() / row, &mut scratch.windows);
                    let source = self.geometry.source(x, &scratch.windows);
                    let mut task =
                        Task { plan: self, p, join, first: i * rows * row, codes, counts: Counts::default() };
                    match &self.weights {
                        Weights::Lines { lines, steps } => {
                            task.lines(source, &scratch.windows.bases, lines, *steps);
                        }
                        Weights::Depthwise(weights) => {
                            task.depthwise(source, &scratch.windows.bases, weights, &mut scratch.sums);
                        }
                    }
                    task.counts
                })
            })
            .sum();
        counts + Counts { macs, ..Counts::default() }
    }
}

/// Depthwise channels are one block.
fn one_block(channels: usize) -> Vec<Block> {
    vec![Block { first: 0, channels, lines: channels.div_ceil(16), input: 0, weights: 0, lane: 0 }]
}

thread_local! {
    /// One per thread for the life of the program: a task allocates only when it is the largest yet.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    windows: Windows,
    sums: Vec<i32>,
}

/// A few output rows of one call.
struct Task<'a> {
    plan: &'a Plan,
    p: &'a Product,
    join: Option<Join<'a>>,
    /// The first output element, counted over the batch.
    first: usize,
    codes: &'a mut [i8],
    counts: Counts,
}

impl Task<'_> {
    /// What sums start from: the vector store expects the bias in them, the scalar one adds it.
    fn init(&self) -> &[i32] {
        if self.plan.requant.is_some() { &self.plan.biased } else { &self.plan.centre }
    }

    /// Blocks outside, positions inside: a block's weights stay in cache while positions pass.
    fn lines(&mut self, source: &[i8], bases: &[usize], lines: &[Line], steps: usize) {
        let plan = self.plan;
        let mut sums = [0i32; MAX_SUMS];
        for block in &plan.blocks {
            let mut position = 0;
            for at in bases.chunks(POSITIONS) {
                let mut tile = Tile {
                    input: &source[block.input..],
                    at,
                    segments: &plan.geometry.segments,
                    steps,
                    weights: &lines[block.weights..],
                    lines: block.lines,
                    init: &self.init()[block.lane..],
                    sums: &mut sums[..at.len() * block.lanes()],
                };
                tile.check();
                // SAFETY: a table exists only where the CPU has its instructions, and the tile is checked.
                unsafe { (plan.table.tile)(&mut tile) };
                self.finish(block, position, &mut sums[..at.len() * block.lanes()]);
                position += at.len();
            }
        }
    }

    fn depthwise(&mut self, source: &[i8], bases: &[usize], weights: &[i8], sums: &mut Vec<i32>) {
        let plan = self.plan;
        let block = &plan.blocks[0];
        sums.clear();
        sums.resize(block.lanes(), 0);
        for (position, &at) in bases.iter().enumerate() {
            let mut window = Window {
                input: &source[at..],
                taps: &plan.geometry.taps,
                weights,
                init: self.init(),
                sums: &mut sums[..plan.out_c],
            };
            // SAFETY: a table exists only where the CPU has its instructions.
            unsafe { (plan.table.depthwise)(&mut window) };
            self.finish(block, position, sums);
        }
    }

    /// From sums to codes: `sums` are those of positions from `position` on.
    fn finish(&mut self, block: &Block, position: usize, sums: &mut [i32]) {
        let (plan, lanes) = (self.plan, block.lanes());
        let start = position * plan.out_c + block.first;
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
                codes: &mut self.codes[start..],
                pitch: plan.out_c,
            };
            store.check();
            // SAFETY: a table exists only where the CPU has its instructions, and the store is checked.
            self.counts.saturations += unsafe { requantise(&mut store) };
            return;
        }
        for (i, sums) in sums.chunks_exact(lanes).enumerate() {
            let start = start + i * plan.out_c;
            for (c, &sum) in sums[..block.channels].iter().enumerate() {
                let has = if plan.requant.is_some() { self.p.registers.bias[block.first + c] } else { 0 };
                let joined = i64::from(sum) - i64::from(has) + self.join.map_or(0, |j| j.at(self.first + start + c));
                let code = self.p.registers.code(block.first + c, joined, &self.p.output, &mut self.counts);
                self.codes[start + c] = code;
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
