//! What changing the task costs: registers that cross into the trunk, and the values of the other task's
//! adapter that are written to the adapter device.
//!
//! Counted from the graph and from what trains. No hardware file says how values come to the adapter
//! device from where they are stored, so only their writing there is timed and priced.

use super::backward::measured;
use super::prepared::{Prepared, Task, Work};
use super::tap::registers;
use crate::graph::gradient::Gradients;
use crate::graph::{Graph, NodeId, ParamId, ParamKind};
use crate::hw::System;
use crate::hw::timing::AdapterWork;
use crate::ledger::{Event, Ledger, Place};
use crate::op::Op;
use crate::price;
use crate::scheme::Placed;
use crate::units::{Direction, HardwareDomain, Phase};
use serde::Serialize;
use std::collections::BTreeSet;

/// What a task brings with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Multipliers and biases of the trunk's batch norms, where a task loads them.
    pub registers: u64,
    pub registers_b: u64,
    /// Values that train and running statistics, four bytes each.
    pub values: u64,
    /// What the optimiser remembers of them, which only a training takes along.
    pub moments: u64,
}

/// A switch on a system; nothing here was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SwitchCost {
    pub time_ps: u64,
    pub energy_pj: f64,
    /// Some figure that it needs is unknown.
    pub lower_bound: bool,
}

impl Load {
    /// What `placed` brings; the optimiser keeps `moments` buffers for each parameter.
    pub fn of(placed: &Placed, gradients: &Gradients, moments: usize) -> Self {
        let graph = &placed.graph;
        let registers = registers(placed);
        let trained = trained(graph, gradients);
        let values =
            |params: &BTreeSet<ParamId>| params.iter().map(|&p| graph.param(p).value.len() as u64).sum::<u64>();
        let statistics = statistics(placed, gradients);
        Self {
            registers: registers.as_ref().map_or(0, |t| t.elements),
            registers_b: registers.as_ref().map_or(0, |t| t.bytes),
            values: values(&trained) + values(&statistics),
            moments: values(&trained) * moments as u64,
        }
    }

    /// Without what only a training takes along.
    pub fn to_use(self) -> Self {
        Self { moments: 0, ..self }
    }

    /// Only what crosses into the trunk.
    pub fn into_trunk(self) -> Self {
        Self { values: 0, moments: 0, ..self }
    }

    /// Bytes that are written to the adapter device.
    pub fn adapter_b(&self) -> u64 {
        4 * (self.values + self.moments)
    }

    /// As a ledger has it.
    pub fn tally(&self) -> Ledger {
        let mut ledger = Ledger::default();
        let places = [
            (Place::Registers, self.registers, self.registers_b),
            (Place::Parameters, self.values + self.moments, self.adapter_b()),
        ];
        for (place, elements, bytes) in places.into_iter().filter(|(_, elements, _)| *elements > 0) {
            ledger.add(Phase::Switch, place, Event::Transfers, 1);
            ledger.add(Phase::Switch, place, Event::Elements, elements);
            ledger.add(Phase::Switch, place, Event::PayloadBytes, bytes);
        }
        ledger
    }

    /// On a system, whose link carries the registers while its adapter device takes the values in.
    pub fn on(&self, system: &System) -> SwitchCost {
        let (mut prepared, bytes) = (Prepared::default(), self.adapter_b());
        let mut task = |name: &str, work| {
            prepared.tasks.push(Task { name: name.into(), phase: Phase::Switch, work, after: vec![] });
        };
        if self.registers_b > 0 {
            task("registers", Work::Transfer { direction: Direction::TapIn, payload_b: self.registers_b });
        }
        if bytes > 0 {
            let work = AdapterWork { flops: 0, bytes, is_product: false };
            task("parameters", Work::Kernel { work, answers: true });
        }
        let costed = prepared.on(system, 1);
        let time_ps = costed.alone_ps();
        let activity = price::Activity { elapsed_ps: time_ps, ..costed.activity };
        let energy = price::price(&activity, system);
        let lower_bound = energy.lower_bound || !costed.unknown.is_empty();
        SwitchCost { time_ps, energy_pj: energy.total_pj.v, lower_bound }
    }
}

/// Every parameter that a training updates, wherever it takes effect.
fn trained(graph: &Graph, gradients: &Gradients) -> BTreeSet<ParamId> {
    let is_loaded =
        |id: NodeId| graph.node(id).domain == HardwareDomain::Adapter || matches!(graph.node(id).op, Op::BatchNorm(_));
    let nodes = gradients.nodes().iter().copied().filter(|&id| is_loaded(id));
    nodes.flat_map(|id| graph.node(id).params.clone()).filter(|&p| graph.param(p).trainable).collect()
}

/// Running statistics that follow a training.
fn statistics(placed: &Placed, gradients: &Gradients) -> BTreeSet<ParamId> {
    let graph = &placed.graph;
    let trains = |id: NodeId| graph.node(id).params.iter().any(|&p| graph.param(p).trainable);
    let on_device = gradients.nodes().iter().copied().filter(|&id| {
        let node = graph.node(id);
        node.domain == HardwareDomain::Adapter && matches!(node.op, Op::BatchNorm(_)) && trains(id)
    });
    let nodes = on_device.chain(measured(placed, gradients));
    let params = nodes.flat_map(|id| graph.node(id).params.clone());
    params.filter(|&p| graph.param(p).kind == ParamKind::NormStats).collect()
}
