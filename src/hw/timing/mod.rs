//! Counts to picoseconds: one file per model behind closed enums.
//!
//! Times are computed from the figures' values, not from their intervals, and rounded up to whole
//! picoseconds. They know no schedule: what overlaps with what is the plan's business. A figure
//! that is unknown costs no time here and is named by `unknown()`.

mod adapter;
mod fixed_weight;
mod mac_array;

pub use adapter::{AdapterTiming, AdapterWork, KernelTime};

use super::figure::Figure;
use super::trunk::{Trunk, TrunkKind};
use serde::Serialize;
use std::collections::BTreeSet;

/// Work of one step of the trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrunkWork {
    pub macs: u64,
    pub weight_b: u64,
    pub input_b: u64,
    pub output_b: u64,
    pub output_pixels: u64,
    pub input_pixels: u64,
}

/// What a step waits for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    Compute,
    Memory,
}

/// How long a step of the trunk takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StepTime {
    pub compute_ps: u64,
    pub memory_ps: u64,
    pub total_ps: u64,
    pub bound: Bound,
    /// Bytes that crossed to the memory off the chip.
    pub dram_b: u64,
}

/// How a trunk spends its time.
#[derive(Clone, Debug)]
pub enum TrunkTiming {
    FixedWeight(fixed_weight::FixedWeight),
    MacArray(mac_array::MacArray),
}

impl TrunkTiming {
    pub fn new(trunk: &Trunk) -> Self {
        match trunk.kind {
            TrunkKind::FixedWeight => Self::FixedWeight(fixed_weight::FixedWeight::new(trunk)),
            TrunkKind::Systolic
            | TrunkKind::Spatial
            | TrunkKind::SimdNpu
            | TrunkKind::Cim
            | TrunkKind::RomCim
            | TrunkKind::FpgaDpu
            | TrunkKind::Mcu => Self::MacArray(mac_array::MacArray::new(trunk)),
        }
    }

    pub fn step(&self, work: &TrunkWork) -> StepTime {
        match self {
            Self::FixedWeight(model) => model.step(work),
            Self::MacArray(model) => model.step(work),
        }
    }

    /// Figures that the times lack.
    pub fn unknown(&self) -> &BTreeSet<String> {
        match self {
            Self::FixedWeight(model) => &model.unknown,
            Self::MacArray(model) => &model.unknown,
        }
    }
}

/// The most that one step can take, 13 days: sums of a run's steps stay far inside `u64`.
pub const LONGEST_PS: u64 = 1 << 60;

/// Whole picoseconds, rounded up.
///
/// What exceeds a whole number by a rounding error of `f64` alone is that number.
pub fn ceil_ps(ps: f64) -> u64 {
    let whole = ps.round();
    let up = if (ps - whole).abs() <= ps.abs() * 1e-12 { whole } else { ps.ceil() };
    // The cast saturates, and takes a NaN for 0.
    (up as u64).min(LONGEST_PS)
}

/// The value of a figure, or none and its name noted.
pub(crate) fn note(figure: &Figure, unknown: &mut BTreeSet<String>) -> Option<f64> {
    let value = figure.value();
    if value.is_none() {
        unknown.insert(figure.path());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picoseconds_round_up_but_not_over_a_rounding_error() {
        assert_eq!(ceil_ps(0.0), 0);
        assert_eq!(ceil_ps(0.1), 1);
        assert_eq!(ceil_ps(21_100.000_000_000_004), 21_100);
        assert_eq!(ceil_ps(21_100.001), 21_101);
        assert_eq!(ceil_ps(1e300), LONGEST_PS);
        assert_eq!(ceil_ps(f64::NAN), 0);
    }
}
