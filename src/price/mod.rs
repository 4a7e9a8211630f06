//! Activity × hardware figures = energy, computed once, at the very end.
//!
//! Every part carries an interval, the worst confidence it rests on, and the figures it would need
//! but nobody knows. Such a part is a lower bound, never a silent zero.

use crate::hw::{Estimate, HwFile, System};
use serde::Serialize;

/// What one image did, in integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Activity {
    pub trunk_macs: u64,
    /// Bits of line buffers that a pixel pipeline needs: (k - 1) · W · C_in · bits, summed.
    pub line_buffer_bits: u64,
    pub trunk_dram_b: u64,
    pub adapter_flops: u64,
    pub adapter_memory_b: u64,
    pub link_wire_b: u64,
    pub link_transactions: u64,
    pub trunk_busy_ps: u64,
    pub adapter_busy_ps: u64,
    /// Time from one image to the next at the steady rate.
    pub interval_ps: u64,
}

/// Energy of one image by part.
#[derive(Clone, Debug, PartialEq)]
pub struct Energy {
    pub trunk: Estimate,
    pub adapter: Estimate,
    pub host: Estimate,
    pub link: Estimate,
    pub memory: Estimate,
    pub idle: Estimate,
}

impl Energy {
    pub fn total(&self) -> Estimate {
        [&self.trunk, &self.adapter, &self.host, &self.link, &self.memory, &self.idle].into_iter().cloned().sum()
    }
}

/// 1 mW for 1 ps is 1e-3 pJ.
fn mw_ps(mw: Estimate, ps: u64) -> Estimate {
    mw.times(ps as f64 * 1e-3)
}

/// The energy of one image on a system, in picojoule.
pub fn price(activity: &Activity, system: &System) -> Energy {
    let a = activity;
    Energy {
        trunk: trunk(a, &system.trunk),
        adapter: if a.adapter_flops == 0 {
            Estimate::exact(0.0)
        } else {
            system.adapter.figure("power.fp32_pj_per_flop").times(a.adapter_flops as f64)
        },
        // Decoding and arg-max: no figure is modelled, and that is said.
        host: Estimate::unknown("host: energy of decoding and arg-max"),
        link: link(a, &system.link),
        memory: memory(a, system),
        idle: idle(a, system),
    }
}

fn trunk(a: &Activity, file: &HwFile) -> Estimate {
    if a.trunk_macs == 0 {
        return Estimate::exact(0.0);
    }
    let bits2 = (file.whole("weight_bits").unwrap_or(8) * file.whole("activation_bits").unwrap_or(8)) as f64;
    if file.value("compute.mac_energy_fj_per_bit2").is_some() {
        let macs = file.figure("compute.mac_energy_fj_per_bit2").times(a.trunk_macs as f64 * bits2 * 1e-3);
        // Line buffers run as long as pixels stream through.
        let buffers = file.figure("memory.linebuffer.power_nw_per_bit").times(a.line_buffer_bits as f64 * 1e-6);
        return macs + mw_ps(buffers, a.trunk_busy_ps);
    }
    if file.value("compute.mac_pj").is_some() {
        return file.figure("compute.mac_pj").times(a.trunk_macs as f64);
    }
    // No energy per operation is published: the average power, while it works.
    mw_ps(file.figure("power.average_mw"), a.trunk_busy_ps)
}

fn link(a: &Activity, file: &HwFile) -> Estimate {
    if a.link_wire_b == 0 {
        return Estimate::exact(0.0);
    }
    let wires = file.figure("energy.wire_pj_per_bit").times(8.0 * a.link_wire_b as f64);
    wires + file.figure("energy.transaction_nj").times(1e3 * a.link_transactions as f64)
}

/// External memories. Where the adapter's energy per operation is that of the whole board, its
/// memory is in it already.
fn memory(a: &Activity, system: &System) -> Estimate {
    let mut total = Estimate::exact(0.0);
    if a.trunk_dram_b > 0 {
        total = total + system.trunk.figure("memory.dram.access_pj_per_bit").times(8.0 * a.trunk_dram_b as f64);
    }
    if a.adapter_memory_b > 0 && system.adapter.text("power.flop_energy_covers") != Some("board") {
        total = total + system.adapter.figure("memory.device.access_pj_per_bit").times(8.0 * a.adapter_memory_b as f64);
    }
    total
}

/// What is spent whether or not anything happens: the adapter device while it waits with its
/// context held, the link, the trunk's leakage.
fn idle(a: &Activity, system: &System) -> Estimate {
    let waiting_ps = a.interval_ps.saturating_sub(a.adapter_busy_ps);
    let adapter = mw_ps(system.adapter.figure("power.idle_context_w").times(1e3), waiting_ps);
    let link = mw_ps(system.link.figure("energy.idle_mw"), a.interval_ps);
    adapter + link + mw_ps(system.trunk.figure("power.static_mw"), a.interval_ps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::library::load_system;

    #[test]
    fn a_fixed_weight_mac_costs_what_its_source_says() {
        let system = load_system("asic-h200-pcie").unwrap();
        let energy = price(&Activity { trunk_macs: 1_000_000, ..Activity::default() }, &system);
        // 0.0715 fJ/bit² · 64 bit² = 4.576 fJ.
        assert!((energy.trunk.v - 4576.0).abs() < 1e-6, "{}", energy.trunk.v);
        assert!(energy.trunk.lo < energy.trunk.v && energy.trunk.v < energy.trunk.hi);
    }

    #[test]
    fn what_nobody_knows_makes_a_lower_bound_and_is_named() {
        let system = load_system("asic-h200-pcie").unwrap();
        let energy = price(&Activity { link_wire_b: 10, link_transactions: 1, ..Activity::default() }, &system);
        assert_eq!(energy.link.v, 0.0);
        assert!(energy.link.unknown.contains("link/pcie-gen3-x8: energy.wire_pj_per_bit"));
        assert!(energy.total().is_lower_bound());
        assert!(energy.total().unknown.iter().any(|u| u.starts_with("host")));
    }

    #[test]
    fn a_waiting_adapter_device_pays_for_its_context() {
        let system = load_system("asic-h200-pcie").unwrap();
        let a = Activity { interval_ps: 3_000_000, adapter_busy_ps: 1_000_000, ..Activity::default() };
        // 142 W for 2 µs is 284 µJ.
        assert!((price(&a, &system).idle.v - 284e6).abs() < 1.0);
    }

    #[test]
    fn a_programmable_trunk_is_charged_by_its_published_power() {
        let system = load_system("edge-nvdla-orin-ucie").unwrap();
        // 2048 MAC/cycle at 1 GHz: the yardstick of NVDLA on ResNet-50 is 0.28 pJ/MAC at 269 frame/s.
        let macs = 4_089_000_000u64;
        let a = Activity { trunk_macs: macs, trunk_busy_ps: 1_000_000_000_000 / 269, ..Activity::default() };
        let pj_per_mac = price(&a, &system).trunk.v / macs as f64;
        assert!((0.2..0.4).contains(&pj_per_mac), "{pj_per_mac}");
    }
}
