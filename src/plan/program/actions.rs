//! The order in which the adapter device works through a micro-batch.

use super::Program;
use crate::graph::{EdgeId, Graph};
use crate::plan::tap::Tap;
use crate::units::{Direction, Phase};

/// What a side of the bus does for a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Takes in a tap, by its index.
    Receive(usize),
    /// Runs a step, by its index.
    Step(usize),
    Send(usize),
}

/// Tap-outs as they are needed, every step in order, tap-ins as soon as they are made; and the same
/// with errors, which arrive before the node that made their map works backward, and leave after
/// the last node that read it has.
pub(super) fn actions(graph: &Graph, program: &Program, taps: &[Tap]) -> Vec<Action> {
    let find = |edge: EdgeId, direction: Direction, phase: Phase| {
        let is = |t: &Tap| t.phase == phase && t.direction == direction && super::is_of(t, edge);
        taps.iter().position(is)
    };
    let mut actions = Vec::new();
    let mut received = vec![false; taps.len()];
    let mut receive = |tap: usize, actions: &mut Vec<Action>| {
        if !std::mem::replace(&mut received[tap], true) {
            actions.push(Action::Receive(tap));
        }
    };
    let reads = |step: usize, edge: EdgeId| {
        let step = &program.steps[step];
        step.phase == Phase::Backward && step.node.is_some_and(|n| graph.node(n).inputs.contains(&edge))
    };
    for (i, step) in program.steps.iter().enumerate() {
        let Some(node) = step.node.map(|n| graph.node(n)) else {
            actions.push(Action::Step(i));
            continue;
        };
        if step.phase == Phase::Forward {
            for tap in node.inputs.iter().filter_map(|&e| find(e, Direction::TapOut, Phase::Forward)) {
                receive(tap, &mut actions);
            }
            actions.push(Action::Step(i));
            actions.extend(find(node.output, Direction::TapIn, Phase::Forward).map(Action::Send));
            continue;
        }
        if let Some(tap) = find(node.output, Direction::TapOut, Phase::Backward) {
            receive(tap, &mut actions);
        }
        actions.push(Action::Step(i));
        let mut sent: Vec<EdgeId> = Vec::new();
        for &edge in &node.inputs {
            let is_last = (i + 1..program.steps.len()).all(|later| !reads(later, edge));
            if is_last && !sent.contains(&edge) {
                sent.push(edge);
                actions.extend(find(edge, Direction::TapIn, Phase::Backward).map(Action::Send));
            }
        }
    }
    actions
}
