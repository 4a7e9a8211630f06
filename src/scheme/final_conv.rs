//! Final convolution: the last main-path convolution, with all that follows it, moves to the
//! adapter device; that convolution's weights and the head train.

use super::{Placing, Scheme, SchemeError};
use crate::graph::ParamKind;
use crate::units::HardwareDomain;

pub const SCHEME: Scheme = Scheme {
    name: "final-conv",
    about: "the last convolution and the classifier",
    paper: "Aswani et al. 2021 (baseline)",
    crosses: "the map before the last convolution out",
    options: &[],
    default_sites: None,
    trains_norm: true,
    counted_only: None,
    apply: |placing, _| apply(placing),
};

fn apply(placing: &mut Placing) -> Result<(), SchemeError> {
    let Some(last) = placing.structure.blocks.last().and_then(|b| b.convs.last().copied()) else {
        return Err(placing.sites_error("the trunk has no convolution to move".into()));
    };
    // What follows in running order but does not depend on the convolution stays in the trunk.
    let order = placing.graph.order().map_err(|e| placing.graph_error(e))?;
    let mut reached = vec![false; placing.graph.edges.len()];
    for id in order {
        let node = placing.graph.node(id);
        if id == last || node.inputs.iter().any(|e| reached[e.index()]) {
            reached[node.output.index()] = true;
            placing.graph.nodes[id.index()].domain = HardwareDomain::Adapter;
        }
    }
    for param in placing.graph.node(last).params.clone() {
        let param = &mut placing.graph.params[param.index()];
        param.trainable = param.kind != ParamKind::NormStats;
    }
    Ok(())
}
