//! What an instruction set brings to a depthwise convolution, and what its loops work on.

use super::super::table::InstructionSet;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::plain;
#[cfg(target_arch = "x86_64")]
use super::x86;

/// 16 channels × the taps of one lane: one cache line, and one 512-bit register.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Taps(pub [i32; 16]);

/// How one instruction set multiplies: what its lanes hold, and its loops. These are unsafe to call
/// because the CPU must have the instructions.
#[derive(Debug)]
pub(super) struct Form {
    /// Rows per lane: four of a byte, or two of a word.
    pub rows: usize,
    /// What is added to every input code: 128 where the instruction wants unsigned inputs.
    pub offset: i32,
    pub interleave: unsafe fn(&mut Interleave<'_>),
    pub tile: unsafe fn(&mut Tile<'_>),
}

impl Form {
    pub fn of(set: InstructionSet) -> &'static Form {
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
    pub fn lane(&self, values: impl Iterator<Item = i32>) -> i32 {
        let bits = 32 / self.rows;
        let mask = u32::MAX >> (32 - bits);
        let field = |(i, v): (usize, i32)| (v as u32 & mask) << (bits * i);
        values.enumerate().map(field).fold(0, |lane, field| lane | field) as i32
    }
}

/// Some rows of codes, to be interleaved: `pixels` times `channels` lanes.
pub(super) struct Interleave<'a> {
    /// Those that a form does not use are any rows.
    pub rows: [&'a [i8]; 4],
    pub pixels: usize,
    pub channels: usize,
    /// Codes from one pixel to the next, and lanes.
    pub from_pitch: usize,
    pub to_pitch: usize,
    pub to: &'a mut [i32],
}

impl Interleave<'_> {
    /// Everything that the unsafe loops rely on.
    pub fn check(&self) {
        let codes = (self.pixels - 1) * self.from_pitch + self.channels;
        assert!(self.pixels > 0 && self.rows.iter().all(|row| row.len() >= codes));
        assert!(self.to.len() >= (self.pixels - 1) * self.to_pitch + self.channels);
    }
}

/// Some output positions × 16 channels.
///
/// Position `i` reads 16 lanes at `at + i * step + offset` for every offset and its weights.
pub(super) struct Tile<'a> {
    pub strip: &'a [i32],
    pub at: usize,
    pub step: usize,
    pub offsets: &'a [usize],
    pub weights: &'a [Taps],
    /// What every position's 16 sums start from.
    pub init: &'a [i32],
    pub positions: usize,
    /// Where the 16 sums of each position go, `lanes` apart.
    pub lanes: usize,
    pub sums: &'a mut [i32],
}

impl Tile<'_> {
    /// Everything that the unsafe loops rely on.
    pub fn check(&self) {
        assert!(self.weights.len() == self.offsets.len() && self.init.len() >= 16 && self.positions > 0);
        assert!(self.sums.len() >= (self.positions - 1) * self.lanes + 16);
        let last = self.at + (self.positions - 1) * self.step + self.offsets.iter().max().copied().unwrap_or(0);
        assert!(last + 16 <= self.strip.len());
    }
}
