//! How long the adapter device takes for a kernel: launch, then a roofline of its measured
//! fraction of peak.

use super::{HwFile, System};
use crate::hw::trunk_time::ceil_ps;
use std::collections::BTreeSet;

/// What a kernel asks of the adapter device, for one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdapterWork {
    pub flops: u64,
    /// Read and written in device memory.
    pub bytes: u64,
}

/// The timing model of an adapter device.
#[derive(Clone, Debug)]
pub struct AdapterTime {
    /// From submitting a kernel to its start.
    pub launch_ps: u64,
    /// From submitting until the program knows that it is done: paid where the trunk waits.
    pub round_trip_ps: u64,
    flop_per_ps: Option<f64>,
    byte_per_ps: Option<f64>,
    pub unknown: BTreeSet<String>,
}

impl AdapterTime {
    pub fn new(system: &System) -> Self {
        let file: &HwFile = &system.adapter;
        let mut unknown = BTreeSet::new();
        let mut need = |key: &str| {
            unknown.extend(file.figure(key).unknown);
            file.value(key)
        };
        let us = |v: Option<f64>| v.map_or(0, |us| ceil_ps(us * 1e6));
        let launch_ps = us(need(&format!("launch.{}.one_way_us", system.launch_api)));
        let round_trip_ps = us(need(&format!("launch.{}.round_trip_us", system.launch_api)));
        // The measured rate of large products where it is known, else the peak.
        let measured = file.value("compute.gemm_fp32_tflop_per_s");
        let flop_per_ps = measured.or_else(|| need("compute.peak_fp32_tflop_per_s"));
        let achieved = file.value("memory.device.bandwidth_achieved_frac").unwrap_or(1.0);
        let byte_per_ps = need("memory.device.bandwidth_gb_per_s").map(|gb| gb * achieved / 1e3);
        Self { launch_ps, round_trip_ps, flop_per_ps, byte_per_ps, unknown }
    }

    /// The time of one kernel, without its launch.
    pub fn kernel_ps(&self, work: &AdapterWork) -> u64 {
        let compute = self.flop_per_ps.map_or(0.0, |rate| work.flops as f64 / rate);
        let memory = self.byte_per_ps.map_or(0.0, |rate| work.bytes as f64 / rate);
        ceil_ps(compute.max(memory))
    }
}
