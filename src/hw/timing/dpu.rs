//! An FPGA engine after Xilinx's DPU: pixels × input channels × output channels a cycle.
//!
//! A depthwise layer has no second channel to sum over: the multipliers for output channels stay
//! idle, all but one set, and the file may say that it achieves less still. What a layer kind
//! achieves of the engine (`utilisation_by_layer_kind`) is measured, not modelled.

use super::shared::Shared;
use super::step::{ArrayCost, StepTime};
use super::{LayerKind, TrunkWork, Window, mul, note};
use crate::hw::trunk::Trunk;

/// The three ways of parallelism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parallel {
    pub pixels: u64,
    pub in_c: u64,
    pub out_c: u64,
}

impl Parallel {
    pub fn cycles(&self, w: &Window, kind: LayerKind) -> u64 {
        let pixels = w.out_pixels().div_ceil(self.pixels.max(1));
        let (in_c, out_c) = (self.in_c.max(1), self.out_c.max(1));
        if kind == LayerKind::Depthwise {
            // One channel per lane, as many lanes as input channels are taken at once.
            return mul(&[pixels, w.taps(), w.out_c.div_ceil(in_c)]);
        }
        let groups = w.groups.max(1);
        mul(&[pixels, w.taps(), (w.in_c / groups).div_ceil(in_c), (w.out_c / groups).div_ceil(out_c), groups])
    }
}

/// A trunk of the kind `fpga_dpu`.
#[derive(Clone, Debug)]
pub struct Dpu {
    pub shared: Shared,
    /// None where the parallelism is unknown.
    parallel: Option<Parallel>,
}

impl Dpu {
    pub fn new(trunk: &Trunk) -> Self {
        let compute = &trunk.compute;
        let mut shared = Shared::new(trunk);
        let figures = [&compute.pixel_parallel, &compute.atomic_c, &compute.atomic_k];
        let [pixels, in_c, out_c] = figures.map(|figure| note(figure, &mut shared.unknown).map(|v| v as u64));
        let all = pixels.zip(in_c).zip(out_c);
        Self { shared, parallel: all.map(|((pixels, in_c), out_c)| Parallel { pixels, in_c, out_c }) }
    }

    pub fn step(&self, work: &TrunkWork) -> StepTime {
        let group = self.parallel.map_or(1, |p| p.out_c);
        self.shared.finish(work, group, || match self.parallel.filter(|_| work.window.gemm().is_some()) {
            Some(parallel) => {
                let cycles = parallel.cycles(&work.window, work.kind);
                ArrayCost {
                    cycles,
                    folds: work.window.out_c.div_ceil(parallel.out_c.max(1)),
                    ..self.shared.ideal(work)
                }
            }
            None => self.shared.ideal(work),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_depthwise_layer_leaves_the_output_channels_idle() {
        let b4096 = Parallel { pixels: 8, in_c: 16, out_c: 16 };
        let window = |groups| Window {
            in_h: 16,
            in_w: 16,
            in_c: 64,
            out_h: 16,
            out_w: 16,
            out_c: 64,
            kernel: [3; 2],
            stride: [1; 2],
            groups,
        };
        let dense = b4096.cycles(&window(1), LayerKind::Conv);
        assert_eq!((dense, window(1).macs() / dense), (32 * 9 * 16, 2048));
        let depthwise = b4096.cycles(&window(64), LayerKind::Depthwise);
        assert_eq!((depthwise, window(64).macs() / depthwise), (32 * 9 * 4, 128));
    }
}
