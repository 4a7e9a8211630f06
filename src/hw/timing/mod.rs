//! Counts to picoseconds: one file per model of a trunk, chosen by the `kind` in its file.
//!
//! - [`fixed_weight`]: weights are wires, a pixel a cycle.
//! - [`systolic`]: arrays in closed form, after SCALE-Sim and RTL.
//! - [`nvdla`]: a convolution engine of `atomic_c` × `atomic_k` multipliers (`simd_npu`).
//! - [`spatial`]: row-stationary, after Eyeriss.
//! - [`dpu`]: three ways of parallelism, one of which a depthwise layer leaves idle (`fpga_dpu`).
//! - [`mcu`]: a processor per input channel, or multipliers of a microcontroller.
//!
//! [`shared`] makes a layer's time from cycles and bytes, [`stores`] knows which bytes move, [`step`]
//! is the result. Compute-in-memory kinds have no model of their own: every multiplier counts as
//! busy, a lower bound that says so. Times are computed from the figures' values, not from their
//! intervals, and rounded up to whole picoseconds. They know no schedule: what overlaps with what is
//! the plan's business. A figure that is unknown costs no time here and is named by `unknown()`.

mod adapter;
pub mod dpu;
pub mod fixed_weight;
pub mod layers;
pub mod mcu;
pub mod nvdla;
pub mod shared;
pub mod spatial;
pub mod step;
pub mod stores;
pub mod systolic;
pub mod work;

pub use adapter::{AdapterTiming, AdapterWork, KernelTime};
pub use step::{Bound, StepTime};
pub use stores::Residency;
pub use work::{LayerKind, TrunkWork, Window};

use super::figure::Figure;
use super::trunk::{Trunk, TrunkKind};
use shared::Shared;
use std::collections::BTreeSet;

/// How a trunk spends its time.
#[derive(Clone, Debug)]
pub enum TrunkTiming {
    FixedWeight(fixed_weight::FixedWeight),
    Systolic(systolic::Systolic),
    Nvdla(nvdla::Nvdla),
    Spatial(spatial::Spatial),
    Dpu(dpu::Dpu),
    Mcu(mcu::Mcu),
    /// Every multiplier busy.
    Ideal(Shared),
}

impl TrunkTiming {
    pub fn new(trunk: &Trunk) -> Self {
        match trunk.kind {
            TrunkKind::FixedWeight => Self::FixedWeight(fixed_weight::FixedWeight::new(trunk)),
            TrunkKind::Systolic => Self::Systolic(systolic::Systolic::new(trunk)),
            TrunkKind::SimdNpu => Self::Nvdla(nvdla::Nvdla::new(trunk)),
            TrunkKind::Spatial => Self::Spatial(spatial::Spatial::new(trunk)),
            TrunkKind::FpgaDpu => Self::Dpu(dpu::Dpu::new(trunk)),
            TrunkKind::Mcu => Self::Mcu(mcu::Mcu::new(trunk)),
            TrunkKind::Cim | TrunkKind::RomCim => {
                let mut shared = Shared::new(trunk);
                shared.unknown.insert(format!(
                    "{}: timing of kind {}, taken as an ideal array",
                    trunk.path(),
                    trunk.kind
                ));
                Self::Ideal(shared)
            }
        }
    }

    /// The time of one layer, given which of its weights are resident.
    pub fn step(&self, work: &TrunkWork) -> StepTime {
        match self {
            Self::FixedWeight(model) => model.step(work),
            Self::Systolic(model) => model.step(work),
            Self::Nvdla(model) => model.step(work),
            Self::Spatial(model) => model.step(work),
            Self::Dpu(model) => model.step(work),
            Self::Mcu(model) => model.step(work),
            Self::Ideal(shared) => shared.finish(work, 1, || shared.ideal(work)),
        }
    }

    /// Figures that the times lack.
    pub fn unknown(&self) -> &BTreeSet<String> {
        match self {
            Self::FixedWeight(model) => &model.unknown,
            Self::Systolic(model) => &model.shared.unknown,
            Self::Nvdla(model) => &model.shared.unknown,
            Self::Spatial(model) => &model.shared.unknown,
            Self::Dpu(model) => &model.shared.unknown,
            Self::Mcu(model) => &model.shared.unknown,
            Self::Ideal(shared) => &shared.unknown,
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

/// The product of counts, which may come from a file: it stops at the largest number.
fn mul(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product: u64, &factor| product.saturating_mul(factor))
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
