//! The adapter device as one side of the bus.

use super::RunError;
use super::worker::{Action, Side};
use crate::device::Device;
use crate::graph::{EdgeId, Graph};
use crate::kernel::{KernelCall, codes};
use crate::ledger::{DataEvent, Event, Ledger, Place};
use crate::plan::program::Program;
use crate::plan::tap::{Tap, VALUE_BITS};
use crate::quant::boundary::BoundaryCounts;
use crate::units::{Direction, HardwareDomain, Phase};
use std::collections::HashMap;

/// Runs a [`Program`] on a device, and counts what it runs.
pub struct AdapterSide<'a> {
    graph: &'a Graph,
    program: &'a Program,
    /// The edge of each tap.
    edges: Vec<EdgeId>,
    device: &'a mut dyn Device,
    actions: Vec<Action>,
    slots: usize,
    /// Images in each micro-batch.
    batches: &'a [usize],
    pool: &'a rayon::ThreadPool,
    pub ledger: Ledger,
    /// The graph's output, image after image, if it is made here.
    pub outputs: Vec<Vec<f32>>,
    /// Every code sent to the trunk, by micro-batch and tap, when asked for.
    pub sent: Option<HashMap<(usize, usize), Sent>>,
}

/// What was sent to the trunk at a tap, kept for a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    bits: u32,
    payload: Vec<u8>,
}

impl Sent {
    pub fn codes(&self) -> u64 {
        (self.payload.len() * 8) as u64 / u64::from(self.bits)
    }

    /// How many codes another device sent differently.
    pub fn differing(&self, other: &Sent) -> u64 {
        let bytes = (self.bits / 8) as usize;
        let pairs = self.payload.chunks(bytes).zip(other.payload.chunks(bytes));
        pairs.filter(|(a, b)| a != b).count() as u64
    }
}

/// What the adapter device does for a micro-batch: tap-outs as they are needed, every adapter node
/// in order, tap-ins as soon as they are made.
fn actions(graph: &Graph, program: &Program, taps: &[Tap]) -> Vec<Action> {
    let mut actions = Vec::new();
    let find = |edge: EdgeId, direction: Direction| {
        taps.iter().position(|t| t.direction == direction && t.crossing.as_ref().is_some_and(|c| c.edge == edge))
    };
    let mut received = vec![false; taps.len()];
    for (i, step) in program.steps.iter().enumerate() {
        let node = graph.node(step.node);
        for tap in node.inputs.iter().filter_map(|&e| find(e, Direction::TapOut)) {
            if !std::mem::replace(&mut received[tap], true) {
                actions.push(Action::Receive(tap));
            }
        }
        actions.push(Action::Step(i));
        actions.extend(find(node.output, Direction::TapIn).map(Action::Send));
    }
    actions
}

impl<'a> AdapterSide<'a> {
    /// Uploads the program's constants and makes room for `slots` micro-batches.
    #[allow(clippy::too_many_arguments)] // Each is a different thing that the side reads all along.
    pub fn new(
        graph: &'a Graph,
        program: &'a Program,
        taps: &'a [Tap],
        device: &'a mut dyn Device,
        slots: usize,
        batches: &'a [usize],
        pool: &'a rayon::ThreadPool,
        record: bool,
    ) -> Result<Self, RunError> {
        device.prepare(&program.buffers, slots)?;
        let actions = actions(graph, program, taps);
        let edges = taps.iter().filter_map(|t| t.crossing.as_ref().map(|c| c.edge)).collect();
        let outputs = vec![Vec::new(); batches.len()];
        let sent = record.then(HashMap::new);
        Ok(Self {
            graph,
            program,
            edges,
            device,
            actions,
            slots,
            batches,
            pool,
            ledger: Ledger::default(),
            outputs,
            sent,
        })
    }

    /// Counts the values of a tap-in that have no code: beyond the range, or no number.
    fn count_uncodable(&mut self, micro: usize, tap: usize, count: usize) -> Result<(), RunError> {
        let Some(rounding) = &self.program.taps[tap].rounds else { return Ok(()) };
        let words = self.device.read(micro % self.slots, rounding.map, count)?;
        let values: &[f32] = bytemuck::cast_slice(&words);
        let mut counts = BoundaryCounts::default();
        for (i, &value) in values.iter().enumerate() {
            rounding.rules[i % rounding.rules.len()].code(value, &mut counts);
        }
        let place = Place::Tap(self.edges[tap], Direction::TapIn);
        self.ledger.add_data(Phase::Forward, place, DataEvent::Saturations, counts.saturations);
        self.ledger.add_data(Phase::Forward, place, DataEvent::NotANumber, counts.nans);
        Ok(())
    }

    fn run(&mut self, micro: usize, calls: &[KernelCall]) -> Result<(), RunError> {
        if calls.is_empty() {
            return Ok(());
        }
        let batch = self.batches[micro] as u32;
        let calls: Vec<_> = calls.iter().map(|c| c.clone().with_batch(batch)).collect();
        let (device, slot) = (&mut self.device, micro % self.slots);
        Ok(self.pool.install(|| device.run(slot, &calls))?)
    }
}

impl Side for AdapterSide<'_> {
    fn actions(&self) -> &[Action] {
        &self.actions
    }

    fn begin(&mut self, _micro: usize) -> Result<(), RunError> {
        Ok(())
    }

    fn import(&mut self, micro: usize, tap: usize, payload: Vec<u8>) -> Result<(), RunError> {
        let buffer = &self.program.taps[tap];
        self.device.write(micro % self.slots, buffer.words, &words_of(&payload))?;
        self.run(micro, buffer.convert.as_slice())
    }

    fn step(&mut self, micro: usize, step: usize) -> Result<(), RunError> {
        let step = &self.program.steps[step];
        self.run(micro, &step.calls)?;
        let batch = self.batches[micro] as u32;
        let macs = step.calls.iter().map(|c| c.clone().with_batch(batch).macs()).sum();
        self.ledger.add(Phase::Forward, Place::Node(step.node), Event::Macs, macs);
        Ok(())
    }

    fn export(&mut self, micro: usize, tap: usize) -> Result<Vec<u8>, RunError> {
        let buffer = &self.program.taps[tap];
        self.run(micro, buffer.convert.as_slice())?;
        let (count, bits) = (self.batches[micro] * buffer.elements, buffer.bits);
        let length = if bits == VALUE_BITS { count } else { codes::words(count, bits) };
        let words = self.device.read(micro % self.slots, buffer.words, length)?;
        self.count_uncodable(micro, tap, count)?;
        let mut payload: Vec<u8> = bytemuck::cast_slice(&words).to_vec();
        payload.truncate((count * bits as usize).div_ceil(8));
        if let Some(sent) = &mut self.sent {
            sent.insert((micro, tap), Sent { bits, payload: payload.clone() });
        }
        Ok(payload)
    }

    fn finish(&mut self, micro: usize) -> Result<(), RunError> {
        let output = self.graph.output;
        if self.graph.home(output) == HardwareDomain::Adapter {
            let elements = self.batches[micro] * self.graph.shape(output).elements();
            let words = self.device.read(micro % self.slots, self.program.maps[&output], elements)?;
            self.outputs[micro] = bytemuck::cast_vec(words);
        }
        Ok(())
    }
}

/// Little-endian words of a payload; the unused end of the last one is 0.
fn words_of(payload: &[u8]) -> Vec<u32> {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |w, &b| (w << 8) | u32::from(b));
    payload.chunks(4).map(word).collect()
}
