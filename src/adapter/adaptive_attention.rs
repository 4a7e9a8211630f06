//! Adaptive attention: `F' = F ⊗ σ(K ⋆ ReLU(F ⋆ α))`, α 1×1 C→m, K 7×7 m→1 (Aswani et al. 2021,
//! Eq. 5). The paper leaves m open: 2 is the best reading of its equations, C/32 reproduces most
//! of its Table 3.

use super::{Build, Filters, Gate, Init, Return, Tapped};
use crate::graph::{EdgeId, Graph, GraphError};
use crate::op::{Activation, Conv2d, Op};
use crate::units::HardwareDomain;

/// The side of the windows that the trunk averages where it pools.
const POOLED: usize = 2;

/// The choices of one module.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub m: Filters,
    pub gate: Gate,
    pub back: Return,
    pub init: Init,
    pub tap: Tapped,
}

/// Attends the map `edge` at the site `site`.
pub fn insert(graph: &mut Graph, edge: EdgeId, site: &str, options: Options, seed: u64) -> Result<(), GraphError> {
    let first = graph.nodes.len();
    let map = graph.shape(edge);
    let m = options.m.count(map.c);
    let mut build = Build { graph, site: site.into(), seed };
    let seen = match options.tap {
        Tapped::Map => edge,
        Tapped::Pooled => build.pooled("pool", edge, [POOLED; 2], options.tap)?,
    };
    let alpha_sigma = (2.0 / map.c as f64).sqrt();
    let squeezed = build.conv("alpha", Conv2d::square(map.c, m, 1, 1, 0), seen, alpha_sigma, Init::He)?;
    let relu = build.on_device("relu", Op::Activation(Activation::Relu), &[squeezed])?;
    // K alone decides whether the gate starts at its neutral value.
    let logit = build.conv("k", Conv2d::square(m, 1, 7, 1, 3), relu, 0.01, options.init)?;
    let mut mask = build.gate("mask", options.gate, logit)?;
    if options.tap == Tapped::Pooled {
        let domain = match options.back {
            Return::Mask => HardwareDomain::Trunk,
            Return::Map => HardwareDomain::Adapter,
        };
        build.graph.edge_mut(mask).quant = Some(options.gate.mask_codes());
        mask = build.repeated("enlarged", mask, [map.h, map.w], domain)?;
    }
    let own = build.since(first);
    build.attend(edge, mask, options.gate, options.back, &own)
}
