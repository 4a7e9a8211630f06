//! A few positions of one block, and the function of each instruction set that sums their products.

use super::pack::{Format, LANES, Line, MAX_LINES, Run};
use super::portable;
use crate::trunk::fast::InstructionSet;

/// Positions of a tile: a multiple of what registers hold at once.
pub(super) const POSITIONS: usize = 56;
/// The most sums of a tile.
pub(super) const MAX_SUMS: usize = POSITIONS * LANES;

/// Position `i` reads `source[at[i] + run.at..][..run.words]` for every run.
pub(super) struct Tile<'a> {
    pub source: &'a [u32],
    pub at: &'a [usize],
    pub runs: &'a [Run],
    /// `[run][word][line]`.
    pub weights: &'a [Line],
    pub lines: usize,
    /// By lane: what sums start from.
    pub init: &'a [u32],
    /// `[position][lane]`: the bits of floats or of wrapping integers.
    pub sums: &'a mut [u32],
}

impl Tile<'_> {
    /// Everything that the unsafe loops rely on.
    pub fn check(&self) {
        let lanes = 16 * self.lines;
        assert!((1..=MAX_LINES).contains(&self.lines) && !self.at.is_empty());
        assert!(self.init.len() >= lanes && self.sums.len() >= self.at.len() * lanes);
        assert!(self.weights.len() >= self.runs.iter().map(|run| run.words).sum::<usize>() * self.lines);
        let end = self.runs.iter().map(|run| run.at + run.words).max().unwrap_or(0);
        assert!(self.at.iter().max().copied().unwrap_or(0) + end <= self.source.len());
    }
}

/// Sums the products of a tile. Unsafe to call: the CPU must have the instructions, and the tile must
/// pass its check.
pub(super) type Sum = unsafe fn(&mut Tile<'_>);

/// The function for a format; none where the set has no instruction for it.
pub(super) fn pick(set: InstructionSet, format: Format) -> Option<Sum> {
    #[cfg(target_arch = "x86_64")]
    {
        use super::{avx2, avx512};
        let has_fma = is_x86_feature_detected!("fma");
        match (set, format) {
            (InstructionSet::Avx512Vnni, Format::F32) => return Some(avx512::f32s),
            (InstructionSet::Avx512Vnni, Format::Pairs) => return Some(avx512::pairs),
            (InstructionSet::Avx512Vnni, Format::Quads) => return Some(avx512::quads),
            (InstructionSet::AvxVnni | InstructionSet::Avx2, Format::F32) if has_fma => return Some(avx2::f32s),
            (InstructionSet::AvxVnni, Format::Quads) => return Some(avx2::quads_vnni),
            (InstructionSet::AvxVnni, Format::Pairs) => return Some(avx2::pairs_vnni),
            (InstructionSet::Avx2, Format::Pairs) => return Some(avx2::pairs),
            (InstructionSet::Avx2, Format::Quads) => return None,
            _ => {}
        }
    }
    let _ = set;
    Some(match format {
        Format::F32 => portable::f32s,
        Format::Pairs => portable::pairs,
        Format::Quads => portable::quads,
    })
}
