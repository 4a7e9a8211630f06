//! Additive attention: `H = γ ⊙ Up(σ(K ⋆ ReLU(α ⋆ p)))`, p the input pooled r×r, α 1×1 C→m, K m→1, γ a
//! gain per channel that starts at zero. Our reconstruction of DA³ (Yang & Fan 2020), of which only the
//! abstract was at hand: an addition needs nothing of the map that it is made to.

use super::additive::Junction;
use super::{Build, Filters, Gate, Init, Tapped};
use crate::graph::{Graph, GraphError};
use crate::op::{Activation, Conv2d, Op};

/// The choices of one module.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub m: Filters,
    /// r.
    pub pool: usize,
    pub tap: Tapped,
}

/// Adds attention across the block of `junction`.
pub fn insert(graph: &mut Graph, at: Junction, site: &str, options: Options, seed: u64) -> Result<(), GraphError> {
    let first = graph.nodes.len();
    let (entry, branch) = (graph.shape(at.entry), graph.shape(at.branch));
    let (channels, out_c) = (entry.c, branch.c);
    let mut build = Build { graph, site: site.into(), seed };
    // What is added can be enlarged, not made smaller: at least the block's stride.
    let pool = [entry.h.div_ceil(branch.h), entry.w.div_ceil(branch.w)].map(|stride| options.pool.max(stride));
    let p = build.pooled("pool", at.entry, pool, options.tap)?;
    let m = options.m.count(channels);
    let sigma = (2.0 / channels as f64).sqrt();
    let squeezed = build.conv("alpha", Conv2d::square(channels, m, 1, 1, 0), p, sigma, Init::He)?;
    let relu = build.on_device("relu", Op::Activation(Activation::Relu), &[squeezed])?;
    let seen = build.graph.shape(p);
    let side = if seen.h.min(seen.w) < 7 { 3 } else { 7 };
    let logit = build.conv("k", Conv2d::square(m, 1, side, 1, side / 2), relu, 0.01, Init::He)?;
    let s = build.gate("mask", Gate::Sigmoid, logit)?;
    let added = build.conv("gain", Conv2d::square(1, out_c, 1, 1, 0), s, 1.0, Init::Zero)?;
    build.join(at, added, options.tap, first)
}
