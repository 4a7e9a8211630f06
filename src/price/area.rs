//! Silicon of a trunk: what its file says of the die, or what a network takes as wires.
//!
//! A programmable chip is as large as it is, whatever runs on it. What it refuses: the area of the
//! adapter device, which is bought and not built, and of a chip whose die nobody published.

use crate::hw::timing::fixed_weight::silicon;
use crate::hw::trunk::TrunkKind;
use crate::hw::{Estimate, Trunk};
use serde::Serialize;

/// Area of the trunk, in mm².
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AreaReport {
    pub logic_mm2: Estimate,
    /// Memories on the chip, where they are told apart.
    pub memory_mm2: Estimate,
    pub total_mm2: Estimate,
    pub lower_bound: bool,
}

/// What of a network takes silicon on a trunk whose weights are wires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    pub nonzero_weights: u64,
    pub line_buffer_b: u64,
}

/// The area of a trunk that holds a network.
pub fn area(network: Network, trunk: &Trunk) -> AreaReport {
    let die = &trunk.area.die_mm2;
    let (logic_mm2, memory_mm2) = if die.value().is_some() {
        (die.estimate(), Estimate::zero())
    } else if trunk.kind == TrunkKind::FixedWeight {
        let built = silicon(trunk, network.nonzero_weights, network.line_buffer_b);
        (built.multipliers_mm2, built.line_buffers_mm2)
    } else {
        // What is known of a chip without a known die: its memories.
        let on_chip = trunk.memory.values().filter(|level| level.kind.is_some_and(|kind| kind.is_on_chip()));
        let known = on_chip.filter(|level| level.area_um2_per_bit.is_given());
        let memories = known.map(|m| m.area_um2_per_bit.estimate().times(m.capacity_b.estimate()).of(8e-6));
        (die.estimate(), memories.sum())
    };
    let total_mm2 = logic_mm2.clone().plus(memory_mm2.clone());
    AreaReport { lower_bound: total_mm2.is_lower_bound(), logic_mm2, memory_mm2, total_mm2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::library::load_system;

    #[test]
    fn wires_take_room_by_the_weight_and_a_die_takes_what_it_takes() {
        let network = Network { nonzero_weights: 207_000, line_buffer_b: 1000 };
        let fixed = area(network, &load_system("asic-h200-pcie").unwrap().trunk);
        // FIGURES 3.1: 2.72 mm² of multipliers for MobileNetV1-0.25; 8,000 bits at 1.62 µm².
        assert!((fixed.logic_mm2.v - 2.716).abs() < 0.01, "{:?}", fixed.logic_mm2);
        assert!((fixed.memory_mm2.v - 0.01296).abs() < 1e-9 && !fixed.lower_bound);
        let nvdla = area(network, &load_system("edge-nvdla-orin-ucie").unwrap().trunk);
        assert_eq!(nvdla.total_mm2.v, 3.3);
    }
}
