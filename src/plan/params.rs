//! Parameter counts: total and trainable, with and without the head.

use crate::graph::ParamKind;
use crate::scheme::Placed;
use serde::{Deserialize, Serialize};

/// Numbers of scalars; running statistics are state and not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamCounts {
    pub total: u64,
    pub trainable: u64,
    pub total_without_head: u64,
    pub trainable_without_head: u64,
    /// 100 × trainable / total, both without the head (the papers' `% Train.`).
    pub trainable_percent: f64,
}

/// Counts the parameters that the nodes of a placed graph own.
pub fn count(placed: &Placed) -> ParamCounts {
    let mut counts = ParamCounts::default();
    for id in placed.graph.node_ids() {
        let head = placed.structure.head.contains(&id);
        let params = placed.graph.node(id).params.iter().map(|&p| placed.graph.param(p));
        for param in params.filter(|p| p.kind != ParamKind::NormStats) {
            let n = param.value.len() as u64;
            let trained = if param.trainable { n } else { 0 };
            counts.total += n;
            counts.trainable += trained;
            if !head {
                counts.total_without_head += n;
                counts.trainable_without_head += trained;
            }
        }
    }
    counts.trainable_percent = 100.0 * counts.trainable_without_head as f64 / (counts.total_without_head.max(1)) as f64;
    counts
}
