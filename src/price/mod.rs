//! Ledger x hardware model to energy, with sources and intervals.
//!
//! Energy is computed once, here, from a run's integers. Each part is an [`Estimate`]: value and
//! interval in pJ, the worst confidence of the figures used, and the figures that were needed and
//! are unknown. As long as one is unknown the total is a lower bound and says so.
//!
//! What it refuses: a default for a figure that nobody knows. It prices no work that is not in the
//! [`Activity`], and it does not look at a schedule beyond elapsed and busy times.

mod activity;
pub mod area;
mod parts;

pub use activity::{Activity, LinkActivity};

use crate::hw::{Confidence, Estimate, System};
use serde::Serialize;

/// Energy of a run, in pJ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EnergyReport {
    /// The trunk's arithmetic.
    pub trunk_pj: Estimate,
    /// The adapter device's arithmetic.
    pub adapter_pj: Estimate,
    pub host_pj: Estimate,
    /// The wires, both directions.
    pub link_pj: Estimate,
    /// The memories of the trunk and of the adapter device.
    pub memory_pj: Estimate,
    /// What is drawn whether or not anything is done: leakage, a waiting device, an idle link.
    pub idle_pj: Estimate,
    pub total_pj: Estimate,
    /// Whether a figure was unknown: then the truth is above, and the interval's ends are too low.
    pub lower_bound: bool,
    /// The worst of the figures used.
    pub confidence: Confidence,
    /// The figures that were needed and are unknown, as `kind/name: key`.
    pub unknown: Vec<String>,
    /// How a part was arrived at where it is not plain.
    pub notes: Vec<String>,
}

/// Prices what a run did on a system.
pub fn price(activity: &Activity, system: &System) -> EnergyReport {
    let mut notes = Vec::new();
    let trunk_pj = parts::trunk(activity, &system.trunk, &mut notes);
    let adapter_pj = parts::adapter(activity, &system.adapter);
    let host_pj = parts::host(activity, &system.host);
    let link_pj = parts::link(activity, &system.link);
    let memory_pj = parts::trunk_memory(activity, &system.trunk).plus(parts::adapter_memory(
        activity,
        &system.adapter,
        &adapter_pj,
        &mut notes,
    ));
    let idle_pj = parts::idle(activity, system, &mut notes);
    let all = [&trunk_pj, &adapter_pj, &host_pj, &link_pj, &memory_pj, &idle_pj];
    let total_pj: Estimate = all.into_iter().cloned().sum();
    EnergyReport {
        lower_bound: total_pj.is_lower_bound(),
        confidence: total_pj.conf,
        unknown: total_pj.unknown.iter().cloned().collect(),
        trunk_pj,
        adapter_pj,
        host_pj,
        link_pj,
        memory_pj,
        idle_pj,
        total_pj,
        notes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::library::load_system;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * b.abs().max(1e-300)
    }

    #[test]
    fn nothing_done_in_no_time_costs_nothing_and_lacks_nothing() {
        for name in ["asic-h200-pcie", "edge-nvdla-orin-ucie"] {
            let report = price(&Activity::default(), &load_system(name).unwrap());
            assert_eq!(report.total_pj, Estimate::zero(), "{name}");
            assert!(!report.lower_bound && report.unknown.is_empty(), "{name}: {:?}", report.unknown);
        }
    }

    #[test]
    fn the_fixed_trunk_takes_its_published_energy_per_mac() {
        let activity = Activity { trunk_macs: 1_000_000, weight_bits: 8, activation_bits: 8, ..Activity::default() };
        let report = price(&activity, &load_system("asic-h200-pcie").unwrap());
        let per_mac = report.trunk_pj.v / 1e6;
        assert!(close(per_mac, 0.0715 * 64.0 / 1e3), "{per_mac} pJ/MAC");
        // FIGURES 1.3: 0.0046 pJ/MAC without buffers; half the bits on one side is half of it.
        assert!((0.003..0.007).contains(&per_mac));
        assert!(report.trunk_pj.lo < report.trunk_pj.v && report.trunk_pj.v < report.trunk_pj.hi);
        let narrow = price(&Activity { weight_bits: 4, ..activity }, &load_system("asic-h200-pcie").unwrap());
        assert!(close(narrow.trunk_pj.v * 2.0, report.trunk_pj.v));
    }

    #[test]
    fn nvdla_takes_its_published_energy_per_frame() {
        // ResNet-50 at 269 frames/s; 1.082 mJ a frame and 0.28 pJ a MAC in FIGURES 1.3.
        let busy_ps = (1e12_f64 / 269.0) as u64;
        let activity = Activity {
            trunk_macs: 3_855_925_248,
            weight_bits: 8,
            activation_bits: 8,
            trunk_busy_ps: busy_ps,
            elapsed_ps: busy_ps,
            ..Activity::default()
        };
        let report = price(&activity, &load_system("edge-nvdla-orin-ucie").unwrap());
        assert!((report.trunk_pj.v / 1e9 - 1.082).abs() < 0.001, "{} mJ", report.trunk_pj.v / 1e9);
        let per_mac = report.trunk_pj.v / activity.trunk_macs as f64;
        assert!((0.25..0.31).contains(&per_mac), "{per_mac} pJ/MAC");
        assert_eq!(report.trunk_pj.conf, Confidence::Derived);
        assert!(report.notes.iter().any(|note| note.contains("average power")), "{:?}", report.notes);
    }

    /// Every part by hand, on the PCIe system.
    #[test]
    fn parts_computed_by_hand() {
        let link = |wire_b, transactions| LinkActivity { payload_b: wire_b, wire_b, transactions, busy_ps: 1 };
        let activity = Activity {
            adapter_flops: 1_000,
            adapter_mem_b: 1_000,
            tap_out: link(100, 2),
            tap_in: link(50, 1),
            host_ops: 7,
            elapsed_ps: 1_000_000,
            adapter_busy_ps: 400_000,
            trunk_busy_ps: 500_000,
            ..Activity::default()
        };
        let system = load_system("asic-h200-pcie").unwrap();
        let report = price(&activity, &system);
        assert!(close(report.adapter_pj.v, 10.5 * 1e3));
        // 1000 B at 4.05 pJ/bit are 32.4 nJ, of which 10.5 nJ are in the operations already.
        assert!(close(report.memory_pj.v, 1e3 * 8.0 * 4.05 - 10.5 * 1e3), "{:?}", report.memory_pj);
        // The device waits 0.6 us at 142 W.
        assert!(close(report.idle_pj.v, 600_000.0 * 142.0), "{:?}", report.idle_pj);
        assert!(close(report.idle_pj.lo, 600_000.0 * 140.0) && close(report.idle_pj.hi, 600_000.0 * 145.0));
        assert_eq!((report.link_pj.v, report.host_pj.v), (0.0, 0.0));
        let sum = report.adapter_pj.v + report.memory_pj.v + report.idle_pj.v;
        assert!(close(report.total_pj.v, sum));
        assert!(report.lower_bound);
        assert_eq!(report.confidence, Confidence::Borrowed);
        for path in [
            "link/pcie-gen3-x8: energy.wire_pj_per_bit",
            "link/pcie-gen3-x8: energy.transaction_nj",
            "link/pcie-gen3-x8: energy.idle_mw",
            "system/asic-h200-pcie: host.op_pj",
            "system/asic-h200-pcie: host.active_w",
            "trunk/fixed-weight-16nm: power.static_mw",
            "trunk/fixed-weight-16nm: memory.linebuffer.capacity_b",
        ] {
            assert!(report.unknown.iter().any(|name| name == path), "{path} is not in {:?}", report.unknown);
        }
    }

    #[test]
    fn a_known_link_energy_is_charged_for_all_wire_bits() {
        let activity = Activity {
            tap_in: LinkActivity { payload_b: 256, wire_b: 512, transactions: 1, busy_ps: 1 },
            ..Activity::default()
        };
        let report = price(&activity, &load_system("edge-nvdla-orin-ucie").unwrap());
        assert!(close(report.link_pj.v, 512.0 * 8.0 * 0.6));
        assert!(report.lower_bound, "the energy of a transaction is unknown");
    }

    #[test]
    fn unknown_memory_energy_is_named() {
        let activity = Activity { adapter_mem_b: 10, trunk_dram_b: 10, ..Activity::default() };
        let report = price(&activity, &load_system("edge-nvdla-orin-ucie").unwrap());
        assert_eq!(report.memory_pj.v, 0.0);
        let unknown = &report.memory_pj.unknown;
        assert!(unknown.iter().any(|u| u.contains("lpddr5")), "{unknown:?}");
        assert!(unknown.iter().any(|u| u.starts_with("trunk/nvdla-full-16nm: memory.dram")), "{unknown:?}");
    }
}
