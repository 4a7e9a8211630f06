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
}

pub(super) fn rows_are_contiguous(conv: &Conv2d) -> bool {
    conv.groups == 1 && (conv.dilation[1] == 1 || conv.kernel[1] == 1)
}

/// The blocks of a convolution's output channels, of as equal a size as can be.
pub(super) fn blocks(conv: &Conv2d) -> Vec<Block> {
    let runs = Runs::of(conv);
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
            weights += runs.count * runs.steps() * own;
            lane += own * 16;
        }
    }
    blocks
}

/// Weights as near to their zero points as eight bits allow, and what remains of those: nothing where
/// no weight is farther than that, so that most layers with zero points need no correction.
pub(super) fn centred(codes: &WeightCodes, depth: usize) -> WeightCodes {
    if codes.is_symmetric() || depth == 0 {
        return codes.clone();
    }
    let mut made = WeightCodes { codes: Vec::with_capacity(codes.codes.len()), ..codes.clone() };
    made.zero_points = Vec::with_capacity(codes.codes.len() / depth);
    for (channel, filter) in codes.codes.chunks_exact(depth).enumerate() {
        let zero = codes.zero_point(channel);
        let ends = |value: i32| (value - zero) - (value - zero).clamp(-128, 127);
        let over = |least: i32, code: &i8| {
            if ends(i32::from(*code)).abs() > least.abs() { ends(i32::from(*code)) } else { least }
        };
        let rest = filter.iter().fold(0, over);
        made.codes.extend(filter.iter().map(|&code| (i32::from(code) - zero - rest) as i8));
        made.zero_points.push(-rest);
    }
    made
}

/// Codes `[out_c][kh][kw][in_c / groups]` in lines. With `totals`, the first absent channel of a block
/// has weights of one.
pub(super) fn lines(conv: &Conv2d, blocks: &[Block], codes: &[i8], totals: bool) -> Vec<Line> {
    let runs = Runs::of(conv);
    let (steps, depth) = (runs.steps(), conv.depth());
    let total = blocks.iter().map(|b| b.lines).sum::<usize>() * runs.count * steps;
    let mut packed = vec![Line([0; 64]); total];
    for block in blocks {
        let mut put = |c: usize, i: usize, code: i8| {
            let (run, k) = (i / runs.len, i % runs.len);
            let line = block.weights + (run * steps + k / 4) * block.lines + c / 16;
            packed[line].0[c % 16 * 4 + k % 4] = code;
        };
        for c in 0..block.channels {
            let filter = &codes[(block.first + c) * depth..][..depth];
            filter.iter().enumerate().for_each(|(i, &code)| put(c, i, code));
        }
        if totals && block.channels < block.lanes() {
            (0..depth).for_each(|i| put(block.channels, i, 1));
        }
    }
    packed
}
