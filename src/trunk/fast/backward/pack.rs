//! Transposed weights in the order in which the microkernels read them, packed once.
//!
//! A *word* is 32 bits of errors that belong to one position: a float, two 16-bit or four 8-bit
//! mantissas of neighbouring channels. A *line* is what one word is multiplied by, for 16 input channels.
//! Absent channels have weight zero.
//!
//! Sums of 16-bit products leave 32 bits, so a block's words are cut into chunks whose sums cannot.

use super::axis::{Axis, Phase};
use crate::op::Conv2d;
use bytemuck::{Pod, Zeroable};
use std::ops::Range;

/// 16 words: one cache line, and one 512-bit register.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line(pub [u32; 16]);

/// Lines that are computed together, at most.
pub(super) const MAX_LINES: usize = 2;
pub(super) const LANES: usize = 16 * MAX_LINES;

/// What a word holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    F32,
    /// Two 16-bit mantissas.
    Pairs,
    /// Four 8-bit mantissas plus 128, because the instruction wants one unsigned side.
    Quads,
}

impl Format {
    pub fn per_word(self) -> usize {
        match self {
            Format::F32 => 1,
            Format::Pairs => 2,
            Format::Quads => 4,
        }
    }

    /// The word of errors that are zero.
    pub fn zero(self) -> u32 {
        if self == Format::Quads { 0x8080_8080 } else { 0 }
    }

    /// Weights as one word of a line.
    fn word(self, codes: &[i16; 4]) -> u32 {
        let bits = |i: usize, mask: u16| u32::from(codes[i] as u16 & mask);
        match self {
            Format::F32 => f32::from(codes[0]).to_bits(),
            Format::Pairs => bits(0, 0xffff) | bits(1, 0xffff) << 16,
            Format::Quads => (0..4).fold(0, |word, i| word | bits(i, 0xff) << (8 * i)),
        }
    }
}

/// A convolution's weights.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub conv: &'a Conv2d,
    /// `[out][kh][kw][in / groups]`.
    pub codes: &'a [i16],
}

impl Weights<'_> {
    /// What word `word` of a group's pixel is multiplied by for input `c` of the group; nothing where the
    /// outputs end.
    fn codes(&self, format: Format, group: usize, word: usize, tap: [usize; 2], c: usize) -> [i16; 4] {
        let conv = self.conv;
        let (inputs, outputs) = (conv.in_c / conv.groups, conv.out_c / conv.groups);
        let first = word * format.per_word();
        std::array::from_fn(|i| {
            if i >= format.per_word() || first + i >= outputs {
                return 0;
            }
            let o = group * outputs + first + i;
            self.codes[((o * conv.kernel[0] + tap[0]) * conv.kernel[1] + tap[1]) * inputs + c]
        })
    }
}

/// Neighbouring words of a window: where they start, counted from the window's base, and how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub at: usize,
    pub words: usize,
}

/// Words whose products are summed in one go.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub runs: Range<usize>,
    /// Its first line, and the lanes that its sums start from.
    pub lines: usize,
    pub init: usize,
}

/// Input channels of one phase that are computed together.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// The first input channel, and how many there are.
    pub first: usize,
    pub channels: usize,
    pub lines: usize,
    /// The group's first word of a pixel.
    pub source: usize,
    pub chunks: Vec<Chunk>,
}

/// Everything that a layer's weights become.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pub lines: Vec<Line>,
    pub runs: Vec<Run>,
    pub init: Vec<u32>,
    /// By phase, rows before columns.
    pub blocks: Vec<Vec<Block>>,
}

/// How far apart pixels and rows of the errors lie, in words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pitch {
    pub group: usize,
    pub pixel: usize,
    pub row: usize,
}

/// Packs every phase. `largest` bounds an error's magnitude, where errors are integers.
pub(super) fn pack(weights: Weights<'_>, format: Format, axes: &[Axis; 2], pitch: Pitch, largest: i64) -> Packed {
    let packed = Packed { lines: Vec::new(), runs: Vec::new(), init: Vec::new(), blocks: Vec::new() };
    let mut packer = Packer { weights, format, largest, pitch, packed, sums: [0; LANES] };
    for y in &axes[0].phases {
        for x in &axes[1].phases {
            let blocks = spans(weights.conv).map(|(group, inputs)| packer.block(group, inputs, [y, x])).collect();
            packer.packed.blocks.push(blocks);
        }
    }
    packer.packed
}

/// The group and the channels within it of every block.
fn spans(conv: &Conv2d) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
    let (inputs, groups) = (conv.in_c / conv.groups, conv.groups);
    let block = move |group, first| (group, first..inputs.min(first + LANES));
    (0..groups).flat_map(move |group| (0..inputs).step_by(LANES).map(move |first| block(group, first)))
}

struct Packer<'a> {
    weights: Weights<'a>,
    format: Format,
    largest: i64,
    pitch: Pitch,
    packed: Packed,
    /// By lane: the magnitudes of the current chunk's weights.
    sums: [i64; LANES],
}

impl Packer<'_> {
    fn block(&mut self, group: usize, inputs: Range<usize>, phase: [&Phase; 2]) -> Block {
        let last = phase.map(|phase| phase.taps.last().map_or(0, |tap| tap.back));
        let mut block = Block {
            first: group * (self.weights.conv.in_c / self.weights.conv.groups) + inputs.start,
            channels: inputs.len(),
            lines: inputs.len().div_ceil(16),
            source: group * self.pitch.group,
            chunks: Vec::new(),
        };
        for ty in &phase[0].taps {
            for tx in &phase[1].taps {
                let at = (last[0] - ty.back) * self.pitch.row + (last[1] - tx.back) * self.pitch.pixel;
                for word in 0..self.pitch.group {
                    let codes = |lane: usize| match inputs.start + lane {
                        c if c < inputs.end => self.weights.codes(self.format, group, word, [ty.index, tx.index], c),
                        _ => [0; 4],
                    };
                    let codes: [[i16; 4]; LANES] = std::array::from_fn(codes);
                    self.word(&mut block, Run { at: at + word, words: 1 }, word == 0, &codes);
                }
            }
        }
        block
    }

    /// Appends a word's lines to the block's last chunk, or to one of its own.
    fn word(&mut self, block: &mut Block, run: Run, is_new_run: bool, codes: &[[i16; 4]; LANES]) {
        let magnitude = |codes: &[i16; 4]| codes.iter().map(|code| i64::from(code.unsigned_abs())).sum();
        let own: [i64; LANES] = codes.each_ref().map(magnitude);
        let fits = |(sum, own): (&i64, &i64)| (sum + own) * self.largest <= i64::from(i32::MAX);
        let is_new_chunk = block.chunks.is_empty() || !self.sums.iter().zip(&own).all(fits);
        let (packed, lanes) = (&mut self.packed, 16 * block.lines);
        if is_new_chunk {
            self.sums = [0; LANES];
            let (lines, init, runs) = (packed.lines.len(), packed.init.len(), packed.runs.len());
            block.chunks.push(Chunk { runs: runs..runs, lines, init });
            packed.init.resize(init + lanes, 0);
        }
        let Some(chunk) = block.chunks.last_mut() else { return };
        match packed.runs.last_mut().filter(|_| !is_new_run && !is_new_chunk) {
            Some(last) => last.words += 1,
            None => {
                packed.runs.push(run);
                chunk.runs.end += 1;
            }
        }
        for codes in codes[..lanes].chunks_exact(16) {
            packed.lines.push(Line(std::array::from_fn(|lane| self.format.word(&codes[lane]))));
        }
        if self.format == Format::Quads {
            for (init, codes) in packed.init[chunk.init..].iter_mut().zip(codes) {
                let sum: i32 = codes.iter().map(|&code| i32::from(code)).sum();
                *init = init.wrapping_sub((128 * sum) as u32);
            }
        }
        self.sums.iter_mut().zip(&own).for_each(|(sum, own)| *sum += own);
    }
}
