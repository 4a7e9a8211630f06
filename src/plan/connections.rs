//! The papers' count of connections: a filter over the derived taps.
//!
//! Preset `aswani2021` (Aswani et al. 2021, Table 3): elements of one image, forward only; the
//! adapter beside the stem, the head and residual shortcuts are not counted.

use super::tap::Tap;
use crate::scheme::Placed;
use crate::units::{Direction, HardwareDomain, Phase};
use serde::{Deserialize, Serialize};

/// Elements that cross for one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connections {
    pub tap_out: u64,
    pub tap_in: u64,
    /// `tap_out + tap_in`, under the preset.
    pub total: u64,
    /// Every forward element, nothing left out.
    pub unfiltered: u64,
}

/// Counts the connections of a placed graph under `aswani2021`.
pub fn count(placed: &Placed, taps: &[Tap]) -> Connections {
    let mut counts = Connections::default();
    for tap in taps.iter().filter(|t| t.phase == Phase::Forward) {
        counts.unfiltered += tap.elements;
        if is_counted(placed, tap) {
            match tap.direction {
                Direction::TapOut => counts.tap_out += tap.elements,
                Direction::TapIn => counts.tap_in += tap.elements,
            }
        }
    }
    counts.total = counts.tap_out + counts.tap_in;
    counts
}

/// Whether the preset counts a tap: some use of it is no head, no shortcut and no stem adapter.
fn is_counted(placed: &Placed, tap: &Tap) -> bool {
    let Some(crossing) = &tap.crossing else { return false };
    let graph = &placed.graph;
    // A tap-in belongs to the adapter that made it, a tap-out to the ones that read it.
    let adapters = match tap.direction {
        Direction::TapOut => crossing.consumers.clone(),
        Direction::TapIn => graph.edge(crossing.edge).producer.into_iter().collect(),
    };
    adapters.into_iter().any(|node| {
        let head = placed.structure.head.contains(&node);
        let shortcut = placed.structure.is_shortcut_use(node, crossing.edge);
        !head && !shortcut && !adapts_stem(placed, node)
    })
}

/// Whether `node` belongs to an adapter beside the stem: it reads the network's input, as an
/// inserted module and not as the moved stem itself.
fn adapts_stem(placed: &Placed, node: crate::graph::NodeId) -> bool {
    let graph = &placed.graph;
    let inserted = graph.node(node).site.is_some() && graph.node(node).domain == HardwareDomain::Adapter;
    inserted && graph.node(node).inputs.contains(&graph.input)
}
