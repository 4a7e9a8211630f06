//! The adapter device's part of a plan: buffers, kernel calls and what crosses, as plain data.
//!
//! Each adapter node becomes the calls of its operation's kernels; each tap a packed buffer with a
//! call that dequantises or requantises it. A map that arrives thinned out to the grid its readers
//! need is stored like that, and their strides shrink accordingly. A training step is the same, with
//! a loss, the backward pass of every node that has one, and the errors that cross.

mod actions;
mod backward;
mod errors;
mod forward;
mod held;
mod norm;
mod taps;
mod training;
mod update;

use super::tap::Tap;
use crate::device::BufferSpec;
use crate::graph::{EdgeId, Graph, GraphError, NodeId, ParamId};
use crate::kernel::{BufferId, KernelCall};
use crate::quant::boundary::Quantiser;
use crate::quant::error_code::GradFormat;
use crate::tensor::Shape;
use crate::units::{Direction, HardwareDomain, Phase};
pub use actions::Action;
pub use held::held_bytes;
pub use norm::Measured;
use std::collections::HashMap;
pub use training::{Learning, Statistics, Trained, Training, lower_training};
pub use update::{Optimiser, Update, WeightDecay};

/// How the adapter device codes a map that enters the trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct TapInCodes {
    /// One for the map, or one per channel.
    pub scales: Vec<f32>,
    pub zero_point: i32,
    pub bits: u32,
}

/// Where a tap lies on the adapter device.
#[derive(Clone, Debug)]
pub struct TapBuffer {
    /// What is written or read: packed codes, or the map itself where values cross unrounded.
    pub words: BufferId,
    pub bits: u32,
    /// Whether values cross, of 32 bits or rounded to 16.
    pub values: bool,
    pub elements: usize,
    /// Dequantises a tap-out after it is written, or requantises a tap-in before it is read.
    pub convert: Option<KernelCall>,
    /// Of a tap-in that the device rounds: the values it rounds, and the rule.
    pub rounds: Option<Rounding>,
    /// Of an error, whose values are coded and decoded as they cross.
    pub error: Option<GradFormat>,
}

/// The rule by which a device rounds what enters the trunk, to count what has no code.
#[derive(Clone, Debug)]
pub struct Rounding {
    pub map: BufferId,
    /// One for the map, or one per channel.
    pub rules: Vec<Quantiser>,
}

/// One adapter node, in one phase.
#[derive(Clone, Debug)]
pub struct ProgramStep {
    pub phase: Phase,
    /// None for the loss.
    pub node: Option<NodeId>,
    /// For the largest micro-batch; see [`KernelCall::with_batch`].
    pub calls: Vec<KernelCall>,
}

/// Everything that the adapter device will do.
#[derive(Clone, Debug)]
pub struct Program {
    /// Images of the largest micro-batch.
    pub batch: u32,
    pub buffers: Vec<BufferSpec>,
    pub steps: Vec<ProgramStep>,
    /// By index of the tap.
    pub taps: Vec<TapBuffer>,
    /// What is done for a micro-batch, in order.
    pub actions: Vec<Action>,
    /// Every map the device holds, by edge.
    pub maps: HashMap<EdgeId, BufferId>,
    /// Of a training step.
    pub learning: Option<Learning>,
}

impl Program {
    /// Kernel calls of one micro-batch, conversions included.
    pub fn calls(&self) -> u64 {
        let steps: usize = self.steps.iter().map(|s| s.calls.len()).sum();
        (steps + self.taps.iter().filter(|t| t.convert.is_some()).count()) as u64
    }
}

/// Lowers the adapter nodes of `graph` for micro-batches of at most `batch` images.
///
/// `taps` are the forward taps, `tap_ins` the coding of those that enter the trunk. If the graph's
/// input is needed on the device but is no tap (a float graph under calibration), it gets a buffer
/// of its own to write to.
pub fn lower(
    graph: &Graph,
    batch: usize,
    taps: &[Tap],
    tap_ins: &HashMap<EdgeId, TapInCodes>,
) -> Result<Program, GraphError> {
    let mut lowering = Lowering::new(graph, batch, None);
    lowering.forward(taps, tap_ins)?;
    Ok(lowering.finish(taps))
}

struct Lowering<'a> {
    graph: &'a Graph,
    batch: u32,
    program: Program,
    /// The grid on which a tapped map is stored.
    grids: HashMap<EdgeId, (usize, usize)>,
    training: Option<&'a Training<'a>>,
    /// The buffers of parameters, so that two readers of one share it.
    params: HashMap<ParamId, BufferId>,
    /// Of a training step: what backward needs of forward, and the errors on their way.
    back: backward::Back,
}

fn is_of(tap: &Tap, edge: EdgeId) -> bool {
    tap.crossing.as_ref().is_some_and(|c| c.edge == edge)
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, batch: usize, training: Option<&'a Training<'a>>) -> Self {
        let batch = u32::try_from(batch).expect("a micro-batch fits 32 bits");
        let program = Program {
            batch,
            buffers: vec![],
            steps: vec![],
            taps: vec![],
            actions: vec![],
            maps: HashMap::new(),
            learning: None,
        };
        let (grids, params, back) = (HashMap::new(), HashMap::new(), backward::Back::default());
        Self { graph, batch, program, grids, training, params, back }
    }

    /// The forward pass of every adapter node, between its taps.
    fn forward(&mut self, taps: &[Tap], tap_ins: &HashMap<EdgeId, TapInCodes>) -> Result<(), GraphError> {
        let graph = self.graph;
        for tap in taps.iter().filter(|t| t.direction == Direction::TapOut) {
            let crossing = tap.crossing.as_ref().expect("a forward tap crosses");
            self.map(crossing.edge, crossing.shape);
            self.grids.insert(crossing.edge, crossing.grid);
        }
        let on_device = |n: NodeId| graph.node(n).domain == HardwareDomain::Adapter;
        let reads_input = |n: NodeId| on_device(n) && graph.node(n).inputs.contains(&graph.input);
        if graph.node_ids().any(reads_input) && taps.iter().all(|t| !is_of(t, graph.input)) {
            self.map(graph.input, graph.shape(graph.input));
        }
        for id in graph.order()?.into_iter().filter(|&id| on_device(id)) {
            let calls = self.node(id)?;
            self.program.steps.push(ProgramStep { phase: Phase::Forward, node: Some(id), calls });
        }
        for tap in taps {
            let buffer = self.tap(tap, tap_ins)?;
            self.program.taps.push(buffer);
        }
        Ok(())
    }

    /// The program, once its order is known.
    fn finish(mut self, taps: &[Tap]) -> Program {
        self.program.actions = actions::actions(self.graph, &self.program, taps);
        self.program
    }

    fn buffer(&mut self, spec: BufferSpec) -> BufferId {
        self.program.buffers.push(spec);
        BufferId(self.program.buffers.len() as u32 - 1)
    }

    fn constant(&mut self, name: String, values: &[f32]) -> BufferId {
        self.buffer(BufferSpec::constant(name, bytemuck::cast_slice(values).to_vec()))
    }

    /// A buffer of that many values per image.
    fn scratch(&mut self, name: String, elements: usize) -> BufferId {
        self.buffer(BufferSpec::map(name, self.batch as usize * elements))
    }

    /// The f32 buffer of a map of this shape.
    fn map(&mut self, edge: EdgeId, shape: Shape) -> BufferId {
        let id = self.scratch(self.graph.edge(edge).name.clone(), shape.elements());
        self.program.maps.insert(edge, id);
        id
    }

    fn held(&self, edge: EdgeId) -> Result<BufferId, GraphError> {
        self.program.maps.get(&edge).copied().ok_or_else(|| GraphError::Edge {
            edge: self.graph.edge(edge).name.clone(),
            why: "is read on the adapter device but neither made there nor tapped".into(),
        })
    }

    /// The shape under which a map is stored on the device.
    fn stored(&self, edge: EdgeId) -> Shape {
        let full = self.graph.shape(edge);
        let (h, w) = self.grids.get(&edge).copied().unwrap_or((1, 1));
        Shape::new(full.h.div_ceil(h), full.w.div_ceil(w), full.c)
    }

    fn values(&self, id: ParamId) -> Vec<f32> {
        self.graph.param(id).value.to_f32()
    }
}
