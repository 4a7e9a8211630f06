//! A chip whose weights are wires: a layer takes a pixel a cycle, whatever its width.
//!
//! The larger of the input and output maps sets the pace (a strided layer reads more pixels than it
//! writes). There is no weight traffic, and activations stay in line buffers.

use super::{Bound, StepTime, TrunkWork, ceil_ps, note};
use crate::hw::trunk::Trunk;
use std::collections::BTreeSet;

/// Pixels to time.
#[derive(Clone, Debug)]
pub struct FixedWeight {
    ps_per_cycle: f64,
    pixels_per_cycle: u64,
    pub(super) unknown: BTreeSet<String>,
}

impl FixedWeight {
    pub fn new(trunk: &Trunk) -> Self {
        let mut unknown = BTreeSet::new();
        let ps_per_cycle = note(trunk.clock(), &mut unknown).map_or(0.0, |mhz| 1e6 / mhz);
        let pixels_per_cycle = u64::from(trunk.compute.pixels_per_cycle.unwrap_or(1));
        Self { ps_per_cycle, pixels_per_cycle, unknown }
    }

    pub fn step(&self, work: &TrunkWork) -> StepTime {
        let cycles = work.input_pixels.max(work.output_pixels).div_ceil(self.pixels_per_cycle);
        let compute_ps = ceil_ps(cycles as f64 * self.ps_per_cycle);
        StepTime { compute_ps, memory_ps: 0, total_ps: compute_ps, bound: Bound::Compute, dram_b: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::library;

    #[test]
    fn deepfreeze_takes_62_us_for_a_frame_of_224_by_224() {
        let system = library::load_system("asic-h200-pcie").unwrap();
        let timing = FixedWeight::new(&system.trunk);
        let work = TrunkWork { input_pixels: 224 * 224, output_pixels: 112 * 112, ..TrunkWork::default() };
        let time = timing.step(&work);
        assert_eq!(time.total_ps, 61_945_680);
        assert!(timing.unknown.is_empty());
        assert_eq!(timing.step(&TrunkWork::default()).total_ps, 0);
    }
}
