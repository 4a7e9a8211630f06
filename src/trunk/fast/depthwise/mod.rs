//! Depthwise convolutions: one filter per channel, so vectors run along channels.
//!
//! The rows under an output row are interleaved once: a lane of 32 bits holds one channel's codes of
//! as many rows as fit (four bytes, or two words where the CPU multiplies words). A dot-product
//! instruction then takes a column of the window at once, and neighbouring outputs share the columns.
//! The interleaved strip is one output row long and carries the border; the map is never copied.
//!
//! Refused, so that the general path or the reference loop runs: several filters per channel, weights
//! with a zero point, sums that may leave 32 bits.

mod plain;
#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "positions of a register tile are indexed alike")]
mod x86;

#[cfg(target_arch = "aarch64")]
#[expect(clippy::needless_range_loop, reason = "positions of a register tile are indexed alike")]
mod neon;

use super::finish::Finish;
use super::pack::Block;
use super::requant::Requant;
use super::table::{InstructionSet, Kernels, Table};
use super::tasks::each_chunk;
use crate::op::product::{Join, Product};
use crate::op::{Conv2d, Counts, Output, Registers};
use crate::quant::weights::WeightCodes;
use crate::tensor::Shape;
use crate::trunk::Map;
use crate::units::Macs;
use std::cell::RefCell;

/// 16 channels × the taps of one lane: one cache line, and one 512-bit register.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Taps(pub [i32; 16]);

/// How one instruction set multiplies: what its lanes hold, and its loops. These are unsafe to call
/// because the CPU must have the instructions.
#[derive(Debug)]
struct Form {
    /// Rows per lane: four of a byte, or two of a word.
    rows: usize,
    /// What is added to every input code: 128 where the instruction wants unsigned inputs.
    offset: i32,
    interleave: unsafe fn(&mut Interleave<'_>),
    tile: unsafe fn(&mut Tile<'_>),
}

impl Form {
    fn of(set: InstructionSet) -> &'static Form {
        match set {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Vnni => &x86::AVX512,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::AvxVnni => &x86::AVX_VNNI,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => &x86::AVX2,
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => &neon::NEON,
            _ => &plain::PLAIN,
        }
    }

    /// A lane of one channel's values in consecutive rows; rows that do not exist are zero.
    fn lane(&self, values: &[i8], offset: i32) -> i32 {
        let bits = 32 / self.rows;
        let mask = u32::MAX >> (32 - bits);
        let field = |(i, &v): (usize, &i8)| (((i32::from(v) + offset) as u32) & mask) << (bits * i);
        values.iter().enumerate().map(field).fold(0, |lane, field| lane | field) as i32
    }
}

/// Some rows of codes, to be interleaved: `pixels` times `channels` lanes.
struct Interleave<'a> {
    /// Those that a form does not use are any rows.
    rows: [&'a [i8]; 4],
    pixels: usize,
    channels: usize,
    /// Codes from one pixel to the next, and lanes.
    from_pitch: usize,
    to_pitch: usize,
    to: &'a mut [i32],
}

impl Interleave<'_> {
    /// Everything that the unsafe loops rely on.
    fn check(&self) {
        let codes = (self.pixels - 1) * self.from_pitch + self.channels;
        assert!(self.pixels > 0 && self.rows.iter().all(|row| row.len() >= codes));
        assert!(self.to.len() >= (self.pixels - 1) * self.to_pitch + self.channels);
    }
}

/// Some output positions × 16 channels.
///
/// Position `i` reads 16 lanes at `at + i * step + offset` for every offset and its weights.
struct Tile<'a> {
    strip: &'a [i32],
    at: usize,
    step: usize,
    offsets: &'a [usize],
    weights: &'a [Taps],
    /// What every position's 16 sums start from.
    init: &'a [i32],
    /// `[position][channel]`.
    sums: &'a mut [i32],
}

impl Tile<'_> {
    fn positions(&self) -> usize {
        self.sums.len() / 16
    }

    /// Everything that the unsafe loops rely on.
    fn check(&self) {
        assert!(self.weights.len() == self.offsets.len() && self.init.len() >= 16 && self.positions() > 0);
        let last = self.at + (self.positions() - 1) * self.step + self.offsets.iter().max().copied().unwrap_or(0);
        assert!(last + 16 <= self.strip.len());
    }
}

/// Positions whose sums are formed before they become codes: what a first-level cache does not notice.
const POSITIONS: usize = 32;
/// Lines of 16 channels that share a strip.
const LINES: usize = 4;
/// A strip larger than this many lanes is a sign of absurd padding.
const MOST_LANES: usize = 1 << 24;

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
    /// `[line][group of rows][column]`.
    weights: Vec<Taps>,
    /// Per lane: what sums start from.
    init: Vec<i32>,
    requant: Option<Requant>,
    registers: Registers,
    rule: Output,
}

impl Depthwise {
    /// The fast form of a convolution on maps of shape `input`; none where another loop must run.
    pub fn new(conv: &Conv2d, input: Shape, codes: &WeightCodes, p: &Product, kernels: Kernels) -> Option<Self> {
        let (set, table) = (kernels.set()?, kernels.table()?);
        let output = conv.output_shape(input).ok()?;
        let one_filter_each = conv.is_depthwise() && conv.out_c == conv.in_c;
        if !one_filter_each || codes.zero_point != 0 || output.elements() == 0 || input.elements() == 0 {
            return None;
        }
        let form = Form::of(set);
        let [kh, kw] = conv.kernel;
        let (depth, lines, groups) = (conv.depth(), conv.out_c.div_ceil(16), kh.div_ceil(form.rows));
        let columns = input.w.checked_add(conv.pad[1])?.checked_add(conv.pad[3])?;
        columns.checked_mul(groups)?.checked_mul(lines * 16).filter(|&lanes| lanes <= MOST_LANES)?;
        let mut weights = vec![Taps([0; 16]); lines * groups * kw];
        let (mut init, mut largest) = (vec![0i32; lines * 16], vec![0i64; lines * 16]);
        let widest = i64::from((-128 - p.input_zero_point).abs().max((127 - p.input_zero_point).abs()));
        for (c, filter) in codes.codes.chunks_exact(depth).enumerate() {
            for g in 0..groups {
                for kx in 0..kw {
                    let rows = g * form.rows..kh.min((g + 1) * form.rows);
                    let column: Vec<i8> = rows.map(|ky| filter[ky * kw + kx]).collect();
                    weights[(c / 16 * groups + g) * kw + kx].0[c % 16] = form.lane(&column, 0);
                }
            }
            let sum = filter.iter().fold(0i32, |s, &w| s.wrapping_add(i32::from(w)));
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
            padding: form.lane(&[zero; 4][..form.rows], form.offset),
            weights,
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
                task.rows(first, codes)
            })
        });
        counts + Counts { macs, ..Counts::default() }
    }

    /// Output rows per task: enough to be worth a thread, few enough to keep every thread busy.
    fn rows_per_task(&self, batch: usize) -> usize {
        const LEAST_PRODUCTS: usize = 64 * 1024;
        let rows = batch * self.output.h;
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
    /// Lanes from one column of the strip to the next, and from one group of rows to the next.
    pitch: usize,
    group: usize,
}

impl Task<'_> {
    fn rows(mut self, first: usize, codes: &mut [i8]) -> Counts {
        let (plan, mut counts) = (self.plan, Counts::default());
        let row = plan.output.w * plan.output.c;
        let lines = plan.output.c.div_ceil(16);
        let spans = lines.div_ceil(LINES);
        for (r, codes) in codes.chunks_exact_mut(row).enumerate() {
            let at = first / row + r;
            let image = self.x.image(at / plan.output.h);
            let mut line = 0;
            for i in 0..spans {
                let own = (lines - line).div_ceil(spans - i);
                let channels = (own * 16).min(plan.output.c - line * 16);
                // A map of few channels is one run of codes, without a tail at every pixel.
                let pitch = if spans == 1 { channels } else { own * 16 };
                let columns = plan.input.w + plan.conv.pad[1] + plan.conv.pad[3];
                let span = Span { line, lines: own, channels, pitch, group: columns * pitch };
                self.fill(image, at % plan.output.h, span);
                self.sums(first + r * row, span, codes, &mut counts);
                line += own;
            }
        }
        counts
    }

    /// Interleaves the input rows under output row `oy`, with what lies left and right of them.
    fn fill(&mut self, image: &[i8], oy: usize, span: Span) {
        let (plan, conv, input) = (self.plan, &self.plan.conv, self.plan.input);
        let groups = conv.kernel[0].div_ceil(plan.form.rows);
        // The last column may be read beyond its end, up to a line.
        self.strip.resize(groups * span.group + 16, 0);
        let (left, right) = (conv.pad[1] * span.pitch, conv.pad[3] * span.pitch);
        let first = span.line * 16;
        for g in 0..groups {
            let source = |i: usize| {
                let ky = g * plan.form.rows + i;
                let iy = (oy * conv.stride[0] + ky * conv.dilation[0]).checked_sub(conv.pad[0]);
                match iy.filter(|&iy| iy < input.h && ky < conv.kernel[0]) {
                    Some(iy) => &image[iy * input.w * input.c..][first..input.w * input.c],
                    None => &plan.outside[first..],
                }
            };
            let strip = &mut self.strip[g * span.group..][..span.group];
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

    /// One output row of a span's channels. `start` is the row's first element, counted over the batch.
    fn sums(&self, start: usize, span: Span, codes: &mut [i8], counts: &mut Counts) {
        let (plan, conv) = (self.plan, &self.plan.conv);
        let [kh, kw] = conv.kernel;
        let groups = kh.div_ceil(plan.form.rows);
        let taps = groups * kw;
        let mut sums = [0i32; POSITIONS * 16];
        OFFSETS.with_borrow_mut(|offsets| {
            offsets.clear();
            let offset = |(g, kx): (usize, usize)| g * span.group + kx * conv.dilation[1] * span.pitch;
            offsets.extend((0..groups).flat_map(|g| (0..kw).map(move |kx| (g, kx))).map(offset));
            for line in 0..span.lines {
                let lane = (span.line + line) * 16;
                for first in (0..plan.output.w).step_by(POSITIONS) {
                    let positions = POSITIONS.min(plan.output.w - first);
                    let mut tile = Tile {
                        strip: self.strip,
                        at: first * conv.stride[1] * span.pitch + line * 16,
                        step: conv.stride[1] * span.pitch,
                        offsets,
                        weights: &plan.weights[(span.line + line) * taps..][..taps],
                        init: &plan.init[lane..],
                        sums: &mut sums[..positions * 16],
                    };
                    tile.check();
                    // SAFETY: a form exists only where the CPU has its instructions, and the tile is checked.
                    unsafe { (plan.form.tile)(&mut tile) };
                    let at = first * plan.output.c + lane;
                    let channels = 16.min(plan.output.c - lane);
                    let sums = &mut sums[..positions * 16];
                    self.finish.codes(lane, channels, sums, start + at, &mut codes[at..], counts);
                }
            }
        });
    }
}

thread_local! {
    static OFFSETS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}
