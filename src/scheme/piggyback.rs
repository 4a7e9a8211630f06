//! Piggyback (Mallya et al. 2018): a binary mask per task over frozen weights. For comparison only.

use super::Scheme;
use crate::graph::ParamKind;
use crate::op::Op;
use crate::units::HardwareDomain;

pub const SCHEME: Scheme = Scheme {
    name: "piggyback",
    about: "a binary mask over every frozen weight; counted only: a fixed-weight chip cannot mask its \
            weights, so all of it would run on the adapter device",
    paper: "Mallya et al. 2018 (comparison)",
    crosses: "the image out",
    options: &[],
    default_sites: None,
    trains_norm: false,
    counted_only: Some(
        "needs weights that a task can mask, which a fixed-weight chip does not have; it is counted \
         (trunkline account), as a network on the adapter device with one real value per weight that trains",
    ),
    apply: |placing, _| {
        for id in placing.graph.node_ids() {
            placing.graph.nodes[id.index()].domain = HardwareDomain::Adapter;
            let node = placing.graph.node(id);
            let masked = matches!(node.op, Op::Conv2d(_) | Op::Linear(_)) && !placing.structure.head.contains(&id);
            for param in node.params.clone().into_iter().filter(|_| masked) {
                let param = &mut placing.graph.params[param.index()];
                param.trainable = param.kind == ParamKind::Weight;
            }
        }
        Ok(())
    },
};
