//! Spatial attention: `F' = F ⊗ σ(f ⋆ [mean_c(F); max_c(F)])`, f 7×7, 2→1 (Aswani et al. 2021, Eq. 3;
//! order [mean, max], no bias, no batch norm).

use super::{Build, Gate, Init, Return};
use crate::graph::{EdgeId, Graph, GraphError};
use crate::op::{Activation, Conv2d, Op};
use crate::units::HardwareDomain;

/// Attends the map `edge` at the site `site`.
pub fn insert(
    graph: &mut Graph,
    edge: EdgeId,
    site: &str,
    gate: Gate,
    back: Return,
    init: Init,
    seed: u64,
) -> Result<(), GraphError> {
    let first = graph.nodes.len() as u32;
    let mut build = Build { graph, site: site.into(), seed };
    let pooled = build.node("channel-pool", Op::ChannelPool, &[edge], &[], HardwareDomain::Adapter)?;
    let logit = build.conv("f", Conv2d::square(2, 1, 7, 1, 3), pooled, 0.01, init)?;
    let sigmoid = Op::Activation(Activation::Sigmoid { gain: gate.gain() });
    let mask = build.node("mask", sigmoid, &[logit], &[], HardwareDomain::Adapter)?;
    let own: Vec<_> = (first..build.graph.nodes.len() as u32).map(crate::graph::NodeId).collect();
    build.attend(edge, mask, gate, back, &own)
}
