//! How long the trunk takes for a layer: integer picoseconds, rounded up.
//!
//! One rule per `kind` of trunk file. Simple on purpose: a pixel pipeline, or an array of MAC units
//! beside a memory.

use super::{HwError, HwFile};
use std::collections::BTreeSet;

/// What a layer asks of the trunk, for one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrunkWork {
    pub macs: u64,
    pub weight_b: u64,
    pub input_b: u64,
    pub output_b: u64,
    pub input_pixels: u64,
    pub output_pixels: u64,
}

/// How a layer's time comes about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTime {
    pub compute_ps: u64,
    pub memory_ps: u64,
    pub total_ps: u64,
}

/// The timing rule of a trunk file.
#[derive(Clone, Debug)]
enum Rule {
    /// Every layer has its own silicon and takes one pixel per cycle.
    PixelPipeline { pixels_per_cycle: u64 },
    /// One array for all layers, weights and maps from DRAM; the larger of the two, or their sum.
    MacArray { mac_units: Option<f64>, dram_gb_per_s: Option<f64>, sums: bool },
}

/// The timing model of a trunk.
#[derive(Clone, Debug)]
pub struct TrunkTime {
    cycle_ps: f64,
    rule: Rule,
    /// Whether layers work at the same time on successive pixels.
    pub streams: bool,
    /// Figures that the rule needs and the file does not know.
    pub unknown: BTreeSet<String>,
}

impl TrunkTime {
    pub fn new(file: &HwFile) -> Result<Self, HwError> {
        let mut unknown = BTreeSet::new();
        let mut need = |key: &str| {
            unknown.extend(file.figure(key).unknown);
            file.value(key)
        };
        let cycle_ps = need("clock_mhz").map_or(0.0, |mhz| 1e6 / mhz);
        let rule = match file.text("kind").unwrap_or_default() {
            "fixed_weight" => {
                Rule::PixelPipeline { pixels_per_cycle: file.whole("compute.pixels_per_cycle").unwrap_or(1).max(1) }
            }
            "simd_npu" => Rule::MacArray {
                mac_units: need("compute.mac_units"),
                dram_gb_per_s: need("memory.dram.bandwidth_gb_per_s"),
                sums: file.text("cost_rule") == Some("sum"),
            },
            other => {
                let why = format!("kind = \"{other}\": no timing model yet; there are fixed_weight and simd_npu");
                return Err(HwError::File { file: file.origin.clone(), line: None, why });
            }
        };
        Ok(Self { cycle_ps, rule, streams: file.flag("compute.layers_pipelined"), unknown })
    }

    /// The time of one layer.
    pub fn step(&self, work: &TrunkWork) -> StepTime {
        match self.rule {
            Rule::PixelPipeline { pixels_per_cycle } => {
                let cycles = work.input_pixels.max(work.output_pixels).div_ceil(pixels_per_cycle);
                let compute_ps = ceil_ps(cycles as f64 * self.cycle_ps);
                StepTime { compute_ps, memory_ps: 0, total_ps: compute_ps }
            }
            Rule::MacArray { mac_units, dram_gb_per_s, sums } => {
                let cycles = mac_units.map_or(0.0, |units| (work.macs as f64 / units).ceil());
                let bytes = work.weight_b + work.input_b + work.output_b;
                // A byte at 1 GB/s takes 1 ns.
                let memory_ps = dram_gb_per_s.map_or(0, |rate| ceil_ps(bytes as f64 * 1e3 / rate));
                let compute_ps = ceil_ps(cycles * self.cycle_ps);
                let total_ps = if sums { compute_ps.saturating_add(memory_ps) } else { compute_ps.max(memory_ps) };
                StepTime { compute_ps, memory_ps, total_ps }
            }
        }
    }

    /// Bytes that a layer moves to and from DRAM.
    pub fn dram_b(&self, work: &TrunkWork) -> u64 {
        match self.rule {
            Rule::PixelPipeline { .. } => 0,
            Rule::MacArray { .. } => work.weight_b + work.input_b + work.output_b,
        }
    }
}

/// Rounds picoseconds up; a time beyond 2^64 ps saturates.
pub fn ceil_ps(ps: f64) -> u64 {
    ps.ceil() as u64
}
