//! Multiply-accumulates under the counting rules of the literature.

use crate::graph::{Graph, NodeId};
use crate::op::Op;
use crate::units::HardwareDomain;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How MACs are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MacRule {
    /// Convolutions and linear layers, nothing else: what a MAC array executes.
    #[default]
    Conv,
    /// ptflops up to 0.6: also biases, 2 per batch norm output, ReLU modules, inputs of pools.
    Ptflops,
    /// NetTailor's: convolutions with 2 per batch norm output, and linear layers.
    Nettailor,
}

impl FromStr for MacRule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "conv" => Ok(Self::Conv),
            "ptflops" => Ok(Self::Ptflops),
            "nettailor" => Ok(Self::Nettailor),
            _ => Err(format!("'{text}' is no MAC rule; there are conv, ptflops, nettailor")),
        }
    }
}

/// MACs of one image by hardware domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MacCounts {
    pub trunk: u64,
    pub adapter: u64,
    pub host: u64,
    pub total: u64,
}

impl MacCounts {
    pub fn add(&mut self, domain: HardwareDomain, macs: u64) {
        *match domain {
            HardwareDomain::Trunk => &mut self.trunk,
            HardwareDomain::Adapter => &mut self.adapter,
            HardwareDomain::Host => &mut self.host,
        } += macs;
        self.total += macs;
    }
}

/// Counts one image's MACs under `rule`.
pub fn count(graph: &Graph, rule: MacRule) -> MacCounts {
    let mut counts = MacCounts::default();
    for id in graph.node_ids() {
        counts.add(graph.node(id).domain, node(graph, id, rule));
    }
    counts
}

/// One node's MACs under `rule`.
pub fn node(graph: &Graph, id: NodeId, rule: MacRule) -> u64 {
    let node = graph.node(id);
    let out = graph.shape(node.output).elements() as u64;
    let input = node.inputs.first().map_or(0, |&e| graph.shape(e).elements() as u64);
    let bias = if node.params.len() > 1 { out } else { 0 };
    match (rule, &node.op) {
        (MacRule::Conv, _) => graph.macs(id),
        (MacRule::Ptflops, Op::Conv2d(_) | Op::Linear(_)) => graph.macs(id) + bias,
        (MacRule::Ptflops | MacRule::Nettailor, Op::BatchNorm(_)) => 2 * out,
        (MacRule::Ptflops, Op::AvgPool(_) | Op::MaxPool(_) | Op::Mean) => input,
        (MacRule::Ptflops, Op::Activation(a)) if a.clamp().is_some() && !is_functional(graph, id) => out,
        (MacRule::Nettailor, Op::Conv2d(_) | Op::Linear(_)) => graph.macs(id),
        _ => 0,
    }
}

/// Whether the public code applies this ReLU as a function rather than as a module, which the tool
/// does not see: the one after a residual addition.
fn is_functional(graph: &Graph, id: NodeId) -> bool {
    let producer = graph.edge(graph.node(id).inputs[0]).producer;
    producer.is_some_and(|p| graph.node(p).op == Op::Add)
}
