//! A microcontroller: a convolution processor per input channel, or the multipliers of its core.
//!
//! With `processors` (after MAX78000), each takes one input channel and makes a whole kernel window a
//! cycle for one output channel; all of them together sum over the channels. Linear layers are windows
//! of one tap. Without, `mac_units` MACs are done a cycle. It refuses nothing.

use super::shared::{Shared, note_given};
use super::step::{ArrayCost, StepTime};
use super::{LayerKind, TrunkWork, mul};
use crate::hw::trunk::Trunk;

/// A trunk of the kind `mcu`.
#[derive(Clone, Debug)]
pub struct Mcu {
    pub shared: Shared,
    processors: Option<u64>,
}

impl Mcu {
    pub fn new(trunk: &Trunk) -> Self {
        let mut shared = Shared::new(trunk);
        let processors = note_given(&trunk.compute.processors, &mut shared.unknown).map(|n| n as u64);
        Self { shared, processors }
    }

    pub fn step(&self, work: &TrunkWork) -> StepTime {
        self.shared.finish(work, 1, || match self.processors.filter(|_| work.window.gemm().is_some()) {
            Some(processors) => self.by_channel(work, processors.max(1)),
            None => self.shared.ideal(work),
        })
    }

    fn by_channel(&self, work: &TrunkWork, processors: u64) -> ArrayCost {
        let w = &work.window;
        let groups = w.groups.max(1);
        // Depthwise, each processor makes the output channel of its own input channel.
        let (passes, outputs) = match work.kind {
            LayerKind::Depthwise => (w.in_c.div_ceil(processors), w.out_c / w.in_c.max(1)),
            _ => (mul(&[(w.in_c / groups).div_ceil(processors), groups]), w.out_c / groups),
        };
        ArrayCost { cycles: mul(&[w.out_pixels(), passes, outputs]), folds: passes, ..self.shared.ideal(work) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Window;
    use super::*;
    use crate::hw::library;
    use crate::hw::{Body, Kind};

    #[test]
    fn a_processor_takes_a_channel() {
        let Body::Trunk(trunk) = library::load(Kind::Trunk, "max78000").unwrap().body else { panic!("it is a trunk") };
        let mcu = Mcu::new(&trunk);
        let window = |in_c, out_c, groups| Window {
            in_h: 10,
            in_w: 10,
            in_c,
            out_h: 10,
            out_w: 10,
            out_c,
            kernel: [3; 2],
            stride: [1; 2],
            groups,
        };
        let cycles = |kind, w| mcu.step(&TrunkWork::of_window(kind, w)).cycles;
        assert_eq!(cycles(LayerKind::Conv, window(64, 20, 1)), 100 * 20);
        assert_eq!(cycles(LayerKind::Conv, window(65, 20, 1)), 100 * 20 * 2);
        assert_eq!(cycles(LayerKind::Depthwise, window(128, 128, 128)), 100 * 2);
        // 50 MHz.
        assert_eq!(mcu.step(&TrunkWork::of_window(LayerKind::Conv, window(64, 20, 1))).compute_ps, 2000 * 20_000);
    }
}
