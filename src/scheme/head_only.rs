//! Head only: the trunk is used as it is and a classifier is trained on its features.

use super::options::Options;
use super::{Placing, Scheme, SchemeError};
use crate::adapter::Build;

pub const SCHEME: Scheme = Scheme {
    name: "head-only",
    about: "the classifier alone, on the frozen trunk's features",
    paper: "a baseline of all papers",
    crosses: "the features out",
    options: &[("dropout", "P of each of the features, in training")],
    default_sites: None,
    trains_norm: false,
    counted_only: None,
    apply,
};

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let (probability, seed) = (options.dropout()?, placing.seed);
    let Some(&classifier) = placing.structure.head.first() else { return Ok(()) };
    let features = placing.graph.node(classifier).inputs[0];
    let mut build = Build { graph: &mut placing.graph, site: "head".into(), seed };
    match build.dropout("dropout", features, probability, false) {
        Ok(left) => placing.graph.rewire(classifier, features, left),
        Err(e) => return Err(placing.graph_error(e)),
    }
    Ok(())
}
