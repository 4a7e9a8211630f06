//! A layer's packed weights, and how a batch of errors runs through them.

use super::axis::{Axis, Phase};
use super::pack::{self, Format, LANES, Packed, Weights};
use super::store::{Cell, Store};
use super::strip::{Errors, Strip};
use super::tile::{MAX_SUMS, POSITIONS, Sum, Tile, pick};
use crate::quant::error_code::GradFormat;
use crate::tensor::Shape;
use crate::trunk::fast::InstructionSet;
use std::ops::Range;

/// A convolution's input gradient as products of matrices, one for every phase of its stride.
#[derive(Clone, Debug)]
pub(super) struct Product {
    set: InstructionSet,
    sum: Sum,
    axes: [Axis; 2],
    strip: Strip,
    input: Shape,
    packed: Packed,
}

/// Rows of some neighbouring images.
#[derive(Clone, Debug)]
pub(super) struct Band {
    pub images: Range<usize>,
    pub rows: Range<usize>,
}

impl Product {
    pub fn new(weights: Weights<'_>, input: Shape, format: GradFormat, set: InstructionSet) -> Option<Self> {
        let conv = weights.conv;
        let output = conv.output_shape(input).ok()?;
        let (format, largest) = match format {
            GradFormat::F32 => (Format::F32, 0),
            GradFormat::Int16 => (Format::Pairs, 1 << 15),
            GradFormat::Int12 => (Format::Pairs, 1 << 11),
            GradFormat::Int8 if !fits_bytes(weights.codes) => (Format::Pairs, 1 << 7),
            GradFormat::Int8 => (Format::Quads, 1 << 7),
        };
        // Pairs do for bytes where nothing multiplies these.
        let (format, sum) = match pick(set, format) {
            Some(sum) => (format, sum),
            None => (Format::Pairs, pick(set, Format::Pairs)?),
        };
        let axes = [Axis::new(conv, 0, input.h)?, Axis::new(conv, 1, input.w)?];
        let strip = Strip::new(conv, &axes, input, output, format)?;
        let packed = pack::pack(weights, format, &axes, strip.pitch, largest);
        Some(Self { set, sum, axes, strip, input, packed })
    }

    /// Whether every sum fits 32 bits.
    pub fn is_narrow(&self) -> bool {
        self.packed.blocks.iter().flatten().all(|block| block.chunks.len() <= 1)
    }

    /// How many images, or else how many rows of one, a task takes: what keeps its errors in a core's own
    /// cache, and every thread busy.
    pub fn cut(&self, batch: usize) -> (usize, usize) {
        /// Half of a second-level cache of one MiB: the weights of a block want the rest.
        const WORDS: usize = 128 * 1024;
        let (h, threads) = (self.input.h, rayon::current_num_threads());
        let image = self.rows(&(0..h)).1 * self.strip.pitch.row;
        if image <= WORDS && batch >= threads {
            return ((WORDS / image).clamp(1, batch.div_ceil(threads)), h);
        }
        let stride = self.axes[0].phases.len();
        let most = h.div_ceil(threads.div_ceil(batch)).next_multiple_of(stride);
        let fits = |rows: &usize| self.rows(&(0..*rows)).1 * self.strip.pitch.row <= WORDS;
        let rows = (stride..=most).step_by(stride).take_while(fits).last().unwrap_or(stride);
        (1, rows.min(h))
    }

    /// The first row of errors that reaches a band of rows, and how many do.
    fn rows(&self, rows: &Range<usize>) -> (isize, usize) {
        let (top, bottom) = self.axes[0].readers(rows.start, rows.end - 1);
        // A band that nothing reads has a row all the same, of which nothing is used.
        (top, (bottom - top + 1).max(1) as usize)
    }

    /// Writes the gradients of a band over all of `to`.
    pub fn run<T: Cell>(&self, errors: Errors<'_>, band: &Band, scratch: &mut Scratch, to: &mut [T]) {
        let (top, rows) = self.rows(&band.rows);
        let image = rows * self.strip.pitch.row;
        let Scratch { strip, at, to: places } = scratch;
        let words = band.images.len() * image;
        if strip.len() < words {
            strip.resize(words, 0);
        }
        for (n, strip) in band.images.clone().zip(strip.chunks_exact_mut(image)) {
            self.strip.fill(self.set, errors, n, top, strip);
        }
        if self.packed.blocks.iter().flatten().any(|block| block.chunks.is_empty()) {
            to.fill(T::default());
        }
        let [vertical, horizontal] = &self.axes;
        let phases = vertical.phases.iter().flat_map(|y| horizontal.phases.iter().map(move |x| [y, x]));
        for (phase, blocks) in phases.zip(&self.packed.blocks) {
            if phase.iter().all(|axis| !axis.taps.is_empty()) {
                at.clear();
                places.clear();
                self.place(band, phase, (top, image), at, places);
                for block in blocks {
                    self.block(block, &strip[block.source..words], (at, places), to);
                }
            }
        }
    }

    /// Finds the windows of a phase's positions in the strip, and where their gradients belong.
    fn place(
        &self,
        band: &Band,
        phase: [&Phase; 2],
        (top, image): (isize, usize),
        at: &mut Vec<usize>,
        places: &mut Vec<usize>,
    ) {
        let back = phase.map(|phase| phase.taps.last().map_or(0, |tap| tap.back) as isize);
        let Shape { w, c, .. } = self.input;
        let pitch = self.strip.pitch;
        let columns = self.axes[1].positions(phase[1], 0, w);
        for n in 0..band.images.len() {
            for (y, own) in self.axes[0].positions(phase[0], band.rows.start, band.rows.end) {
                let row = n * image + (own as isize - back[0] - top) as usize * pitch.row;
                let to = (n * band.rows.len() + y - band.rows.start) * w;
                for (x, own) in columns.clone() {
                    at.push(row + (own as isize - back[1] - self.strip.left()) as usize * pitch.pixel);
                    places.push((to + x) * c);
                }
            }
        }
    }

    /// The gradients of a block of channels.
    fn block<T: Cell>(&self, block: &pack::Block, source: &[u32], (at, places): (&[usize], &[usize]), to: &mut [T]) {
        let mut sums = Aligned([0; MAX_SUMS]);
        let lanes = 16 * block.lines;
        for (at, places) in at.chunks(POSITIONS).zip(places.chunks(POSITIONS)) {
            for (i, chunk) in block.chunks.iter().enumerate() {
                let mut tile = Tile {
                    source,
                    at,
                    runs: &self.packed.runs[chunk.runs.clone()],
                    weights: &self.packed.lines[chunk.lines..],
                    lines: block.lines,
                    init: &self.packed.init[chunk.init..],
                    sums: &mut sums.0[..at.len() * lanes],
                };
                tile.check();
                // SAFETY: an instruction set is chosen only where the CPU has it, and the tile is checked.
                unsafe { (self.sum)(&mut tile) };
                let (sums, channels) = (&*tile.sums, block.channels);
                let is_first = i == 0;
                let mut store = Store { sums, lanes, channels, first: block.first, at: places, to, is_first };
                // SAFETY: as before.
                unsafe { T::store(self.set)(&mut store) };
            }
        }
    }
}

fn fits_bytes(codes: &[i16]) -> bool {
    codes.iter().all(|&code| i8::try_from(code).is_ok())
}

/// The buffers of one thread; reused from task to task.
#[derive(Default)]
pub(super) struct Scratch {
    /// As long as it has ever been.
    strip: Vec<u32>,
    at: Vec<usize>,
    to: Vec<usize>,
}

#[repr(C, align(64))]
struct Aligned([u32; POSITIONS * LANES]);
