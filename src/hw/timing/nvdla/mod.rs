//! A convolution engine after NVDLA: `atomic_c` input channels times `atomic_k` filters a cycle.
//!
//! A step of the engine takes one position of the window over one group of channels; channels and
//! filters that do not fill a group leave multipliers idle. An image (four channels at most) merges
//! a kernel's row into its channels, and up to four rows where they fit. 3×3 convolutions of stride
//! 1 take Winograd's fast form where the file says so: fewer cycles, weights 16/9 as large.
//! What `compat = "nvdla-xlsx"` adds is in [`sheet`]. It refuses nothing: an engine whose atoms are
//! unknown counts every multiplier as busy and names them.

pub mod sheet;

use super::layers::Layer;
use super::shared::Shared;
use super::step::{ArrayCost, StepTime};
use super::{LayerKind, TrunkWork, Window, mul, note};
use crate::hw::schema::words;
use crate::hw::trunk::Trunk;

words!(
    /// Whose figures to reproduce, quirks included.
    Compat {
        NvdlaXlsx = "nvdla-xlsx",
    }
);

/// Most channels that an image has; it may merge so many rows of a kernel.
const IMAGE: u64 = 4;

/// The multipliers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Engine {
    pub atomic_c: u64,
    pub atomic_k: u64,
    /// How many times fewer cycles a 3×3 convolution of stride 1 takes.
    pub winograd_gain: Option<f64>,
}

/// What a layer with everything that is fused into it asks of engine and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub mac_cycles: u64,
    pub input_b: u64,
    pub weight_b: u64,
    /// The other operand of a fused addition.
    pub operand_b: u64,
    pub output_b: u64,
    /// To and from memory with no map staying on the chip.
    pub traffic_b: u64,
}

impl Engine {
    fn is_winograd(&self, w: &Window) -> bool {
        self.winograd_gain.is_some() && w.kernel == [3, 3] && w.stride == [1, 1] && w.groups <= 1 && w.in_c > IMAGE
    }

    /// Cycles of a convolution or a linear layer.
    pub fn mac_cycles(&self, w: &Window) -> u64 {
        let groups = w.groups.max(1);
        let (atomic_c, atomic_k) = (self.atomic_c.max(1), self.atomic_k.max(1));
        let filters = (w.out_c / groups).div_ceil(atomic_k);
        if w.in_c <= IMAGE && w.taps() > 1 && groups == 1 {
            let row = mul(&[w.kernel[1], w.in_c]);
            let merged = [4, 2, 1].into_iter().find(|rows| mul(&[*rows, row]) <= atomic_c).unwrap_or(1);
            return mul(&[w.out_pixels(), w.kernel[0].div_ceil(merged), row.div_ceil(atomic_c), filters]);
        }
        let cycles = mul(&[w.out_pixels(), w.taps(), (w.in_c / groups).div_ceil(atomic_c), filters, groups]);
        match self.winograd_gain.filter(|_| self.is_winograd(w)) {
            Some(gain) => (cycles as f64 / gain).ceil() as u64,
            None => cycles,
        }
    }

    /// Weights as they lie in memory.
    pub fn stored_weight_b(&self, w: &Window) -> u64 {
        if self.is_winograd(w) { mul(&[w.weights(), 16]) / 9 } else { w.weights() }
    }

    /// The plain model of a layer, every map coming from and going to memory once.
    pub fn counts(&self, layer: &Layer) -> Counts {
        let window = &layer.work.window;
        let counts = Counts {
            mac_cycles: self.mac_cycles(window),
            input_b: window.in_b(),
            weight_b: self.stored_weight_b(window),
            operand_b: if layer.adds_operand { window.out_b() } else { 0 },
            output_b: mul(&[layer.stored_pixels(), window.out_c]),
            traffic_b: 0,
        };
        counts.with_traffic()
    }
}

impl Counts {
    fn with_traffic(self) -> Self {
        let parts = [self.input_b, self.weight_b, self.operand_b, self.output_b];
        Self { traffic_b: parts.into_iter().fold(0, u64::saturating_add), ..self }
    }
}

/// A trunk of the kind `simd_npu`.
#[derive(Clone, Debug)]
pub struct Nvdla {
    pub shared: Shared,
    /// None where the atoms are unknown.
    pub engine: Option<Engine>,
    compat: Option<Compat>,
}

impl Nvdla {
    pub fn new(trunk: &Trunk) -> Self {
        let compute = &trunk.compute;
        let mut shared = Shared::new(trunk);
        let gain = compute.winograd_3x3_s1_gain.value().filter(|gain| compute.winograd == Some(true) && *gain > 1.0);
        let (c, k) = (note(&compute.atomic_c, &mut shared.unknown), note(&compute.atomic_k, &mut shared.unknown));
        let engine = c.zip(k).map(|(c, k)| Engine { atomic_c: c as u64, atomic_k: k as u64, winograd_gain: gain });
        Self { shared, engine, compat: compute.compat }
    }

    pub fn step(&self, work: &TrunkWork) -> StepTime {
        let multiplies = matches!(work.kind, LayerKind::Conv | LayerKind::Depthwise | LayerKind::Linear);
        let Some(engine) = self.engine.filter(|_| multiplies && work.window.gemm().is_some()) else {
            return self.shared.finish(work, 1, || self.shared.ideal(work));
        };
        let Some(Compat::NvdlaXlsx) = self.compat else {
            let stored = TrunkWork { weight_b: engine.stored_weight_b(&work.window), ..*work };
            return self.shared.finish(&stored, engine.atomic_k, || self.cost(&engine, &stored));
        };
        let counts = sheet::counts(&engine, &Layer::alone(*work)).counts;
        // The sheet's KiB are a thousand bytes; nothing of its traffic stays on the chip.
        let priced = TrunkWork { weight_b: 0, input_b: 0, output_b: sheet::priced_b(counts.traffic_b), ..*work };
        self.shared
            .finish(&priced, engine.atomic_k, || ArrayCost { cycles: counts.mac_cycles, ..self.cost(&engine, work) })
    }

    fn cost(&self, engine: &Engine, work: &TrunkWork) -> ArrayCost {
        let w = &work.window;
        let groups = w.groups.max(1);
        let passes = (w.out_c / groups).div_ceil(engine.atomic_k.max(1));
        ArrayCost {
            cycles: engine.mac_cycles(w),
            folds: mul(&[passes, (w.in_c / groups).div_ceil(engine.atomic_c.max(1)), groups]),
            // The buffer gives each input once per group of filters.
            sram_read_b: mul(&[work.input_b, passes]).saturating_add(work.weight_b),
            sram_write_b: work.output_b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::library;

    fn engine() -> Engine {
        Engine { atomic_c: 64, atomic_k: 32, winograd_gain: None }
    }

    fn window(in_c: u64, out_c: u64, kernel: u64, out: u64) -> Window {
        Window {
            in_h: out,
            in_w: out,
            in_c,
            out_h: out,
            out_w: out,
            out_c,
            kernel: [kernel; 2],
            stride: [1; 2],
            groups: 1,
        }
    }

    #[test]
    fn channels_and_filters_fill_atoms() {
        assert_eq!(engine().mac_cycles(&window(64, 32, 3, 10)), 900);
        assert_eq!(engine().mac_cycles(&window(65, 33, 3, 10)), 4 * 900);
        // An image of 3 channels: a row of 21 values, two rows at once, four steps for seven rows.
        assert_eq!(engine().mac_cycles(&window(3, 64, 7, 10)), 100 * 4 * 2);
        let winograd = Engine { winograd_gain: Some(2.25), ..engine() };
        assert_eq!(winograd.mac_cycles(&window(64, 32, 3, 10)), 400);
        assert_eq!(winograd.stored_weight_b(&window(64, 32, 3, 10)), 64 * 32 * 16);
        assert_eq!(winograd.mac_cycles(&window(64, 32, 1, 10)), 100);
    }

    #[test]
    fn a_layer_costs_the_longer_of_computing_and_loading() {
        let trunk = library::load_system("edge-nvdla-orin-ucie").unwrap().trunk;
        // 2048 MACs a cycle at 1 GHz; 20 GB/s are 50 ps a byte.
        let timing = Nvdla::new(&trunk);
        let work = TrunkWork { macs: 2049, weight_b: 10, input_b: 10, output_b: 10, ..TrunkWork::default() };
        let time = timing.step(&work);
        assert_eq!((time.compute_ps, time.memory_ps, time.total_ps), (2000, 1500, 2000));
        assert_eq!((time.bound, time.dram_b, time.stall_cycles), (super::super::Bound::Compute, 30, 0));
        let loads = timing.step(&TrunkWork { weight_b: 980, ..work });
        assert_eq!((loads.total_ps, loads.bound, loads.stall_cycles), (50_000, super::super::Bound::Memory, 48));
        let mut adds = trunk.clone();
        adds.cost_rule = Some(crate::hw::CostRule::Sum);
        assert_eq!(Nvdla::new(&adds).step(&work).total_ps, 3500);
    }

    #[test]
    fn maps_that_fit_a_store_on_the_chip_stay_there() {
        let mut trunk = library::load_system("edge-nvdla-orin-ucie").unwrap().trunk;
        trunk.memory.get_mut("cbuf").unwrap().holds_activations = Some(true);
        let timing = Nvdla::new(&trunk);
        let half = 524_288 / 2;
        let work = TrunkWork { weight_b: 7, input_b: half, output_b: half, ..TrunkWork::default() };
        assert_eq!(timing.step(&work).dram_b, 7);
        assert_eq!(timing.step(&TrunkWork { output_b: half + 1, ..work }).dram_b, 524_288 + 8);
        assert_eq!(timing.step(&TrunkWork { resident_weight_b: 7, ..work }).dram_b, 0);
    }
}
