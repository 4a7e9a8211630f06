//! What every programmable array has in common: a clock, so many multipliers, a rate for layers
//! without MACs, measured utilisations, and memories; and how these make a layer's time.

use super::step::{ArrayCost, Bound, StepTime};
use super::stores::Stores;
use super::{LayerKind, TrunkWork, ceil_ps, note};
use crate::hw::figure::Figure;
use crate::hw::schema::CostRule;
use crate::hw::trunk::Trunk;
use std::collections::{BTreeMap, BTreeSet};

/// An array with its memories.
#[derive(Clone, Debug)]
pub struct Shared {
    pub ps_per_cycle: f64,
    pub macs_per_cycle: Option<u64>,
    min_cycles: u64,
    /// Where clock or width is unknown: time of a MAC at the published peak.
    peak_ps_per_mac: Option<f64>,
    ops_per_cycle: Option<f64>,
    conv_frac: f64,
    depthwise_frac: f64,
    linear_frac: f64,
    pub stores: Stores,
    rule: CostRule,
    pub unknown: BTreeSet<String>,
}

impl Shared {
    pub fn new(trunk: &Trunk) -> Self {
        let compute = &trunk.compute;
        let mut unknown = BTreeSet::new();
        let clock = note(trunk.clock(), &mut unknown);
        let macs_per_cycle = match (compute.rows.value(), compute.cols.value()) {
            (Some(rows), Some(cols)) if !compute.mac_units.is_given() => Some(rows * cols),
            _ => note(&compute.mac_units, &mut unknown),
        };
        let by_peak = clock.is_none() || macs_per_cycle.is_none();
        let ops_per_cycle = note(&compute.vector_ops_per_cycle, &mut unknown);
        let ps_per_cycle = clock.map_or(0.0, |mhz| 1e6 / mhz);
        let frac = |key: &str| compute.utilisation_by_layer_kind.get(key).and_then(Figure::value);
        let frac = |key: &str| frac(key).filter(|&f| f > 0.0).unwrap_or(1.0);
        Self {
            ps_per_cycle,
            macs_per_cycle: macs_per_cycle.map(|macs| macs as u64),
            min_cycles: compute.min_cycles_per_layer.value().unwrap_or(0.0) as u64,
            // A MAC is two operations, and 1 TOPS is one of them in a picosecond.
            peak_ps_per_mac: compute.peak_tops.value().filter(|&tops| by_peak && tops > 0.0).map(|tops| 2.0 / tops),
            ops_per_cycle,
            conv_frac: frac("conv_frac"),
            depthwise_frac: frac("depthwise_frac"),
            linear_frac: frac("linear_frac"),
            stores: Stores::new(trunk, ps_per_cycle, &mut unknown),
            rule: trunk.cost_rule(),
            unknown,
        }
    }

    /// Every multiplier busy: what no array is faster than.
    pub fn ideal(&self, work: &TrunkWork) -> ArrayCost {
        let cycles = self.macs_per_cycle.map_or(0, |macs| work.macs.div_ceil(macs.max(1)));
        ArrayCost { cycles, folds: u64::from(work.macs > 0), ..moved(work) }
    }

    /// A layer without MACs, at the rate of the units beside the array.
    fn elementwise(&self, work: &TrunkWork) -> ArrayCost {
        let cycles = self.ops_per_cycle.map_or(0, |rate| (work.element_ops as f64 / rate).ceil() as u64);
        ArrayCost { cycles, folds: 0, ..moved(work) }
    }

    /// The time of a layer whose MACs cost `on_array`; `group` is how many output channels it works on at once.
    pub fn finish(&self, work: &TrunkWork, group: u64, on_array: impl FnOnce() -> ArrayCost) -> StepTime {
        let cost = if work.macs > 0 { self.achieved(work.kind, on_array()) } else { self.elementwise(work) };
        let traffic = self.stores.traffic(work, group);
        let dram_b = traffic.read_b.saturating_add(traffic.write_b);
        let sram_b = cost.sram_read_b.saturating_add(cost.sram_write_b);
        let cycles = cost.cycles.max(self.min_cycles);
        let compute_ps = match self.peak_ps_per_mac {
            Some(ps) => ceil_ps(work.macs as f64 * ps),
            None => ceil_ps(cycles as f64 * self.ps_per_cycle),
        };
        let memory_ps = ceil_ps(dram_b as f64 * self.stores.dram_ps_per_b);
        let sram_ps = ceil_ps(sram_b as f64 * self.stores.sram_ps_per_b);
        let total_ps = match self.rule {
            CostRule::Max => compute_ps.max(memory_ps).max(sram_ps),
            CostRule::Sum => compute_ps + memory_ps + sram_ps,
        };
        let stalled = (total_ps - compute_ps) as f64 / self.ps_per_cycle;
        StepTime {
            compute_ps,
            memory_ps,
            sram_ps,
            total_ps,
            bound: bound(compute_ps, memory_ps, sram_ps),
            cycles,
            stall_cycles: if self.ps_per_cycle > 0.0 { stalled.ceil() as u64 } else { 0 },
            folds: cost.folds,
            utilisation_frac: self.utilisation(work.macs, total_ps),
            sram_read_b: cost.sram_read_b,
            sram_write_b: cost.sram_write_b,
            dram_read_b: traffic.read_b,
            dram_write_b: traffic.write_b,
            dram_b,
        }
    }

    /// Longer by what the file says that layers of this kind achieve of the array.
    fn achieved(&self, kind: LayerKind, cost: ArrayCost) -> ArrayCost {
        let frac = match kind {
            LayerKind::Depthwise => self.depthwise_frac,
            LayerKind::Linear => self.linear_frac,
            _ => self.conv_frac,
        };
        let cycles = if frac < 1.0 { (cost.cycles as f64 / frac).ceil() as u64 } else { cost.cycles };
        ArrayCost { cycles, ..cost }
    }

    fn utilisation(&self, macs: u64, total_ps: u64) -> f64 {
        let ps_per_mac = match (self.peak_ps_per_mac, self.macs_per_cycle) {
            (Some(ps), _) => ps,
            (None, Some(units)) => self.ps_per_cycle / units.max(1) as f64,
            (None, None) => 0.0,
        };
        if total_ps == 0 { 0.0 } else { (macs as f64 * ps_per_mac / total_ps as f64).min(1.0) }
    }
}

/// Every operand of a layer once through the memory beside the array.
fn moved(work: &TrunkWork) -> ArrayCost {
    let sram_read_b = work.input_b.saturating_add(work.weight_b);
    ArrayCost { cycles: 0, folds: 0, sram_read_b, sram_write_b: work.output_b }
}

fn bound(compute_ps: u64, memory_ps: u64, sram_ps: u64) -> Bound {
    if compute_ps >= memory_ps && compute_ps >= sram_ps {
        Bound::Compute
    } else if memory_ps >= sram_ps {
        Bound::Memory
    } else {
        Bound::Sram
    }
}

/// The value of a figure that a file need not mention; one that it declares unknown is named.
pub fn note_given(figure: &Figure, unknown: &mut BTreeSet<String>) -> Option<f64> {
    if figure.is_given() { note(figure, unknown) } else { None }
}

/// What a file must not call a share of utilisation: misspelt keys would be ignored.
pub const LAYER_KINDS: [&str; 3] = ["conv_frac", "depthwise_frac", "linear_frac"];

/// The first key of `utilisation_by_layer_kind` that means nothing.
pub fn misspelt(shares: &BTreeMap<String, Figure>) -> Option<&String> {
    shares.keys().find(|key| !LAYER_KINDS.contains(&key.as_str()))
}
