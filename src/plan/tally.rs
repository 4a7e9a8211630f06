//! The predicted ledger: what one image, and one task switch, will count.

use super::tap::Tap;
use crate::graph::Graph;
use crate::ledger::{Event, Ledger, Place};
use crate::units::Phase;

/// Predicts the ledger of one image (phase `Forward`) and of one task switch (phase `Switch`).
pub fn tally(graph: &Graph, taps: &[Tap]) -> Ledger {
    let mut ledger = Ledger::default();
    for id in graph.node_ids() {
        ledger.add(Phase::Forward, Place::Node(id), Event::Macs, graph.macs(id));
    }
    for tap in taps {
        let place = match &tap.crossing {
            Some(c) => Place::Tap(c.edge, c.direction),
            None => Place::Registers,
        };
        ledger.add(tap.phase, place, Event::Transfers, 1);
        ledger.add(tap.phase, place, Event::Elements, tap.elements);
        ledger.add(tap.phase, place, Event::PayloadBytes, tap.bytes);
    }
    ledger
}
