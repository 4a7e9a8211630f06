//! Lite residual module: `H = Up(BN₂(W₂ ⋆ ReLU(BN₁(W₁ ⋆ pool(x)))))`, W₁ 5×5 in two groups with the
//! block's stride, W₂ 1×1, BN₂'s gamma zero at the start (TinyTL, Cai et al. 2020). Enlarged by
//! repetition, where TinyTL interpolates.

use super::additive::Junction;
use super::{Build, Init, Tapped};
use crate::graph::{EdgeId, Graph, GraphError};
use crate::op::{Activation, Conv2d, Op};

/// The choices of one module.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub pool: usize,
    pub tap: Tapped,
}

/// The side of W₁ where the map has room for it.
const SIDE: usize = 5;

/// Adds a lite residual module across the block of `at`.
pub fn insert(graph: &mut Graph, at: Junction, site: &str, options: Options, seed: u64) -> Result<(), GraphError> {
    let first = graph.nodes.len();
    let (entry, branch) = (graph.shape(at.entry), graph.shape(at.branch));
    let mut build = Build { graph, site: site.into(), seed };
    let pooled = build.pooled("pool", at.entry, [options.pool; 2], options.tap)?;
    let stride = [entry.h.div_ceil(branch.h), entry.w.div_ceil(branch.w)];
    let hidden = build.spatial("w1", pooled, entry.c, stride)?;
    let expanded = build.expansion("w2", hidden, branch.c)?;
    build.join(at, expanded, options.tap, first)
}

impl Build<'_> {
    /// A convolution in two groups as wide as the map allows, with batch norm and ReLU.
    pub fn spatial(
        &mut self,
        part: &str,
        input: EdgeId,
        out_c: usize,
        stride: [usize; 2],
    ) -> Result<EdgeId, GraphError> {
        let map = self.graph.shape(input);
        // The largest odd side that the map holds.
        let side = SIDE.min(map.h.min(map.w).div_ceil(2) * 2 - 1);
        let groups = if map.c.is_multiple_of(2) && out_c.is_multiple_of(2) { 2 } else { 1 };
        // Padded so that a strided map has its size divided and rounded down, as the pooled one has.
        let around = stride.map(|s| side.saturating_sub(s));
        let before = around.map(|n| n / 2);
        let pad = [before[0], before[1], around[0] - before[0], around[1] - before[1]];
        let conv = Conv2d { stride, groups, pad, ..Conv2d::square(map.c, out_c, side, 1, 0) };
        let sigma = (2.0 / conv.depth() as f64).sqrt();
        let made = self.conv(part, conv, input, sigma, Init::He)?;
        let normed = self.batch_norm(&format!("{part}.bn"), made, 1.0)?;
        self.on_device(&format!("{part}.relu"), Op::Activation(Activation::Relu), &[normed])
    }

    /// A 1×1 convolution with a batch norm that starts at zero.
    pub fn expansion(&mut self, part: &str, input: EdgeId, out_c: usize) -> Result<EdgeId, GraphError> {
        let channels = self.graph.shape(input).c;
        let sigma = (2.0 / channels as f64).sqrt();
        let made = self.conv(part, Conv2d::square(channels, out_c, 1, 1, 0), input, sigma, Init::He)?;
        self.batch_norm(&format!("{part}.bn"), made, 0.0)
    }
}
