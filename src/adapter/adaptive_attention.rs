//! Adaptive attention: `F' = F ⊗ σ(K ⋆ ReLU(F ⋆ α))`, α 1×1 C→m, K 7×7 m→1 (Aswani et al. 2021,
//! Eq. 5). The paper leaves m open: 2 is the best reading of its equations, C/32 reproduces most
//! of its Table 3.

use super::{Build, Gate, Init, Return};
use crate::graph::{EdgeId, Graph, GraphError, NodeId};
use crate::op::{Activation, Conv2d, Op};
use crate::units::HardwareDomain;

/// The number of α filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filters {
    Fixed(usize),
    /// max(1, C / divisor).
    ChannelsOver(usize),
}

impl Filters {
    pub fn count(self, channels: usize) -> usize {
        match self {
            Filters::Fixed(m) => m,
            Filters::ChannelsOver(divisor) => (channels / divisor).max(1),
        }
    }
}

/// The choices of one module.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub m: Filters,
    pub gate: Gate,
    pub back: Return,
    pub init: Init,
}

/// Attends the map `edge` at the site `site`.
pub fn insert(graph: &mut Graph, edge: EdgeId, site: &str, options: Options, seed: u64) -> Result<(), GraphError> {
    let first = graph.nodes.len() as u32;
    let channels = graph.shape(edge).c;
    let m = options.m.count(channels);
    let mut build = Build { graph, site: site.into(), seed };
    let alpha_sigma = (2.0 / channels as f64).sqrt();
    let squeezed = build.conv("alpha", Conv2d::square(channels, m, 1, 1, 0), edge, alpha_sigma, Init::He)?;
    let relu = build.node("relu", Op::Activation(Activation::Relu), &[squeezed], &[], HardwareDomain::Adapter)?;
    // K alone decides whether the gate starts at its neutral value.
    let logit = build.conv("k", Conv2d::square(m, 1, 7, 1, 3), relu, 0.01, options.init)?;
    let sigmoid = Op::Activation(Activation::Sigmoid { gain: options.gate.gain() });
    let mask = build.node("mask", sigmoid, &[logit], &[], HardwareDomain::Adapter)?;
    let own: Vec<NodeId> = (first..build.graph.nodes.len() as u32).map(NodeId).collect();
    build.attend(edge, mask, options.gate, options.back, &own)
}
