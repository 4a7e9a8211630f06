//! A programmable array of multipliers: every one of them busy, against the memory off the chip.
//!
//! The rule was confirmed on NVDLA's published sheet (54 layers of ResNet-50): a layer costs the
//! longer of computing and loading. Weights always come from the memory off the chip. So do maps,
//! unless the chip has a memory that holds them from layer to layer and a layer's input and output
//! fit it together. Other array kinds use the same rule, for which it is a lower bound.

use super::{Bound, StepTime, TrunkWork, ceil_ps, note};
use crate::hw::schema::CostRule;
use crate::hw::trunk::Trunk;
use std::collections::BTreeSet;

/// MACs and bytes to time.
#[derive(Clone, Debug)]
pub struct MacArray {
    ps_per_cycle: f64,
    macs_per_cycle: Option<u64>,
    min_cycles: u64,
    dram_ps_per_b: f64,
    /// Room for maps on the chip.
    stays_b: u64,
    rule: CostRule,
    pub(super) unknown: BTreeSet<String>,
}

impl MacArray {
    pub fn new(trunk: &Trunk) -> Self {
        let compute = &trunk.compute;
        let mut unknown = BTreeSet::new();
        let ps_per_cycle = note(trunk.clock(), &mut unknown).map_or(0.0, |mhz| 1e6 / mhz);
        let macs_per_cycle = match (compute.rows.value(), compute.cols.value()) {
            (Some(rows), Some(cols)) if !compute.mac_units.is_given() => Some(rows * cols),
            _ => note(&compute.mac_units, &mut unknown),
        };
        let dram_ps_per_b = match trunk.dram() {
            Some(dram) => {
                let achieved = dram.bandwidth_achieved_frac.value().unwrap_or(1.0);
                note(&dram.bandwidth_gb_per_s, &mut unknown).map_or(0.0, |gb_per_s| 1e3 / (gb_per_s * achieved))
            }
            None => 0.0,
        };
        Self {
            ps_per_cycle,
            macs_per_cycle: macs_per_cycle.map(|macs| macs as u64),
            min_cycles: compute.min_cycles_per_layer.value().unwrap_or(0.0) as u64,
            dram_ps_per_b,
            stays_b: trunk.activation_store().and_then(|level| level.capacity_b.value()).unwrap_or(0.0) as u64,
            rule: trunk.cost_rule(),
            unknown,
        }
    }

    pub fn step(&self, work: &TrunkWork) -> StepTime {
        let cycles = self.macs_per_cycle.map_or(0, |macs| work.macs.div_ceil(macs));
        let compute_ps = ceil_ps(cycles.max(self.min_cycles) as f64 * self.ps_per_cycle);
        let maps_b = work.input_b.saturating_add(work.output_b);
        let spilt_b = if maps_b > self.stays_b { maps_b } else { 0 };
        let dram_b = work.weight_b.saturating_add(spilt_b);
        let memory_ps = ceil_ps(dram_b as f64 * self.dram_ps_per_b);
        StepTime {
            compute_ps,
            memory_ps,
            total_ps: match self.rule {
                CostRule::Max => compute_ps.max(memory_ps),
                CostRule::Sum => compute_ps + memory_ps,
            },
            bound: if memory_ps > compute_ps { Bound::Memory } else { Bound::Compute },
            dram_b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::library;

    fn nvdla() -> MacArray {
        MacArray::new(&library::load_system("edge-nvdla-orin-ucie").unwrap().trunk)
    }

    #[test]
    fn a_layer_costs_the_longer_of_computing_and_loading() {
        // 2048 MACs a cycle at 1 GHz; 20 GB/s are 50 ps a byte.
        let work = TrunkWork { macs: 2049, weight_b: 10, input_b: 10, output_b: 10, ..TrunkWork::default() };
        let time = nvdla().step(&work);
        assert_eq!((time.compute_ps, time.memory_ps, time.total_ps), (2000, 1500, 2000));
        assert_eq!((time.bound, time.dram_b), (Bound::Compute, 30));
        let loads = nvdla().step(&TrunkWork { weight_b: 980, ..work });
        assert_eq!((loads.total_ps, loads.bound), (50_000, Bound::Memory));
        let mut adds = nvdla();
        adds.rule = CostRule::Sum;
        assert_eq!(adds.step(&work).total_ps, 3500);
    }

    #[test]
    fn maps_that_fit_a_store_on_the_chip_stay_there() {
        let mut stays = nvdla();
        stays.stays_b = 2000;
        let work = TrunkWork { weight_b: 7, input_b: 1000, output_b: 1000, ..TrunkWork::default() };
        assert_eq!(stays.step(&work).dram_b, 7);
        assert_eq!(stays.step(&TrunkWork { output_b: 1001, ..work }).dram_b, 2008);
    }

    /// The cost rule on the published sheet's own cycles and traffic gives the primer's 269 frames/s.
    #[test]
    fn nvdla_resnet50_meets_the_published_rate() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/hardware/validation/nvdla_full_resnet50_layers.csv");
        let Ok(text) = std::fs::read_to_string(path) else {
            assert!(std::env::var_os("TRUNKLINE_REQUIRE_SHARED").is_none(), "{path} is missing");
            println!("SKIPPED: {path} is absent");
            return;
        };
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let column = |name: &str| header.iter().position(|h| *h == name).unwrap();
        let (mac, dram) = (column("mac_cycles_nosram"), column("dram_cycles_10GBps_nosram"));
        let timing = nvdla();
        let total_ps: u64 = lines
            .map(|line| line.split(',').map(|cell| cell.parse().unwrap_or(0.0)).collect::<Vec<f64>>())
            // The sheet's cycles are ns; at 10 GB/s ten bytes each.
            .map(|row| TrunkWork {
                macs: row[mac] as u64 * 2048,
                weight_b: row[dram] as u64 * 10,
                ..TrunkWork::default()
            })
            .map(|work| timing.step(&work).total_ps)
            .sum();
        let fps = 1e12 / total_ps as f64;
        assert!((fps - 268.8).abs() < 0.1, "{fps} frames/s");
    }
}
