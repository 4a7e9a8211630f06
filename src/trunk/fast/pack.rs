//! Weights in the order in which the microkernels read them.
//!
//! Output channels come in lines of 16, up to four lines to a block; within a block, for each
//! contiguous run of a window and each group of four inputs of it, a line holds 16 × 4 codes. Absent
//! channels and inputs have weight zero.

use crate::op::Conv2d;
use crate::quant::weights::WeightCodes;
use bytemuck::{Pod, Zeroable};

/// 16 output channels × 4 inputs: one cache line, and one 512-bit register.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line(pub [i8; 64]);

/// Output channels that are computed together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// The first output channel, and how many there are.
    pub first: usize,
    pub channels: usize,
    pub lines: usize,
    /// The first input channel of its group.
    pub input: usize,
    /// Its first line of weights.
    pub weights: usize,
    /// Its first entry in arrays with 16 entries per line.
    pub lane: usize,
}

impl Block {
    pub fn lanes(&self) -> usize {
        self.lines * 16
    }
}

/// The contiguous runs of inputs under a window: how many, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs {
    pub count: usize,
    pub len: usize,
}

impl Runs {
    /// A kernel row is one run where its taps are neighbours; otherwise every tap is.
    pub fn of(conv: &Conv2d) -> Self {
        let [kh, kw] = conv.kernel;
        if rows_are_contiguous(conv) {
            Self { count: kh, len: kw * conv.in_c }
        } else {
            Self { count: kh * kw, len: conv.in_c / conv.groups }
        }
    }

    pub fn steps(self) -> usize {
        self.len.div_ceil(4)
    }

    /// The group of four that input `i` of a window is in.
    fn group(self, i: usize) -> usize {
        i / self.len * self.steps() + i % self.len / 4
    }
}

pub(super) fn rows_are_contiguous(conv: &Conv2d) -> bool {
    conv.groups == 1 && (conv.dilation[1] == 1 || conv.kernel[1] == 1)
}

/// Which groups of four inputs are read, in the order in which a line holds their weights.
///
/// A weight with a zero point may be farther from it than eight bits reach. What is beyond goes into a
/// line of its own: its group of inputs is read once more.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    per_pass: usize,
    again: Vec<usize>,
}

impl Groups {
    pub fn new(conv: &Conv2d, codes: &WeightCodes) -> Self {
        let (runs, depth) = (Runs::of(conv), conv.depth());
        let per_pass = runs.count * runs.steps();
        let mut times = vec![0; per_pass];
        if !codes.is_symmetric() {
            for (channel, filter) in codes.codes.chunks_exact(depth).enumerate() {
                let zero = codes.zero_point(channel);
                for (i, &code) in filter.iter().enumerate() {
                    let more = match i32::from(code) - zero {
                        weight @ 128.. => (weight - 1) / 127,
                        weight => (-weight - 1).max(0) / 128,
                    } as usize;
                    times[runs.group(i)] = more.max(times[runs.group(i)]);
                }
            }
        }
        let again = times.into_iter().enumerate().flat_map(|(group, times)| std::iter::repeat_n(group, times));
        Self { per_pass, again: again.collect() }
    }

    /// Every place among the lines where a group's weights are.
    fn places(&self, group: usize) -> impl Iterator<Item = usize> {
        let first = self.again.partition_point(|&other| other < group);
        let last = self.again.partition_point(|&other| other <= group);
        std::iter::once(group).chain(self.per_pass + first..self.per_pass + last)
    }

    /// Lines of weights per line of channels.
    pub fn count(&self) -> usize {
        self.per_pass + self.again.len()
    }

    /// Where runs of `steps` groups start, from where those of a window do: all in one, or each group
    /// for itself where some are read again.
    pub fn segments(&self, runs: Vec<usize>, steps: usize) -> (Vec<usize>, usize) {
        if self.again.is_empty() {
            return (runs, steps);
        }
        let all = (0..self.per_pass).chain(self.again.iter().copied());
        (all.map(|group| runs[group / steps] + group % steps * 4).collect(), 1)
    }
}

/// The blocks of a convolution's output channels, of as equal a size as can be.
pub(super) fn blocks(conv: &Conv2d, groups: &Groups) -> Vec<Block> {
    let per_line = groups.count();
    let filters = conv.out_c / conv.groups;
    let lines = filters.div_ceil(16);
    let count = lines.div_ceil(4);
    let mut blocks = Vec::new();
    let (mut weights, mut lane) = (0, 0);
    for group in 0..conv.groups {
        let mut line = 0;
        for i in 0..count {
            let own = (lines - line).div_ceil(count - i);
            let first = group * filters + line * 16;
            let channels = (own * 16).min(filters - line * 16);
            let input = group * (conv.in_c / conv.groups);
            blocks.push(Block { first, channels, lines: own, input, weights, lane });
            line += own;
            weights += per_line * own;
            lane += own * 16;
        }
    }
    blocks
}

/// Codes `[out_c][kh][kw][in_c / groups]`, their zero points taken off, in lines.
pub(super) fn lines(conv: &Conv2d, blocks: &[Block], codes: &WeightCodes, groups: &Groups) -> Vec<Line> {
    let (runs, depth) = (Runs::of(conv), conv.depth());
    let total = blocks.iter().map(|b| b.lines).sum::<usize>() * groups.count();
    let mut packed = vec![Line([0; 64]); total];
    for block in blocks {
        for c in 0..block.channels {
            let filter = &codes.codes[(block.first + c) * depth..][..depth];
            let zero = codes.zero_point(block.first + c);
            for (i, &code) in filter.iter().enumerate() {
                let mut weight = i32::from(code) - zero;
                for place in groups.places(runs.group(i)) {
                    let part = weight.clamp(-128, 127);
                    let line = block.weights + place * block.lines + c / 16;
                    packed[line].0[c % 16 * 4 + i % runs.len % 4] = part as i8;
                    weight -= part;
                }
            }
        }
    }
    packed
}
