//! Head only: the trunk is used as it is and a classifier is trained on its features.

use super::options::Options;
use super::{Placing, Scheme, SchemeError};
use crate::adapter::Tapped;
use crate::op::Op;
use crate::units::HardwareDomain;

pub const SCHEME: Scheme = Scheme {
    name: "head-only",
    about: "the classifier alone, on the frozen trunk's features, averaged in the trunk (tap=map: on the adapter device)",
    paper: "a baseline of all papers",
    crosses: "the features out",
    options: &[("tap", "pooled|map")],
    default_sites: None,
    trains_norm: false,
    counted_only: None,
    apply,
};

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let tap = options.choice("tap", Tapped::Pooled, &[("pooled", Tapped::Pooled), ("map", Tapped::Map)])?;
    if tap == Tapped::Pooled {
        return Ok(());
    }
    let graph = &mut placing.graph;
    let mut edge = placing.structure.head.first().map(|&id| graph.node(id).inputs[0]);
    while let Some(id) = edge.and_then(|e| graph.edge(e).producer) {
        let node = &mut graph.nodes[id.index()];
        match node.op {
            Op::Reshape(_) => node.domain = HardwareDomain::Adapter,
            Op::Mean | Op::AvgPool(_) => {
                node.domain = HardwareDomain::Adapter;
                return Ok(());
            }
            _ => break,
        }
        edge = Some(node.inputs[0]);
    }
    Err(options.fault("tap=map: no average comes before the trunk's classifier".into()))
}
