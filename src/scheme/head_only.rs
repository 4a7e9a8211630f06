//! Head only: the trunk is used as it is and a classifier is trained on its features.

use super::options::Options;
use super::{Placing, Scheme, SchemeError};
use crate::adapter::{Build, Tapped};
use crate::op::Op;
use crate::units::HardwareDomain;

pub const SCHEME: Scheme = Scheme {
    name: "head-only",
    about: "the classifier alone, on the frozen trunk's features, averaged in the trunk (tap=map: on the adapter device)",
    paper: "a baseline of all papers",
    crosses: "the features out",
    options: &[("tap", "pooled|map"), ("dropout", "P of each of the features, in training")],
    default_sites: None,
    trains_norm: false,
    counted_only: None,
    apply,
};

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let tap = options.choice("tap", Tapped::Pooled, &[("pooled", Tapped::Pooled), ("map", Tapped::Map)])?;
    if tap == Tapped::Map {
        average_on_device(placing, options)?;
    }
    drop_features(placing, options.dropout()?)
}

/// Lets some of the features that the classifier reads out, in training.
fn drop_features(placing: &mut Placing, probability: f64) -> Result<(), SchemeError> {
    let seed = placing.seed;
    let Some(&classifier) = placing.structure.head.first() else { return Ok(()) };
    let features = placing.graph.node(classifier).inputs[0];
    let mut build = Build { graph: &mut placing.graph, site: "head".into(), seed };
    match build.dropout("dropout", features, probability, false) {
        Ok(left) => placing.graph.rewire(classifier, features, left),
        Err(e) => return Err(placing.graph_error(e)),
    }
    Ok(())
}

/// Taps the map that the trunk would average.
fn average_on_device(placing: &mut Placing, options: &Options) -> Result<(), SchemeError> {
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
