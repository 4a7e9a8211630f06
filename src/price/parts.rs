//! The parts of a run's energy, each from the figures of one thing.
//!
//! 1 mW over 1 ps is 0.001 pJ; 1 W over 1 ps is 1 pJ. Nothing of an unknown figure is needed where
//! its count or its time is 0, and then it is not named.

use super::activity::Activity;
use crate::hw::link::Link;
use crate::hw::memory::MemoryLevel;
use crate::hw::system::Host;
use crate::hw::{Adapter, Confidence, Estimate, Figure, System, Trunk};

const BITS: f64 = 8.0;

/// A power over a time.
fn mw_over(power_mw: &Figure, ps: u64) -> Estimate {
    power_mw.estimate().of(ps as f64 / 1e3)
}

fn w_over(power_w: &Figure, ps: u64) -> Estimate {
    power_w.estimate().of(ps as f64)
}

/// A figure of a memory that a file may not have at all.
fn of_memory(level: Option<&MemoryLevel>, path: &str, figure: impl Fn(&MemoryLevel) -> Estimate) -> Estimate {
    level.map_or_else(|| Estimate::unknown(path), figure)
}

/// Whether the trunk's arithmetic is priced by its average power, for want of a figure per MAC.
fn by_average_power(trunk: &Trunk) -> bool {
    let compute = &trunk.compute;
    let per_mac = compute.mac_pj.value().or(compute.mac_energy_fj_per_bit2.value());
    per_mac.is_none() && trunk.power.average_mw.value().is_some()
}

pub(super) fn trunk(activity: &Activity, trunk: &Trunk, notes: &mut Vec<String>) -> Estimate {
    let compute = &trunk.compute;
    let macs = activity.trunk_macs as f64;
    // Without a busy time (an unknown clock) the average power says nothing.
    if by_average_power(trunk) && activity.trunk_busy_ps > 0 {
        notes.push(format!(
            "{}: no energy per MAC; its arithmetic is its published average power over the time it was busy, \
             leakage and memories inside it included",
            trunk.path()
        ));
        return mw_over(&trunk.power.average_mw, activity.trunk_busy_ps).at_best(Confidence::Derived);
    }
    if compute.mac_energy_fj_per_bit2.is_given() {
        return match bits2(activity, trunk) {
            Some(bits2) => compute.mac_energy_fj_per_bit2.estimate().of(macs * bits2 / 1e3),
            None => Estimate::unknown(format!("{}: arith.weight_bits", trunk.path())).of(macs),
        };
    }
    compute.mac_pj.estimate().of(macs)
}

/// Product of the operands' widths: the run's, or those that the trunk was built for.
fn bits2(activity: &Activity, trunk: &Trunk) -> Option<f64> {
    let width = |ran: u32, built: Option<u32>| Some(ran).filter(|bits| *bits > 0).or(built).map(f64::from);
    let weight = width(activity.weight_bits, trunk.weight_bits())?;
    Some(weight * width(activity.activation_bits, trunk.activation_bits())?)
}

pub(super) fn adapter(activity: &Activity, adapter: &Adapter) -> Estimate {
    adapter.power.fp32_pj_per_flop.estimate().of(activity.adapter_flops as f64)
}

/// Both figures are needed for any run: a host is never free.
pub(super) fn host(activity: &Activity, host: &Host) -> Estimate {
    let ops = host.op_pj.estimate().of(activity.host_ops as f64);
    ops.plus(w_over(&host.active_w, activity.elapsed_ps))
}

pub(super) fn link(activity: &Activity, link: &Link) -> Estimate {
    let (out, into) = (&activity.tap_out, &activity.tap_in);
    let bits = (out.wire_b as f64 + into.wire_b as f64) * BITS;
    let transactions = out.transactions as f64 + into.transactions as f64;
    let wires = link.energy.wire_pj_per_bit.estimate().of(bits);
    wires.plus(link.energy.transaction_nj.estimate().of(transactions * 1e3))
}

pub(super) fn trunk_memory(activity: &Activity, trunk: &Trunk) -> Estimate {
    let path = trunk.path();
    let dram = of_memory(trunk.dram(), &format!("{path}: memory.dram.access_pj_per_bit"), MemoryLevel::read_pj_per_bit);
    let dram = dram.of(activity.trunk_dram_b as f64 * BITS);
    if by_average_power(trunk) {
        return dram;
    }
    let Some(level) = trunk.on_chip().filter(|level| level.power_nw_per_bit.is_given()) else {
        let missing = format!("{path}: memory.sram.read_pj_per_bit");
        let read = of_memory(trunk.on_chip(), &missing, MemoryLevel::read_pj_per_bit);
        let write = of_memory(trunk.on_chip(), &missing, MemoryLevel::write_pj_per_bit);
        let read = read.of(activity.trunk_on_chip_read_b as f64 * BITS);
        return dram.plus(read).plus(write.of(activity.trunk_on_chip_write_b as f64 * BITS));
    };
    // A power per bit that is there, whether read or not: nW x ps is 1e-9 pJ.
    let held_b = match activity.line_buffer_b {
        0 => level.capacity_b.estimate(),
        bytes => Estimate::exact(bytes as f64),
    };
    let bits = held_b.of(BITS);
    dram.plus(level.power_nw_per_bit.estimate().times(bits).of(activity.elapsed_ps as f64 * 1e-9))
}

pub(super) fn adapter_memory(
    activity: &Activity,
    adapter: &Adapter,
    arithmetic_pj: &Estimate,
    notes: &mut Vec<String>,
) -> Estimate {
    let missing = format!("{}: memory.device.access_pj_per_bit", adapter.path());
    let traffic = of_memory(adapter.device_memory(), &missing, MemoryLevel::read_pj_per_bit)
        .of(activity.adapter_mem_b as f64 * BITS);
    if adapter.power.pj_per_flop_includes_memory != Some(true) || activity.adapter_mem_b == 0 {
        return traffic;
    }
    notes.push(format!(
        "{}: the energy of an operation is the whole device's, memory included; memory counts only by what its \
         traffic takes beyond that",
        adapter.path()
    ));
    traffic.beyond(arithmetic_pj.clone())
}

pub(super) fn idle(activity: &Activity, system: &System, notes: &mut Vec<String>) -> Estimate {
    let waiting_ps = activity.elapsed_ps.saturating_sub(activity.adapter_busy_ps);
    let link = mw_over(&system.link.energy.idle_mw, activity.elapsed_ps);
    trunk_idle(activity, &system.trunk).plus(adapter_idle(&system.adapter, waiting_ps, notes)).plus(link)
}

fn trunk_idle(activity: &Activity, trunk: &Trunk) -> Estimate {
    let power = &trunk.power;
    let waiting_ps = activity.elapsed_ps.saturating_sub(activity.trunk_busy_ps);
    let waiting = if power.idle_mw.is_given() { &power.idle_mw } else { &power.static_mw };
    let mut idle = mw_over(waiting, waiting_ps);
    if !by_average_power(trunk) {
        for level in trunk.memory.values().filter(|level| level.leakage_mw.is_given()) {
            idle = idle.plus(mw_over(&level.leakage_mw, activity.elapsed_ps));
        }
        let busy_ps = activity.elapsed_ps - waiting_ps;
        idle = idle.plus(mw_over(&power.static_mw, busy_ps));
        if power.clock_tree_mw.is_given() {
            idle = idle.plus(mw_over(&power.clock_tree_mw, busy_ps));
        }
    }
    match trunk.dram() {
        Some(dram) => idle.plus(mw_over(&dram.idle_mw, activity.elapsed_ps)),
        None => idle,
    }
}

/// A device that waits holds its context: idling without one is only a lower bound for it.
fn adapter_idle(adapter: &Adapter, waiting_ps: u64, notes: &mut Vec<String>) -> Estimate {
    let power = &adapter.power;
    let context = w_over(&power.idle_context_w, waiting_ps);
    if power.idle_context_w.value().is_some() || power.idle_w.value().is_none() || waiting_ps == 0 {
        return context;
    }
    notes.push(format!("{}: it waits at its power without a context, for want of the other", adapter.path()));
    context.plus(w_over(&power.idle_w, waiting_ps))
}
