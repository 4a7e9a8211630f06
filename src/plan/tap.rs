//! Taps with their precision: the crossings of a placed graph as transfers of one image.

use super::tap_format::TapFormat;
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
    /// Whether values cross that the trunk rounds, and not codes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub values: bool,
    pub bytes: u64,
    /// The crossing it is derived from; none for register loads.
    #[serde(skip)]
    pub crossing: Option<Crossing>,
}

/// What crosses in which precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapPrecision {
    /// Of a code that enters an accumulator: 8 or 16.
    pub tap_in_bits: u32,
    /// Of a value, where values enter the trunk and it rounds them.
    pub value_bits: Option<u32>,
}

impl TapPrecision {
    /// Rounded by the adapter device, so that codes cross.
    pub fn codes(tap_in_bits: u32) -> Self {
        Self { tap_in_bits, value_bits: None }
    }

    /// As was asked for; on a system whose trunk rounds, values cross instead of codes.
    pub fn on(system: &System, format: TapFormat) -> Self {
        let by_system = (system.tap_in_rounds == RoundsAt::Trunk).then_some(VALUE_BITS);
        Self { tap_in_bits: format.code_bits().into(), value_bits: format.value_bits().or(by_system) }
    }
}

/// Bits of a value that crosses unrounded where nobody asked for fewer.
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
    let values = crossing.direction == Direction::TapIn && precision.value_bits.is_some();
    let bits = match crossing.direction {
        Direction::TapOut => 8,
        Direction::TapIn if values => precision.value_bits.unwrap_or(VALUE_BITS),
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
        values,
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
    (channels > 0).then(|| register_load(Phase::Switch, channels, placed.loads_shifts_only()))
}

/// A load of the registers of so many channels: multipliers and biases, or biases alone.
pub(super) fn register_load(phase: Phase, channels: u64, shifts_only: bool) -> Tap {
    // On average: a multiplier is a mantissa of 32 and a shift of 8 bits, a bias has 32.
    let (each, bytes) = if shifts_only { (1, Registers::BIAS_BYTES) } else { (2, Registers::CHANNEL_BYTES) };
    Tap {
        name: "batch-norm-registers".into(),
        direction: Direction::TapIn,
        phase,
        shape: Shape::vector((each * channels) as usize),
        elements: each * channels,
        bits: (8 * bytes / each) as u32,
        values: false,
        bytes: channels * bytes,
        crossing: None,
    }
}
