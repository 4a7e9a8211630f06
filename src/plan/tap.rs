//! Taps with their precision: the crossings of a placed graph as transfers of one image.

use crate::graph::crossing::Crossing;
use crate::graph::{Graph, NodeId, ParamKind};
use crate::hw::{RoundsAt, System};
use crate::op::Op;
use crate::scheme::{BatchNormMode, Placed};
use crate::tensor::Shape;
use crate::units::{Direction, HardwareDomain, Phase};
use serde::Serialize;

/// One transfer of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tap {
    pub name: String,
    pub direction: Direction,
    pub phase: Phase,
    pub shape: Shape,
    pub elements: u64,
    pub bits: u32,
    pub bytes: u64,
    /// The crossing it is derived from; none for register loads.
    #[serde(skip)]
    pub crossing: Option<Crossing>,
}

/// Bits of a batch norm register, of which a channel has two (multiplier and bias).
const REGISTER_BITS: u32 = 32;

/// What crosses in which precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapPrecision {
    /// Of a sum that enters an accumulator: 8 or 16.
    pub tap_in_bits: u32,
    /// Where the trunk rounds what enters it, values cross as they are, 32 bits each.
    pub trunk_rounds: bool,
}

impl TapPrecision {
    /// Rounded by the adapter device, so that codes cross.
    pub fn codes(tap_in_bits: u32) -> Self {
        Self { tap_in_bits, trunk_rounds: false }
    }

    /// As a system's files say.
    pub fn on(system: &System, tap_in_bits: u32) -> Self {
        Self { tap_in_bits, trunk_rounds: system.tap_in_rounds == RoundsAt::Trunk }
    }
}

/// Bits of a value that crosses unrounded.
pub const VALUE_BITS: u32 = 32;

/// All transfers of a placed graph: the forward taps in edge order, then the register load of a
/// task switch.
pub fn taps(placed: &Placed, precision: TapPrecision) -> Vec<Tap> {
    let mut taps: Vec<Tap> =
        placed.graph.crossings().into_iter().map(|c| forward(&placed.graph, c, precision)).collect();
    taps.extend(registers(placed));
    taps
}

/// A forward tap. Maps leave as the int8 codes they are; a sum that enters an accumulator has the
/// chosen precision; everything else enters as int8 codes of the trunk's own scale.
fn forward(graph: &Graph, crossing: Crossing, precision: TapPrecision) -> Tap {
    let bits = match crossing.direction {
        Direction::TapOut => 8,
        Direction::TapIn if precision.trunk_rounds => VALUE_BITS,
        Direction::TapIn if crossing.consumers.iter().all(|&n| joins_accumulator(graph, n)) => precision.tap_in_bits,
        Direction::TapIn => 8,
    };
    let elements = crossing.shape.elements() as u64;
    Tap {
        name: graph.edge(crossing.edge).name.clone(),
        direction: crossing.direction,
        phase: Phase::Forward,
        shape: crossing.shape,
        elements,
        bits,
        bytes: (elements * u64::from(bits)).div_ceil(8),
        crossing: Some(crossing),
    }
}

/// Whether the addition `node` takes place in the accumulator of a trunk weight layer: its other
/// operand comes from a convolution or linear layer that nothing else reads.
pub fn joins_accumulator(graph: &Graph, node: NodeId) -> bool {
    let node = graph.node(node);
    let from_accumulator = |&edge: &crate::graph::EdgeId| {
        let layer = graph.edge(edge).producer.map(|p| graph.node(p));
        layer.is_some_and(|l| l.domain == HardwareDomain::Trunk && matches!(l.op, Op::Conv2d(_) | Op::Linear(_)))
            && graph.sole_consumer(edge).is_some()
    };
    node.op == Op::Add && node.domain == HardwareDomain::Trunk && node.inputs.iter().any(from_accumulator)
}

/// The trunk's loadable registers, two per channel of every batch norm that stays in the trunk.
fn registers(placed: &Placed) -> Option<Tap> {
    if placed.batch_norm != BatchNormMode::Registers {
        return None;
    }
    let graph = &placed.graph;
    let in_trunk = graph.nodes.iter().filter(|n| n.domain == HardwareDomain::Trunk);
    let values: usize = in_trunk
        .flat_map(|n| &n.params)
        .map(|&p| graph.param(p))
        .filter(|p| p.kind == ParamKind::NormAffine && p.trainable)
        .map(|p| p.value.len())
        .sum();
    (values > 0).then(|| Tap {
        name: "batch-norm-registers".into(),
        direction: Direction::TapIn,
        phase: Phase::Switch,
        shape: Shape::vector(values),
        elements: values as u64,
        bits: REGISTER_BITS,
        bytes: values as u64 * u64::from(REGISTER_BITS) / 8,
        crossing: None,
    })
}
