//! What one image, or one micro-batch of a training step, makes a system do: tasks and what they
//! wait for, without a time. Prepared once, priced on any number of systems.

use super::tap::{Tap, VALUE_BITS};
use crate::graph::gradient::Gradients;
use crate::graph::{EdgeId, Graph, GraphError, NodeId};
use crate::hw::timing::{AdapterWork, TrunkWork, layers};
use crate::op::Op;
use crate::trunk::Fusion;
use crate::units::{Direction, HardwareDomain, Phase};
use std::collections::BTreeMap;

/// What a task asks for, of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// A layer on the trunk; a pipelined trunk has an engine for each.
    Trunk { work: TrunkWork, engine: usize },
    /// A kernel on the adapter device. Whether the program must know that it is done.
    Kernel { work: AdapterWork, answers: bool },
    /// The program waits for the device, which has nothing left to do.
    Answer,
    /// A tap.
    Transfer { direction: Direction, payload_b: u64 },
}

/// One piece of work of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub name: String,
    pub phase: Phase,
    pub work: Work,
    /// Tasks before it in the list.
    pub after: Vec<usize>,
}

/// A plan as tasks.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// Of one micro-batch: forward, and in training backward.
    pub tasks: Vec<Task>,
    /// Once a step, after all micro-batches.
    pub update: Vec<Task>,
    /// What the line buffers of a pixel pipeline hold.
    pub line_buffer_b: u64,
}

struct Builder<'a> {
    graph: &'a Graph,
    fusion: Fusion,
    prepared: Prepared,
    /// Whether what only a training does is done.
    learns: bool,
    /// The tasks that make an edge, on each side of the bus: several where it is made of their results
    /// in passing.
    made: BTreeMap<(EdgeId, HardwareDomain), Vec<usize>>,
}

impl Prepared {
    /// The forward pass of a placed graph with its taps.
    pub fn forward(graph: &Graph, taps: &[Tap]) -> Result<Self, GraphError> {
        Ok(Builder::forward(graph, taps, false)?.finish())
    }

    /// A training step: forward and backward of a micro-batch, and the update that ends the step.
    /// `backward` are the taps that the gradients need, `again` the trunk's layers that are run again before
    /// their backward pass.
    pub fn step(
        graph: &Graph,
        taps: &[Tap],
        gradients: &Gradients,
        backward: &[Tap],
        again: &[NodeId],
    ) -> Result<Self, GraphError> {
        let mut b = Builder::forward(graph, taps, true)?;
        b.backward(gradients, backward, again);
        b.update(gradients, backward);
        Ok(b.finish())
    }
}

impl<'a> Builder<'a> {
    fn forward(graph: &'a Graph, taps: &[Tap], learns: bool) -> Result<Self, GraphError> {
        let fusion = Fusion::of(graph)?;
        let mut b = Builder { graph, fusion, prepared: Prepared::default(), learns, made: BTreeMap::new() };
        let forward: Vec<&Tap> = taps.iter().filter(|t| t.phase == Phase::Forward).collect();
        b.tap_of(graph.input, &forward);
        for id in graph.order()? {
            match graph.node(id).domain {
                HardwareDomain::Adapter => b.adapter_node(id),
                _ => b.trunk_node(id),
            }
            b.tap_of(graph.node(id).output, &forward);
        }
        // The program learns that the device is done with the last map.
        if let Some(made) = b.made.get(&(graph.output, HardwareDomain::Adapter)).cloned() {
            b.task("logits", Phase::Forward, Work::Answer, made);
        }
        Ok(b)
    }

    fn finish(self) -> Prepared {
        self.prepared
    }

    fn task(&mut self, name: &str, phase: Phase, work: Work, mut after: Vec<usize>) -> usize {
        after.sort_unstable();
        after.dedup();
        self.prepared.tasks.push(Task { name: name.into(), phase, work, after });
        self.prepared.tasks.len() - 1
    }

    /// What makes a node's inputs on its own side.
    fn after(&self, id: NodeId, domain: HardwareDomain) -> Vec<usize> {
        let inputs = self.graph.node(id).inputs.iter();
        inputs.filter_map(|&e| self.made.get(&(e, domain))).flatten().copied().collect()
    }

    fn trunk_node(&mut self, id: NodeId) {
        let after = self.after(id, HardwareDomain::Trunk);
        let node = self.graph.node(id);
        self.prepared.line_buffer_b += line_buffer_b(self.graph, id);
        // What is fused is done in passing: no time, and its map goes nowhere.
        let in_passing = self.fusion.is_fused(id) || matches!(node.op, Op::Reshape(_));
        let made = if in_passing {
            after
        } else {
            let work = Work::Trunk { work: layers::work(self.graph, id), engine: id.index() };
            vec![self.task(&node.name, Phase::Forward, work, after)]
        };
        self.made.insert((node.output, HardwareDomain::Trunk), made);
    }

    fn adapter_node(&mut self, id: NodeId) {
        let after = self.after(id, HardwareDomain::Adapter);
        let node = self.graph.node(id);
        let moves_nothing = match node.op {
            Op::Reshape(_) | Op::Requantise => true,
            Op::Dropout(_) => !self.learns,
            _ => false,
        };
        let made = if moves_nothing {
            after
        } else {
            let work = Work::Kernel { work: adapter_work(self.graph, id), answers: false };
            vec![self.task(&node.name, Phase::Forward, work, after)]
        };
        self.made.insert((node.output, HardwareDomain::Adapter), made);
    }

    /// The transfer of an edge that crosses, with its conversion on the adapter device.
    fn tap_of(&mut self, edge: EdgeId, taps: &[&Tap]) {
        for tap in taps.iter().filter(|t| t.crossing.as_ref().is_some_and(|c| c.edge == edge)) {
            let (from, to) = match tap.direction {
                Direction::TapOut => (HardwareDomain::Trunk, HardwareDomain::Adapter),
                Direction::TapIn => (HardwareDomain::Adapter, HardwareDomain::Trunk),
            };
            let after = self.made.get(&(edge, from)).cloned().unwrap_or_default();
            let there = self.cross(tap, after);
            self.made.insert((edge, to), vec![there]);
        }
    }

    /// A transfer: what crosses as codes is converted on the adapter device.
    fn cross(&mut self, tap: &Tap, after: Vec<usize>) -> usize {
        let sends = Work::Transfer { direction: tap.direction, payload_b: tap.bytes };
        // Codes on one side, four bytes an element on the other; nothing where values cross.
        let work = AdapterWork { flops: 2 * tap.elements, bytes: tap.bytes + 4 * tap.elements, is_product: false };
        let converts = tap.bits != VALUE_BITS;
        let convert = format!("{}.codes", tap.name);
        match tap.direction {
            Direction::TapOut => {
                let sent = self.task(&tap.name, tap.phase, sends, after);
                if !converts {
                    return sent;
                }
                self.task(&convert, tap.phase, Work::Kernel { work, answers: false }, vec![sent])
            }
            Direction::TapIn => {
                // The trunk waits for this: the program must know that the device is done.
                let work = if converts { Work::Kernel { work, answers: true } } else { Work::Answer };
                let coded = self.task(&convert, tap.phase, work, after);
                self.task(&tap.name, tap.phase, sends, vec![coded])
            }
        }
    }

    /// Each node that has a gradient, last first, after the errors of what it gives.
    fn backward(&mut self, gradients: &Gradients, taps: &[Tap], again: &[NodeId]) {
        let graph = self.graph;
        let logits = self.prepared.tasks.len().checked_sub(1);
        let elements = graph.shape(graph.output).elements() as u64;
        let work = AdapterWork { flops: 4 * elements, bytes: 8 * elements, is_product: false };
        let loss = Work::Kernel { work, answers: false };
        let loss = self.task("loss", Phase::Backward, loss, logits.into_iter().collect());
        let again = self.run_again(again, loss);
        let mut done: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for &id in gradients.nodes() {
            let node = graph.node(id);
            let mut after = if node.output == graph.output { vec![loss] } else { vec![] };
            after.extend(again.filter(|_| side(graph, id) == HardwareDomain::Trunk));
            let readers = graph.node_ids().filter(|&r| graph.node(r).inputs.contains(&node.output));
            let readers = readers.filter(|&r| side(graph, r) == side(graph, id));
            after.extend(readers.filter_map(|r| done.get(&r)).flatten());
            for tap in taps.iter().filter(|t| t.crossing.as_ref().is_some_and(|c| c.edge == node.output)) {
                let consumers = tap.crossing.iter().flat_map(|c| &c.consumers);
                let errors: Vec<usize> = consumers.filter_map(|n| done.get(n)).flatten().copied().collect();
                after.push(self.cross(tap, errors));
            }
            let made = match self.gradient_work(gradients, id) {
                Some(work) => vec![self.task(&format!("{}.gradient", node.name), Phase::Backward, work, after)],
                None => after,
            };
            done.insert(id, made);
        }
    }

    /// Layers of the trunk once more, one after the other; the last of them.
    fn run_again(&mut self, nodes: &[NodeId], loss: usize) -> Option<usize> {
        let mut last = None;
        for &id in nodes {
            let work = Work::Trunk { work: layers::work(self.graph, id), engine: id.index() };
            let name = format!("{}.again", self.graph.node(id).name);
            last = Some(self.task(&name, Phase::Backward, work, vec![last.unwrap_or(loss)]));
        }
        last
    }

    /// A layer's backward pass takes what its forward pass takes, once for its map and once for its
    /// weights; what is no product reads and writes twice as much. None of what is done in passing.
    fn gradient_work(&self, gradients: &Gradients, id: NodeId) -> Option<Work> {
        let macs = gradients.macs(self.graph, id);
        if side(self.graph, id) == HardwareDomain::Trunk {
            let forward = layers::work(self.graph, id);
            let work = TrunkWork {
                macs,
                input_b: forward.output_b,
                output_b: forward.input_b,
                input_pixels: forward.output_pixels,
                output_pixels: forward.input_pixels,
                ..forward
            };
            let in_passing = self.fusion.is_fused(id) || matches!(self.graph.node(id).op, Op::Reshape(_));
            return (!in_passing).then_some(Work::Trunk { work, engine: id.index() });
        }
        let forward = adapter_work(self.graph, id);
        let times = (2 * macs).checked_div(forward.flops).unwrap_or(1).max(1);
        let work = AdapterWork { flops: forward.flops * times, bytes: 2 * forward.bytes, ..forward };
        Some(Work::Kernel { work, answers: false })
    }

    /// The optimiser on the adapter device, and the registers that a step loads.
    fn update(&mut self, gradients: &Gradients, taps: &[Tap]) {
        let trains = gradients.nodes().iter().flat_map(|&id| &self.graph.node(id).params);
        for param in trains.map(|&p| self.graph.param(p)).filter(|p| p.trainable) {
            let elements = param.value.len() as u64;
            let work = AdapterWork { flops: 4 * elements, bytes: 16 * elements, is_product: false };
            let work = Work::Kernel { work, answers: false };
            let name = format!("{}.update", param.name);
            self.prepared.update.push(Task { name, phase: Phase::Update, work, after: vec![] });
        }
        for tap in taps.iter().filter(|t| t.phase == Phase::Update) {
            let work = Work::Transfer { direction: tap.direction, payload_b: tap.bytes };
            let after = self.prepared.update.len().checked_sub(1).into_iter().collect();
            self.prepared.update.push(Task { name: tap.name.clone(), phase: Phase::Update, work, after });
        }
    }
}

fn side(graph: &Graph, id: NodeId) -> HardwareDomain {
    match graph.node(id).domain {
        HardwareDomain::Adapter => HardwareDomain::Adapter,
        _ => HardwareDomain::Trunk,
    }
}

/// What an adapter node asks for; values are four bytes.
fn adapter_work(graph: &Graph, id: NodeId) -> AdapterWork {
    let output = graph.shape(graph.node(id).output).elements() as u64;
    let inputs: u64 = graph.input_shapes(id).iter().map(|s| s.elements() as u64).sum();
    let params: u64 = graph.node(id).params.iter().map(|&p| graph.param(p).value.len() as u64).sum();
    let macs = graph.macs(id);
    AdapterWork {
        flops: if macs > 0 { 2 * macs } else { inputs },
        bytes: 4 * (inputs + params + output),
        is_product: macs > 0,
    }
}

/// Rows that a sliding window must keep: (k - 1) · W · C_in codes of a byte.
fn line_buffer_b(graph: &Graph, id: NodeId) -> u64 {
    let input = graph.input_shapes(id)[0];
    match &graph.node(id).op {
        Op::Conv2d(c) => (c.kernel[0] as u64 - 1) * (input.w * input.c) as u64,
        _ => 0,
    }
}
