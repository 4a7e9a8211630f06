//! One layer on the fast kernels: what is packed once, and how a batch runs through it.

use super::geometry::{Geometry, Windows};
use super::pack::{Block, Groups, Line, Runs, blocks, lines};
use super::requant::Requant;
use super::table::{Kernels, Table};
use super::task::{After, Scratch, Task};
use crate::graph::MAX_MAP_ELEMENTS;
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
    pub(super) table: &'static Table,
    pub(super) geometry: Geometry,
    /// The input as the geometry sees it: a linear layer's is flattened.
    input: Shape,
    pub(super) out_c: usize,
    depth: usize,
    zero: i8,
    pub(super) blocks: Vec<Block>,
    pub(super) lines: Vec<Line>,
    /// Groups of four inputs per segment of a window.
    pub(super) steps: usize,
    /// In lanes: what turns raw products into centred ones; the same with the bias.
    pub(super) centre: Vec<i32>,
    pub(super) biased: Vec<i32>,
    pub(super) requant: Option<Requant>,
}

impl Plan {
    /// The fast form of a convolution on maps of shape `input`; none where the reference loop must run.
    pub fn conv2d(conv: &Conv2d, input: Shape, codes: &WeightCodes, p: &Product, kernels: Kernels) -> Option<Self> {
        let table = kernels.table()?;
        let output = conv.output_shape(input).ok()?;
        let one_by_one = conv.is_depthwise() && conv.out_c == conv.in_c;
        if one_by_one || p.accumulator.is_some() || output.elements() == 0 || conv.depth() == 0 {
            return None;
        }
        // Rows are copied with their padding, which may be far larger than the map.
        let padded = |side: usize, [before, after]: [usize; 2]| side.checked_add(before)?.checked_add(after);
        let height = padded(input.h, [conv.pad[0], conv.pad[2]])?;
        let width = padded(input.w, [conv.pad[1], conv.pad[3]])?;
        height.checked_mul(width)?.checked_mul(input.c).filter(|&n| n <= MAX_MAP_ELEMENTS)?;
        let groups = Groups::new(conv, codes);
        let blocks = blocks(conv, &groups);
        let offset = p.input_zero_point + if table.unsigned_inputs { 128 } else { 0 };
        let lanes = blocks.last().map_or(0, |b| b.lane + b.lanes());
        let (mut centre, mut biased, mut largest) = (vec![0i32; lanes], vec![0i32; lanes], vec![0i64; lanes]);
        let widest = i64::from((-128 - p.input_zero_point).abs().max((127 - p.input_zero_point).abs()));
        for block in &blocks {
            for c in 0..block.channels {
                let (filter, lane) = (&codes.codes[(block.first + c) * conv.depth()..][..conv.depth()], block.lane + c);
                let zero = codes.zero_point(block.first + c);
                let centred = filter.iter().map(|&w| i32::from(w) - zero);
                let sum = centred.clone().fold(0i32, |s, w| s.wrapping_add(w));
                centre[lane] = sum.wrapping_mul(offset).wrapping_neg();
                biased[lane] = centre[lane].wrapping_add(p.registers.bias[block.first + c]);
                largest[lane] = widest * centred.map(|w| i64::from(w).abs()).sum::<i64>();
            }
        }
        if largest.iter().any(|&sum| sum > i64::from(i32::MAX)) {
            return None;
        }
        let mut geometry = Geometry::new(conv, input, output, table.unsigned_inputs);
        let steps;
        (geometry.segments, steps) = groups.segments(geometry.segments, Runs::of(conv).steps());
        Some(Self {
            table,
            geometry,
            input,
            out_c: conv.out_c,
            depth: conv.depth(),
            zero: p.input_zero_point as i8,
            requant: Requant::new(p, &blocks, &largest).filter(|_| table.requantise.is_some()),
            lines: lines(conv, &blocks, codes, &groups),
            steps,
            blocks,
            centre,
            biased,
        })
    }

    /// A linear layer is a 1×1 convolution of a map of one position.
    pub fn linear(linear: &Linear, codes: &WeightCodes, p: &Product, kernels: Kernels) -> Option<Self> {
        let conv = Conv2d::square(linear.inputs, linear.outputs, 1, 1, 0);
        Self::conv2d(&conv, Shape::vector(linear.inputs), codes, p, kernels)
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts; with an addition
    /// after it, that addition's codes and the counts of both. `p` is what the plan was made from.
    pub fn run_into(
        &self,
        x: Map<'_>,
        p: &Product,
        join: Option<Join<'_>>,
        after: Option<After<'_>>,
        out: &mut [i8],
    ) -> [Counts; 2] {
        assert_eq!(x.shape.elements(), self.input.elements(), "a plan is made for one shape");
        assert_eq!(out.len(), x.batch * self.geometry.output.elements(), "a plan is made for one shape");
        assert!(after.is_none_or(|after| after.other.len() == out.len()), "both operands of one shape");
        if out.is_empty() {
            return Default::default();
        }
        let chunk = self.chunk(x.batch);
        let task = |(i, codes): (usize, &mut [i8])| self.task(x, p, join, after, i * chunk, codes, None);
        let both = |a: [Counts; 2], b: [Counts; 2]| [a[0] + b[0], a[1] + b[1]];
        let [own, added] = if out.len() <= chunk || rayon::current_num_threads() == 1 {
            out.chunks_mut(chunk).enumerate().map(task).fold(Default::default(), both)
        } else {
            out.par_chunks_mut(chunk).enumerate().map(task).reduce(Default::default, both)
        };
        [Counts { macs: self.macs(out.len()), ..own }, added]
    }

    /// [`Plan::run_into`] without an addition, which also writes over all of `cut`: 1 where the codes' own range
    /// cut a value off, else 0. That is what the backward pass cannot tell from the codes.
    pub fn run_cutting(
        &self,
        x: Map<'_>,
        p: &Product,
        join: Option<Join<'_>>,
        out: &mut [i8],
        cut: &mut [u8],
    ) -> Counts {
        assert_eq!(x.shape.elements(), self.input.elements(), "a plan is made for one shape");
        assert!(out.len() == x.batch * self.geometry.output.elements() && cut.len() == out.len(), "one shape");
        if out.is_empty() {
            return Counts::default();
        }
        let (chunk, macs) = (self.chunk(x.batch), self.macs(out.len()));
        let pairs = out.par_chunks_mut(chunk).zip(cut.par_chunks_mut(chunk)).enumerate();
        let task = |(i, (codes, cut)): (usize, (&mut [i8], &mut [u8]))| {
            cut.fill(0);
            self.task(x, p, join, None, i * chunk, codes, Some(cut))[0]
        };
        Counts { macs, ..pairs.map(task).sum() }
    }

    /// Elements of a task.
    fn chunk(&self, batch: usize) -> usize {
        self.geometry.positions_per_task(batch) * self.out_c
    }

    fn macs(&self, outputs: usize) -> Macs {
        Macs((outputs * self.depth) as u64)
    }

    /// The codes from element `first` on.
    #[expect(clippy::too_many_arguments, reason = "what a task is, and nothing else is made of")]
    fn task(
        &self,
        x: Map<'_>,
        p: &Product,
        join: Option<Join<'_>>,
        after: Option<After<'_>>,
        first: usize,
        codes: &mut [i8],
        cut: Option<&mut [u8]>,
    ) -> [Counts; 2] {
        OWN.with_borrow_mut(|(windows, scratch)| {
            self.geometry.place(self.table, x, self.zero, first / self.out_c, codes.len() / self.out_c, windows);
            let mut task = Task { plan: self, p, join, after, first, codes, cut, counts: Default::default() };
            task.run(self.geometry.source(x, windows), &windows.bases, scratch);
            task.counts
        })
    }
}

thread_local! {
    /// One per thread for the life of the program: a task allocates only when it is the largest yet.
    static OWN: RefCell<(Windows, Scratch)> = RefCell::default();
}
