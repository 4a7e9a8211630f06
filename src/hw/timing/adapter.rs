//! A kernel on the adapter device: launched, then bound by arithmetic or by memory.
//!
//! The rate of arithmetic is the one that large matrix products were measured to reach, or else the
//! peak: an upper bound for the small kernels that adapters are. Where the file has a curve of small
//! matrix products, a product runs at the fraction of its size. A round trip (the trunk must know
//! that the adapter is done) is paid once a segment, by whoever lays out the segments.

use super::{Bound, ceil_ps, note};
use crate::hw::adapter::Adapter;
use crate::hw::figure::Figure;
use crate::hw::schema::LaunchApi;
use crate::hw::system::System;
use serde::Serialize;
use std::collections::BTreeSet;

/// Work of one kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdapterWork {
    pub flops: u64,
    pub bytes: u64,
    /// Whether it is a matrix product, whose rate depends on its size.
    pub is_product: bool,
}

/// How long a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KernelTime {
    pub launch_ps: u64,
    pub compute_ps: u64,
    pub memory_ps: u64,
    pub total_ps: u64,
    pub bound: Bound,
}

/// How an adapter device spends its time through one interface.
#[derive(Clone, Debug)]
pub struct AdapterTiming {
    launch_ps: u64,
    round_trip_ps: u64,
    ps_per_flop: f64,
    /// Of matrix products: logarithms of the size and of how much longer an operation takes there.
    slowdown: Vec<(f64, f64)>,
    ps_per_b: f64,
    unknown: BTreeSet<String>,
}

impl AdapterTiming {
    pub fn of(system: &System) -> Self {
        Self::new(&system.adapter, system.launch_api)
    }

    pub fn new(adapter: &Adapter, api: LaunchApi) -> Self {
        let mut unknown = BTreeSet::new();
        let launch = adapter.launch.get(&api);
        let mut launch_time = |name: &str, figure: Option<&Figure>| match figure {
            Some(figure) => note(figure, &mut unknown).map_or(0, |us| ceil_ps(us * 1e6)),
            None => {
                unknown.insert(format!("{}: launch.{api}.{name}", adapter.path()));
                0
            }
        };
        let launch_ps = launch_time("one_way_us", launch.map(|l| &l.one_way_us));
        let round_trip_ps = launch_time("round_trip_us", launch.map(|l| &l.round_trip_us));
        let compute = &adapter.compute;
        let measured = &compute.gemm_fp32_tflop_per_s;
        let rate = if measured.value().is_some() { measured } else { &compute.peak_fp32_tflop_per_s };
        // 1 TFLOP/s is one operation a picosecond.
        let ps_per_flop = note(rate, &mut unknown).map_or(0.0, |tflop_per_s| 1.0 / tflop_per_s);
        let slowdown = slowdown(adapter, rate.value());
        let ps_per_b = ps_per_b(adapter, &mut unknown);
        Self { launch_ps, round_trip_ps, ps_per_flop, slowdown, ps_per_b, unknown }
    }

    /// Submitting a kernel until it starts.
    pub fn launch_ps(&self) -> u64 {
        self.launch_ps
    }

    /// Submitting until the other side knows that it is done, beyond the work itself.
    pub fn round_trip_ps(&self) -> u64 {
        self.round_trip_ps
    }

    pub fn kernel(&self, work: &AdapterWork) -> KernelTime {
        let slower = if work.is_product { self.slower(work.flops) } else { 1.0 };
        let compute_ps = ceil_ps(work.flops as f64 * self.ps_per_flop * slower);
        let memory_ps = ceil_ps(work.bytes as f64 * self.ps_per_b);
        KernelTime {
            launch_ps: self.launch_ps,
            compute_ps,
            memory_ps,
            total_ps: self.launch_ps + compute_ps.max(memory_ps),
            bound: if memory_ps > compute_ps { Bound::Memory } else { Bound::Compute },
        }
    }

    /// How much longer an operation takes in a product of this much work than in the largest ones.
    fn slower(&self, flops: u64) -> f64 {
        let (Some(first), Some(last)) = (self.slowdown.first(), self.slowdown.last()) else { return 1.0 };
        // An n x n x n product has 2 n^3 operations.
        let size = ((flops as f64 / 2.0).cbrt().max(1.0).ln()).clamp(first.0, last.0);
        let above = self.slowdown.iter().position(|(n, _)| *n >= size).unwrap_or(0);
        let (a, b) = (self.slowdown[above.saturating_sub(1)], self.slowdown[above]);
        let share = if b.0 > a.0 { (size - a.0) / (b.0 - a.0) } else { 1.0 };
        (a.1 + (b.1 - a.1) * share).exp()
    }

    /// Its time, launch and all.
    pub fn kernel_ps(&self, work: &AdapterWork) -> u64 {
        self.kernel(work).total_ps
    }

    /// Figures that the times lack.
    pub fn unknown(&self) -> &BTreeSet<String> {
        &self.unknown
    }
}

/// The file's curve against the rate that is taken for large products. Its fractions are of the
/// peak, or, where nobody knows that, of the largest product measured.
fn slowdown(adapter: &Adapter, rate: Option<f64>) -> Vec<(f64, f64)> {
    let compute = &adapter.compute;
    let whole = compute.peak_fp32_tflop_per_s.value().or(compute.gemm_fp32_tflop_per_s.value());
    let (Some(rate), Some(whole)) = (rate, whole) else { return Vec::new() };
    let reached = compute.small_gemm_curve.iter().filter(|(_, fraction)| *fraction > 0.0);
    let mut curve: Vec<_> = reached.map(|(n, fraction)| (n.ln(), (rate / (whole * fraction)).ln())).collect();
    curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    curve
}

/// Time per byte at the bandwidth reached; one that nobody measured is taken to be all of it.
fn ps_per_b(adapter: &Adapter, unknown: &mut BTreeSet<String>) -> f64 {
    let Some(memory) = adapter.device_memory() else {
        unknown.insert(format!("{}: memory.device.bandwidth_gb_per_s", adapter.path()));
        return 0.0;
    };
    let achieved = &memory.bandwidth_achieved_frac;
    if achieved.is_unknown() {
        unknown.insert(achieved.path());
    }
    let achieved = achieved.value().unwrap_or(1.0);
    note(&memory.bandwidth_gb_per_s, unknown).map_or(0.0, |gb_per_s| 1e3 / (gb_per_s * achieved))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::library;

    #[test]
    fn a_kernel_is_launched_and_then_bound_by_the_slower_of_two() {
        let system = library::load_system("asic-h200-pcie").unwrap();
        let timing = AdapterTiming::of(&system);
        assert_eq!((timing.launch_ps(), timing.round_trip_ps()), (5_760_000, 41_600_000));
        // 51.34 TFLOP/s, 4800 GB/s.
        let compute = timing.kernel(&AdapterWork { flops: 5_134_000_000, bytes: 48, is_product: true });
        assert_eq!((compute.compute_ps, compute.memory_ps), (100_000_000, 10));
        assert_eq!((compute.total_ps, compute.bound), (105_760_000, Bound::Compute));
        let memory = timing.kernel(&AdapterWork { flops: 1, bytes: 4_800_000, is_product: false });
        assert_eq!((memory.memory_ps, memory.bound), (1_000_000, Bound::Memory));
        assert_eq!(timing.kernel_ps(&AdapterWork::default()), timing.launch_ps());
    }

    #[test]
    fn small_products_run_at_the_fraction_of_their_size() {
        let mut system = library::load_system("asic-h200-pcie").unwrap();
        // Of a peak of 66.9 TFLOP/s.
        system.adapter.compute.small_gemm_curve = vec![(1024.0, 0.5), (64.0, 0.005)];
        let timing = AdapterTiming::of(&system);
        let rate = |n: u64, is_product: bool| {
            let flops = 2 * n.pow(3);
            flops as f64 / timing.kernel(&AdapterWork { flops, bytes: 0, is_product }).compute_ps as f64
        };
        for (n, tflop_per_s) in [(1024, 33.45), (64, 0.3345), (4096, 33.45), (8, 0.3345), (256, 3.345)] {
            assert!((rate(n, true) / tflop_per_s - 1.0).abs() < 1e-2, "{n}: {} TFLOP/s", rate(n, true));
        }
        assert!((rate(64, false) / 51.34 - 1.0).abs() < 1e-3);
    }
}
