//! A chip whose weights are wires: a layer takes a pixel a cycle, whatever its width.
//!
//! The larger of the input and output maps sets the pace (a strided layer reads more pixels than it
//! writes). There is no weight traffic, and activations stay in line buffers. Area and power grow
//! with the weights that are not zero and with the line buffers ([`silicon`]).

use super::{Bound, StepTime, TrunkWork, ceil_ps, note};
use crate::hw::estimate::Estimate;
use crate::hw::memory::MemoryLevel;
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
        let pixels_per_cycle = u64::from(trunk.compute.pixels_per_cycle.unwrap_or(1)).max(1);
        Self { ps_per_cycle, pixels_per_cycle, unknown }
    }

    pub fn step(&self, work: &TrunkWork) -> StepTime {
        let cycles = work.input_pixels.max(work.output_pixels).div_ceil(self.pixels_per_cycle);
        let compute_ps = ceil_ps(cycles as f64 * self.ps_per_cycle);
        // A pixel that makes no output leaves the multipliers of its layer idle.
        let busy = work.output_pixels.div_ceil(self.pixels_per_cycle) as f64 / cycles.max(1) as f64;
        StepTime {
            compute_ps,
            total_ps: compute_ps,
            bound: Bound::Compute,
            cycles,
            folds: u64::from(work.macs > 0),
            utilisation_frac: if work.macs > 0 { busy } else { 0.0 },
            ..StepTime::default()
        }
    }
}

/// What a network takes as wires.
#[derive(Clone, Debug, PartialEq)]
pub struct Silicon {
    pub multipliers_mm2: Estimate,
    pub line_buffers_mm2: Estimate,
    /// At full rate, activity inside.
    pub multipliers_mw: Estimate,
    pub line_buffers_mw: Estimate,
}

/// Area and power of a network with so many weights that are not zero.
pub fn silicon(trunk: &Trunk, nonzero_weights: u64, line_buffer_b: u64) -> Silicon {
    let compute = &trunk.compute;
    let bits = |bits: Option<u32>| f64::from(bits.unwrap_or(8));
    let bits2 = nonzero_weights as f64 * bits(trunk.weight_bits()) * bits(trunk.activation_bits());
    let buffer_bits = line_buffer_b as f64 * 8.0;
    let buffer = |figure: fn(&MemoryLevel) -> Estimate| match trunk.on_chip() {
        Some(level) => figure(level).of(buffer_bits),
        None => Estimate::unknown(format!("{}: memory.linebuffer", trunk.path())).of(buffer_bits),
    };
    Silicon {
        multipliers_mm2: compute.mac_area_um2_per_bit2.estimate().of(bits2 * 1e-6),
        line_buffers_mm2: buffer(|level| level.area_um2_per_bit.estimate().of(1e-6)),
        // fJ times MHz is nW.
        multipliers_mw: compute.mac_energy_fj_per_bit2.estimate().times(trunk.clock().estimate()).of(bits2 * 1e-6),
        line_buffers_mw: buffer(|level| level.power_nw_per_bit.estimate().of(1e-6)),
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
        let work = TrunkWork { macs: 1, input_pixels: 224 * 224, output_pixels: 112 * 112, ..TrunkWork::default() };
        let time = timing.step(&work);
        assert_eq!(time.total_ps, 61_945_680);
        assert_eq!((time.cycles, time.utilisation_frac), (224 * 224, 0.25));
        assert!(timing.unknown.is_empty());
        assert_eq!(timing.step(&TrunkWork::default()).total_ps, 0);
    }

    /// MobileNetV1-0.25 (207 thousand weights in its convolutions): 2.72 mm2 of multipliers in FIGURES 3.1.
    #[test]
    fn deepfreeze_takes_its_published_area_and_power() {
        let trunk = library::load_system("asic-h200-pcie").unwrap().trunk;
        let made = silicon(&trunk, 207_000, 1000);
        assert!((made.multipliers_mm2.v - 2.72).abs() < 0.01, "{:?}", made.multipliers_mm2);
        // 5.79e-8 W per bit2 and weight at 810 MHz.
        assert!((made.multipliers_mw.v - 207_000.0 * 64.0 * 5.79e-5).abs() < 1.0, "{:?}", made.multipliers_mw);
        assert!((made.line_buffers_mm2.v - 8000.0 * 1.62e-6).abs() < 1e-9);
        assert!((made.line_buffers_mw.v - 8000.0 * 4.0e-4).abs() < 1e-9);
        assert!(made.multipliers_mw.unknown.is_empty());
    }
}
