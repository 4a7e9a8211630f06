//! Depthwise convolutions: one filter per channel, so vectors run along channels.
//!
//! The rows under an output row are interleaved once: a lane of 32 bits holds one channel's codes of
//! as many rows as fit (four bytes, or two words where the CPU multiplies words). A dot-product
//! instruction then takes a column of the window at once, and neighbouring outputs share the columns.
//! The interleaved strip is one output row (or a few short ones) long and carries the border; the map is
//! never copied.
//!
//! Square windows of 3 and 5 need no strip where the CPU interleaves in registers (`direct.rs`).
//!
//! A weight minus its zero point may take nine bits. Where lanes are bytes, such layers take two passes
//! over the window, with a half of every weight each.
//!
//! Refused, so that the general path or the reference loop runs: several filters per channel, and sums
//! that may leave 32 bits.

mod direct;
mod form;
#[cfg(target_arch = "aarch64")]
#[expect(clippy::needless_range_loop, reason = "positions of a register tile are indexed alike")]
mod neon;
mod plain;
#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "positions of a register tile are indexed alike")]
mod x86;

use self::direct::{Direct, INPUT_ROWS, Rows};
use self::form::{Form, Interleave, Taps, Tile};
use super::finish::{Finish, Sums};
use super::pack::Block;
use super::requant::Requant;
use super::table::{Kernels, Table};
use super::tasks::each_chunk;
use crate::op::product::{Join, Product};
use crate::op::{Conv2d, Counts, Output, Registers};
use crate::quant::weights::WeightCodes;
use crate::tensor::Shape;
use crate::trunk::Map;
use crate::units::Macs;
use std::cell::RefCell;

/// Positions whose sums are formed before they become codes: what a first-level cache does not notice.
const POSITIONS: usize = 32;
/// Lines of 16 channels that share a strip.
const LINES: usize = 4;
/// Sums that are formed before they become codes where there is no strip.
const SUMS: usize = 64 * LINES * 16;
/// A strip of more lanes than this for one output row is a sign of absurd padding.
const MOST_LANES: usize = 1 << 20;

/// A depthwise convolution prepared for one instruction set.
#[derive(Clone, Debug)]
pub struct Depthwise {
    form: &'static Form,
    table: &'static Table,
    conv: Conv2d,
    input: Shape,
    output: Shape,
    /// A row of padding.
    outside: Vec<i8>,
    /// A lane of padding.
    padding: i32,
    /// `[line][pass][group of rows][column]`.
    weights: Vec<Taps>,
    passes: usize,
    /// The same weights for loops that need no strip, where there is one.
    direct: Option<Direct>,
    /// Per lane: what sums start from.
    init: Vec<i32>,
    requant: Option<Requant>,
    registers: Registers,
    rule: Output,
}

/// Weights without their zero point, and in how many passes lanes can take them.
struct Centred {
    values: Vec<i32>,
    passes: usize,
}

impl Centred {
    /// None for a weight of 255, which is no sum of two halves of eight bits.
    fn new(codes: &WeightCodes, depth: usize, form: &Form) -> Option<Self> {
        let centred = |(i, &w): (usize, &i8)| i32::from(w) - codes.zero_point(i / depth.max(1));
        let values: Vec<i32> = codes.codes.iter().enumerate().map(centred).collect();
        let fits = |w: i32| i8::try_from(w).is_ok();
        let passes = if form.rows == 2 || values.iter().all(|&w| fits(w)) { 1 } else { 2 };
        (passes == 1 || values.iter().all(|&w| fits(w - (w >> 1)))).then_some(Self { values, passes })
    }

    fn part(&self, w: i32, pass: usize) -> i32 {
        match (self.passes, pass) {
            (1, _) => w,
            (_, 0) => w >> 1,
            _ => w - (w >> 1),
        }
    }
}

impl Depthwise {
    /// The fast form of a convolution on maps of shape `input`; none where another loop must run.
    pub fn new(conv: &Conv2d, input: Shape, codes: &WeightCodes, p: &Product, kernels: Kernels) -> Option<Self> {
        let (set, table) = (kernels.set()?, kernels.table()?);
        let output = conv.output_shape(input).ok()?;
        let one_filter_each = conv.is_depthwise() && conv.out_c == conv.in_c;
        if !one_filter_each || p.accumulator.is_some() || output.elements() == 0 || input.elements() == 0 {
            return None;
        }
        let form = Form::of(set);
        let [kh, kw] = conv.kernel;
        let (depth, lines, groups) = (conv.depth(), conv.out_c.div_ceil(16), kh.div_ceil(form.rows));
        let columns = input.w.checked_add(conv.pad[1])?.checked_add(conv.pad[3])?;
        columns.checked_mul(groups)?.checked_mul(LINES * 16).filter(|&lanes| lanes <= MOST_LANES)?;
        let centred = Centred::new(codes, depth, form)?;
        let direct = Direct::new(conv, &centred, form, set);
        let taps = if direct.is_some() { 0 } else { lines * centred.passes * groups * kw };
        let mut weights = vec![Taps([0; 16]); taps];
        let (mut init, mut largest) = (vec![0i32; lines * 16], vec![0i64; lines * 16]);
        let widest = i64::from((-128 - p.input_zero_point).abs().max((127 - p.input_zero_point).abs()));
        for (c, filter) in centred.values.chunks_exact(depth).enumerate() {
            for pass in 0..if direct.is_some() { 0 } else { centred.passes } {
                for g in 0..groups {
                    for kx in 0..kw {
                        let rows = g * form.rows..kh.min((g + 1) * form.rows);
                        let column = rows.map(|ky| centred.part(filter[ky * kw + kx], pass));
                        let at = ((c / 16 * centred.passes + pass) * groups + g) * kw + kx;
                        weights[at].0[c % 16] = form.lane(column);
                    }
                }
            }
            let sum = filter.iter().fold(0i32, |s, &w| s.wrapping_add(w));
            init[c] = sum.wrapping_mul(p.input_zero_point + form.offset).wrapping_neg();
            largest[c] = widest * filter.iter().map(|&w| i64::from(w).abs()).sum::<i64>();
        }
        if largest.iter().any(|&sum| sum > i64::from(i32::MAX)) {
            return None;
        }
        let whole = Block { first: 0, channels: conv.out_c, lines, input: 0, weights: 0, lane: 0 };
        let requant = Requant::new(p, &[whole], &largest).filter(|_| table.requantise.is_some());
        if requant.is_some() {
            init.iter_mut().zip(&p.registers.bias).for_each(|(init, &bias)| *init = init.wrapping_add(bias));
        }
        let zero = p.input_zero_point as i8;
        Some(Self {
            form,
            table,
            conv: conv.clone(),
            input,
            output,
            outside: vec![zero; input.w * input.c],
            padding: form.lane((0..form.rows).map(|_| p.input_zero_point + form.offset)),
            weights,
            passes: centred.passes,
            direct,
            init,
            requant,
            registers: p.registers.clone(),
            rule: p.output,
        })
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts.
    pub fn run_into(&self, x: Map<'_>, join: Option<Join<'_>>, out: &mut [i8]) -> Counts {
        assert_eq!((x.shape, out.len()), (self.input, x.batch * self.output.elements()), "made for one shape");
        let row = self.output.w * self.output.c;
        let finish = Finish {
            table: self.table,
            requant: self.requant.as_ref(),
            registers: &self.registers,
            output: &self.rule,
            join,
            pitch: self.output.c,
        };
        let macs = Macs((out.len() * self.conv.depth()) as u64);
        let counts = each_chunk(out, self.rows_per_task(x.batch) * row, |first, codes| {
            STRIP.with_borrow_mut(|strip| {
                let task = Task { plan: self, finish: &finish, x, strip };
                match &self.direct {
                    Some(direct) => task.direct(direct, first, codes),
                    None => task.rows(first, codes),
                }
            })
        });
        counts + Counts { macs, ..Counts::default() }
    }

    /// `own` lines from `line` on. A map of few channels is one run of codes, without a tail at every pixel.
    fn span(&self, line: usize, own: usize, whole: bool) -> Span {
        let channels = (own * 16).min(self.output.c - line * 16);
        let pitch = if whole { channels } else { own * 16 };
        let group = (self.input.w + self.conv.pad[1] + self.conv.pad[3]) * pitch;
        let groups = self.conv.kernel[0].div_ceil(self.form.rows);
        Span { line, lines: own, channels, pitch, group, row: groups * group }
    }

    /// Output rows per task: enough to be worth a thread, few enough to keep every thread busy.
    fn rows_per_task(&self, batch: usize) -> usize {
        const LEAST_PRODUCTS: usize = 64 * 1024;
        let rows = (batch * self.output.h).max(1);
        let per_row = self.output.w * self.output.c * self.conv.depth();
        rows.div_ceil(4 * rayon::current_num_threads()).max(LEAST_PRODUCTS / per_row.max(1)).clamp(1, rows)
    }
}

thread_local! {
    /// One per thread for the life of the program: a task allocates only when its strip is the longest yet.
    static STRIP: RefCell<Vec<i32>> = const { RefCell::new(Vec::new()) };
}

/// A few output rows of one call.
struct Task<'a> {
    plan: &'a Depthwise,
    finish: &'a Finish<'a>,
    x: Map<'a>,
    strip: &'a mut Vec<i32>,
}

/// Channels that are computed together, and how their strip is laid out.
#[derive(Clone, Copy)]
struct Span {
    /// The first line of 16 channels, and how many.
    line: usize,
    lines: usize,
    channels: usize,
    /// Lanes from one column of the strip to the next, from one group of input rows to the next, and
    /// from one output row to the next.
    pitch: usize,
    group: usize,
    row: usize,
}

impl<'a> Task<'a> {
    /// The output rows of `codes` without a strip, a few rows at once, 64 channels at a time.
    fn direct(mut self, direct: &Direct, first: usize, codes: &mut [i8]) -> Counts {
        let (plan, mut counts) = (self.plan, Counts::default());
        let Shape { h, w, c } = plan.output;
        let (lines, mut at) = (c.div_ceil(16), first / (w * c));
        let spans = lines.div_ceil(LINES);
        if self.strip.len() < SUMS {
            self.strip.resize(SUMS, 0);
        }
        let mut rest = codes;
        while !rest.is_empty() {
            let together = direct.rows.min(h - at % h).min(rest.len() / (w * c));
            let (codes, after) = rest.split_at_mut(together * w * c);
            let mut line = 0;
            for i in 0..spans {
                let own = (lines - line).div_ceil(spans - i);
                let span = plan.span(line, own, false);
                let positions = (SUMS / (direct.rows * own * 16)).min(w);
                let rows = self.input_rows(at, span);
                for from in (0..w).step_by(positions) {
                    let positions = positions.min(w - from);
                    self.direct_sums(direct, &rows, span, from, positions);
                    for r in 0..together {
                        let values = &mut self.strip[r * positions * own * 16..][..positions * own * 16];
                        let mut sums = Sums { values, lanes: own * 16, first: line * 16, channels: span.channels };
                        let start = (r * w + from) * c + line * 16;
                        self.finish.codes(&mut sums, at * w * c + start, &mut codes[start..], &mut counts);
                    }
                }
                line += own;
            }
            at += together;
            rest = after;
        }
        counts
    }

    /// The input rows under row `at` of the batch and the row below, from a span's first channel on.
    fn input_rows(&self, at: usize, span: Span) -> [&'a [i8]; INPUT_ROWS] {
        let (plan, conv, input) = (self.plan, &self.plan.conv, self.plan.input);
        let image = self.x.image(at / plan.output.h);
        let mut rows = [&plan.outside[span.line * 16..]; INPUT_ROWS];
        for (i, row) in rows.iter_mut().enumerate().take(conv.kernel[0] + 1) {
            let iy = (at % plan.output.h * conv.stride[0] + i).checked_sub(conv.pad[0]);
            if let Some(iy) = iy.filter(|&iy| iy < input.h) {
                *row = &image[iy * input.w * input.c..][span.line * 16..input.w * input.c];
            }
        }
        rows
    }

    /// The sums of `positions` of those rows from `from` on.
    fn direct_sums(&mut self, direct: &Direct, rows: &[&[i8]; INPUT_ROWS], span: Span, from: usize, positions: usize) {
        let (plan, input) = (self.plan, self.plan.input);
        for line in 0..span.lines {
            let first = (span.line + line) * 16;
            let mut work = Rows {
                rows,
                first: line * 16,
                width: input.w,
                pitch: input.c,
                channels: (input.c - first).min(16),
                start: (from * plan.conv.stride[1]) as isize - plan.conv.pad[1] as isize,
                padding: plan.padding,
                weights: direct.weights(span.line + line),
                init: &plan.init[first..],
                positions,
                lanes: span.lines * 16,
                sums: &mut self.strip[line * 16..],
            };
            direct.run(&mut work, span.line + line);
        }
    }

    fn rows(mut self, first: usize, codes: &mut [i8]) -> Counts {
        let (plan, mut counts) = (self.plan, Counts::default());
        let row = plan.output.w * plan.output.c;
        let lines = plan.output.c.div_ceil(16);
        let spans = lines.div_ceil(LINES);
        // Short rows become codes together, which costs less than one by one.
        let together = (POSITIONS / plan.output.w).max(1);
        for (i, codes) in codes.chunks_mut(together * row).enumerate() {
            let start = first + i * together * row;
            let mut line = 0;
            for i in 0..spans {
                let own = (lines - line).div_ceil(spans - i);
                let span = plan.span(line, own, spans == 1);
                // The last column may be read beyond its end, up to a line.
                self.strip.resize(codes.len() / row * span.row + 16, 0);
                for r in 0..codes.len() / row {
                    let at = start / row + r;
                    self.fill(self.x.image(at / plan.output.h), at % plan.output.h, span, r * span.row);
                }
                self.sums(start, span, codes, &mut counts);
                line += own;
            }
        }
        counts
    }

    /// Interleaves the input rows under output row `oy`, with what lies left and right of them, into
    /// the strip from `to` on.
    fn fill(&mut self, image: &[i8], oy: usize, span: Span, to: usize) {
        let (plan, conv, input) = (self.plan, &self.plan.conv, self.plan.input);
        let (left, right) = (conv.pad[1] * span.pitch, conv.pad[3] * span.pitch);
        let first = span.line * 16;
        for g in 0..conv.kernel[0].div_ceil(plan.form.rows) {
            let source = |i: usize| {
                let ky = g * plan.form.rows + i;
                let iy = (oy * conv.stride[0] + ky * conv.dilation[0]).checked_sub(conv.pad[0]);
                match iy.filter(|&iy| iy < input.h && ky < conv.kernel[0]) {
                    Some(iy) => &image[iy * input.w * input.c..][first..input.w * input.c],
                    None => &plan.outside[first..],
                }
            };
            let strip = &mut self.strip[to + g * span.group..][..span.group];
            strip[..left].fill(plan.padding);
            strip[span.group - right..].fill(plan.padding);
            let whole = span.pitch == input.c;
            let mut work = Interleave {
                rows: std::array::from_fn(source),
                pixels: if whole { 1 } else { input.w },
                channels: if whole { input.w * input.c } else { span.channels },
                from_pitch: input.c,
                to_pitch: span.pitch,
                to: &mut strip[left..],
            };
            work.check();
            // SAFETY: a form exists only where the CPU has its instructions, and the work is checked.
            unsafe { (plan.form.interleave)(&mut work) };
        }
    }

    /// The output rows of `codes`, a span's channels. `start` is the first element, counted over the batch.
    fn sums(&self, start: usize, span: Span, codes: &mut [i8], counts: &mut Counts) {
        let (plan, conv, w) = (self.plan, &self.plan.conv, self.plan.output.w);
        let [kh, kw] = conv.kernel;
        let groups = kh.div_ceil(plan.form.rows);
        let taps = plan.passes * groups * kw;
        let rows = codes.len() / (w * plan.output.c);
        let step = conv.stride[1] * span.pitch;
        let lanes = span.lines * 16;
        let mut sums = [0i32; POSITIONS * LINES * 16];
        OFFSETS.with_borrow_mut(|offsets| {
            offsets.clear();
            let offset = |(g, kx): (usize, usize)| g * span.group + kx * conv.dilation[1] * span.pitch;
            for _ in 0..plan.passes {
                offsets.extend((0..groups).flat_map(|g| (0..kw).map(move |kx| (g, kx))).map(offset));
            }
            // Either one row in pieces, or several rows in one piece each.
            for first in (0..w).step_by(POSITIONS) {
                let positions = POSITIONS.min(w - first);
                let sums = &mut sums[..rows * positions * lanes];
                for (r, sums) in sums.chunks_exact_mut(positions * lanes).enumerate() {
                    for line in 0..span.lines {
                        let mut tile = Tile {
                            strip: self.strip,
                            at: r * span.row + first * step + line * 16,
                            step,
                            offsets,
                            weights: &plan.weights[(span.line + line) * taps..][..taps],
                            init: &plan.init[(span.line + line) * 16..],
                            positions,
                            lanes,
                            sums: &mut sums[line * 16..],
                        };
                        tile.check();
                        // SAFETY: a form exists only where the CPU has its instructions, and the tile is checked.
                        unsafe { (plan.form.tile)(&mut tile) };
                    }
                }
                let channel = span.line * 16;
                let at = first * plan.output.c + channel;
                let mut sums = Sums { values: sums, lanes, first: channel, channels: span.channels };
                self.finish.codes(&mut sums, start + at, &mut codes[at..], counts);
            }
        });
    }
}

thread_local! {
    static OFFSETS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}
