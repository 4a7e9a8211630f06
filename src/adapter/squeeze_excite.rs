//! Squeeze-and-excitation: `F' = F ⊗ σ(W₂ ReLU(W₁ mean(F)))`, one factor per channel (Hu et al. 2018).

use super::{Build, Filters, Gate, Init, Return, Tapped};
use crate::graph::{EdgeId, Graph, GraphError};
use crate::op::Op;

/// The choices of one module.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub hidden: Filters,
    pub gate: Gate,
    pub back: Return,
    pub init: Init,
    pub tap: Tapped,
}

/// Gates the map `edge` at the site `site`.
pub fn insert(graph: &mut Graph, edge: EdgeId, site: &str, options: Options, seed: u64) -> Result<(), GraphError> {
    let (first, channels) = (graph.nodes.len(), graph.shape(edge).c);
    let mut build = Build { graph, site: site.into(), seed };
    let means = build.node("mean", Op::Mean, &[edge], &[], options.tap.domain())?;
    // A mean lies within the map's range, and the trunk rounds it by the map's own scale.
    build.graph.edge_mut(means).quant = build.graph.edge(edge).quant;
    let logit = build.perceptron(means, options.hidden.count(channels), options.init)?;
    let mask = build.gate("mask", options.gate, logit)?;
    let own = build.since(first);
    build.attend(edge, mask, options.gate, options.back, &own)
}
