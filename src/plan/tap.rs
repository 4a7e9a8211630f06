//! Taps with their precision: the crossings of a placed graph as transfers of one image.

use crate::graph::crossing::Crossing;
use crate::graph::{Graph, GraphError, Node};
use crate::hw::{RoundsAt, System};
use crate::op::{Op, Registers};
use crate::scheme::Placed;
use crate::tensor::Shape;
use crate::trunk::Fusion;
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
pub fn taps(placed: &Placed, precision: TapPrecision) -> Result<Vec<Tap>, GraphError> {
    let fusion = Fusion::of(&placed.graph)?;
    let crossings = placed.graph.crossings().into_iter();
    let mut taps: Vec<Tap> = crossings.map(|c| forward(&placed.graph, &fusion, c, precision)).collect();
    taps.extend(registers(placed));
    Ok(taps)
}

/// A forward tap. Maps leave as the int8 codes they are; a sum that enters an accumulator has the
/// chosen precision; everything else enters as int8 codes of the trunk's own scale.
fn forward(graph: &Graph, fusion: &Fusion, crossing: Crossing, precision: TapPrecision) -> Tap {
    let bits = match crossing.direction {
        Direction::TapOut => 8,
        Direction::TapIn if precision.trunk_rounds => VALUE_BITS,
        Direction::TapIn if crossing.consumers.iter().all(|&n| fusion.joins_accumulator(n)) => precision.tap_in_bits,
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

/// The trunk's loadable registers: a multiplier and a bias per channel of every batch norm that
/// stays in the trunk.
pub(super) fn registers(placed: &Placed) -> Option<Tap> {
    if !placed.batch_norm.loads_registers() {
        return None;
    }
    let graph = &placed.graph;
    let in_trunk = graph.nodes.iter().filter(|n| n.domain == HardwareDomain::Trunk);
    let channels = |n: &Node| match &n.op {
        Op::BatchNorm(norm) => norm.channels as u64,
        _ => 0,
    };
    let channels: u64 = in_trunk.map(channels).sum();
    (channels > 0).then(|| Tap {
        name: "batch-norm-registers".into(),
        direction: Direction::TapIn,
        phase: Phase::Switch,
        shape: Shape::vector(2 * channels as usize),
        elements: 2 * channels,
        // On average: a multiplier is a mantissa of 32 and a shift of 8 bits, a bias has 32.
        bits: 4 * Registers::CHANNEL_BYTES as u32,
        bytes: channels * Registers::CHANNEL_BYTES,
        crossing: None,
    })
}
