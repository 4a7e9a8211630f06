//! The instruction sets, and the functions that each of them brings.

use super::pack::Line;
use super::portable;
use super::requant::{Requant, Style};
use crate::op::Output;
use std::fmt;

/// Which loops run a trunk program's convolutions, linear layers and additions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// The reference loops only.
    Reference,
    /// The widest vector instructions that this CPU has; without any the reference loops, which
    /// compilers vectorise better than the packed portable ones.
    #[default]
    Auto,
    /// This one; the reference loops where the CPU lacks it.
    Only(InstructionSet),
}

/// A family of vector instructions with a microkernel of its own, widest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    Avx512Vnni,
    AvxVnni,
    Avx2,
    /// With dot products.
    Neon,
    Portable,
}

impl InstructionSet {
    pub const ALL: [Self; 5] = [Self::Avx512Vnni, Self::AvxVnni, Self::Avx2, Self::Neon, Self::Portable];

    /// Those that this CPU has, widest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|set| set.table().is_some())
    }

    /// Its functions, if this CPU can run them.
    pub(super) fn table(self) -> Option<&'static Table> {
        #[cfg(target_arch = "x86_64")]
        {
            use super::{avx_vnni, avx2, avx512};
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("popcnt")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl");
            match self {
                Self::Avx512Vnni if avx512 && is_x86_feature_detected!("avx512vnni") => return Some(&avx512::TABLE),
                Self::AvxVnni if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni") => {
                    return Some(&avx_vnni::TABLE);
                }
                Self::Avx2 if is_x86_feature_detected!("avx2") => return Some(&avx2::TABLE),
                _ => {}
            }
        }
        #[cfg(target_arch = "aarch64")]
        if self == Self::Neon && std::arch::is_aarch64_feature_detected!("dotprod") {
            return Some(&super::neon::TABLE);
        }
        (self == Self::Portable).then_some(&portable::TABLE)
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Avx512Vnni => "avx512-vnni",
            Self::AvxVnni => "avx-vnni",
            Self::Avx2 => "avx2",
            Self::Neon => "neon-dot",
            Self::Portable => "portable",
        })
    }
}

impl Kernels {
    /// The instruction set behind [`Kernels::table`].
    pub(super) fn set(self) -> Option<InstructionSet> {
        match self {
            Kernels::Reference => None,
            Kernels::Auto => InstructionSet::available().find(|&set| set != InstructionSet::Portable),
            Kernels::Only(set) => set.table().map(|_| set),
        }
    }

    pub(super) fn table(self) -> Option<&'static Table> {
        self.set().and_then(InstructionSet::table)
    }
}

/// The functions of one instruction set. They are unsafe to call because the CPU must have it,
/// which [`InstructionSet::table`] has asked.
#[derive(Debug)]
pub(super) struct Table {
    /// Tiles read input codes with their sign bit flipped: the instruction wants unsigned inputs.
    pub unsigned_inputs: bool,
    /// The sums of products of a tile.
    pub tile: unsafe fn(&mut Tile<'_>),
    /// Copies codes, each combined with the second operand by exclusive or.
    pub copy: unsafe fn(&[i8], i8, &mut [i8]),
    /// Codes for a tile of sums, and how many the int8 range cut off.
    pub requantise: Option<unsafe fn(&mut Store<'_>) -> u64>,
}

impl Table {
    /// Codes for sums that share one multiplier, and how many the int8 range cut off. Sums come in
    /// rows of `lanes`; every row but the last of `codes` is full.
    pub fn uniform(&self, requant: &Requant, output: &Output, sums: &[i32], lanes: usize, codes: &mut [i8]) -> u64 {
        let (Some(requantise), false) = (self.requantise, codes.is_empty()) else { return 0 };
        let channels = codes.len().min(lanes);
        let mut store = Store {
            style: requant.style,
            halved: requant.halved,
            sums,
            lanes,
            channels,
            factor: &requant.factor,
            right: &requant.right,
            offset: &requant.offset,
            lo: output.clamp.lo(),
            hi: output.clamp.hi(),
            saturates: requant.saturates,
            codes,
            pitch: channels,
        };
        store.check();
        // SAFETY: a table exists only where the CPU has its instructions, and the store is checked.
        unsafe { requantise(&mut store) }
    }
}

/// Positions of a tile of 64 channels: a multiple of what any instruction set holds in registers at once.
pub(super) const POSITIONS: usize = 48;
/// The most channels of a tile, those that are not there included.
pub(super) const MAX_LANES: usize = 64;
/// The most sums of a tile.
pub(super) const MAX_SUMS: usize = POSITIONS * MAX_LANES;

/// Some output positions × 16 to 64 output channels.
///
/// Position `i` reads `input[at[i] + segment + 4 * step ..][..4]` for every segment and step.
pub(super) struct Tile<'a> {
    pub input: &'a [i8],
    pub at: &'a [usize],
    /// Where each contiguous run of a window starts.
    pub segments: &'a [usize],
    /// Groups of four inputs per segment.
    pub steps: usize,
    /// `[segment][step][line]`.
    pub weights: &'a [Line],
    /// What is read after this tile: fetched meanwhile, where there is an instruction for it.
    pub ahead: &'a [Line],
    /// Lines of 16 channels: 1 to 4.
    pub lines: usize,
    /// What every position's sums start from.
    pub init: &'a [i32],
    /// `[position][channel]`.
    pub sums: &'a mut [i32],
}

impl Tile<'_> {
    /// Everything that the unsafe loops rely on.
    pub fn check(&self) {
        let lanes = self.lines * 16;
        assert!((1..=4).contains(&self.lines) && !self.at.is_empty());
        assert!(self.weights.len() >= self.segments.len() * self.steps * self.lines);
        assert!(self.init.len() >= lanes && self.sums.len() >= self.at.len() * lanes);
        let last = self.at.iter().max().copied().unwrap_or(0) + self.segments.iter().max().copied().unwrap_or(0);
        assert!(last + 4 * self.steps <= self.input.len());
    }
}

/// A tile of sums on its way to codes.
pub(super) struct Store<'a> {
    pub style: Style,
    /// Every right shift is by one at least.
    pub halved: bool,
    /// `[position][channel]`, padded to `lanes` channels.
    pub sums: &'a [i32],
    pub lanes: usize,
    /// Channels that exist.
    pub channels: usize,
    /// Per channel, padded to `lanes`: see `requant`.
    pub factor: &'a [i32],
    pub right: &'a [i32],
    pub offset: &'a [i32],
    pub lo: i32,
    pub hi: i32,
    /// Values outside are saturations.
    pub saturates: [i32; 2],
    /// The first position's first channel, and how far apart positions are.
    pub codes: &'a mut [i8],
    pub pitch: usize,
}

impl Store<'_> {
    pub fn positions(&self) -> usize {
        self.sums.len() / self.lanes
    }

    pub fn check(&self) {
        assert!(self.lanes.is_multiple_of(16) && self.channels <= self.lanes && self.positions() > 0);
        assert!(self.channels + 16 > self.lanes);
        let constants = [self.factor, self.right, self.offset];
        assert!(constants.iter().all(|c| c.len() >= self.lanes));
        assert!((self.positions() - 1) * self.pitch + self.channels <= self.codes.len());
    }
}
