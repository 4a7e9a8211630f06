//! The trunk's registers in a run: written from a graph's batch norms, wherever their values are held, and
//! counted as they are written.

use super::RunError;
use crate::graph::{Graph, NodeId, ParamId};
use crate::ledger::{Event, Ledger, Place};
use crate::op::Registers;
use crate::scheme::Placed;
use crate::trunk::{NormValues, TrunkProgram};
use crate::units::Phase;

/// Writes a trunk's registers as the graph's batch norms are, where a task loads them.
pub fn load_registers(placed: &Placed, trunk: &mut TrunkProgram) -> Result<Ledger, RunError> {
    let nodes = if placed.batch_norm.loads_registers() { nodes(trunk) } else { vec![] };
    let value = |id: ParamId| Ok(placed.graph.param(id).value.to_f32());
    let channels = write(&placed.graph, trunk, &nodes, value)?;
    Ok(loaded(Phase::Switch, channels, placed.loads_shifts_only()))
}

/// The batch norms that a trunk has in registers.
pub(super) fn nodes(trunk: &TrunkProgram) -> Vec<NodeId> {
    trunk.steps.iter().filter_map(|step| step.norm).collect()
}

/// Writes the registers of these batch norms from values that `value` knows; gives the channels written.
pub(super) fn write(
    graph: &Graph,
    trunk: &mut TrunkProgram,
    nodes: &[NodeId],
    mut value: impl FnMut(ParamId) -> Result<Vec<f32>, RunError>,
) -> Result<u64, RunError> {
    let mut channels = 0;
    for &node in nodes {
        let params = &graph.node(node).params;
        let [gamma, beta, mean, variance] =
            [value(params[0])?, value(params[1])?, value(params[2])?, value(params[3])?];
        channels += gamma.len() as u64;
        trunk.load_norm(node, NormValues { gamma: &gamma, beta: &beta, mean: &mean, variance: &variance })?;
    }
    Ok(channels)
}

/// A multiplier and a bias for so many channels, or a bias alone.
pub(super) fn loaded(phase: Phase, channels: u64, shifts_only: bool) -> Ledger {
    match shifts_only {
        true => crossed(phase, channels, channels * Registers::BIAS_BYTES),
        false => crossed(phase, 2 * channels, channels * Registers::CHANNEL_BYTES),
    }
}

/// A transfer of registers, of their gradients or of their sums.
pub(super) fn crossed(phase: Phase, elements: u64, bytes: u64) -> Ledger {
    let mut ledger = Ledger::default();
    if elements > 0 {
        ledger.add(phase, Place::Registers, Event::Transfers, 1);
        ledger.add(phase, Place::Registers, Event::Elements, elements);
        ledger.add(phase, Place::Registers, Event::PayloadBytes, bytes);
    }
    ledger
}
