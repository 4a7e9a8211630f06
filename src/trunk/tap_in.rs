//! The format in which an adapter's values must arrive at the trunk.
//!
//! Whoever sends a tap-in codes it so (`quant::boundary::Quantiser`, one per scale): the trunk adds,
//! multiplies or stores codes and never sees a float.

use super::chain::Chains;
use crate::graph::{EdgeId, Graph};
use crate::op::Op;
use serde::Serialize;
use std::fmt;

/// How a tap-in meets the trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JoinKind {
    /// Added to the accumulator before requantisation.
    AddAcc,
    /// One operand of an int8 addition.
    AddOut,
    /// One operand of an int8 product: an attention map.
    MulMap,
    /// Read in place of a map that the trunk would have made.
    Replace,
}

impl fmt::Display for JoinKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            JoinKind::AddAcc => "add-acc",
            JoinKind::AddOut => "add-out",
            JoinKind::MulMap => "mul-map",
            JoinKind::Replace => "replace",
        })
    }
}

/// How values are coded before they cross to the trunk.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TapInFormat {
    /// One for the whole map, or one per channel.
    pub scales: Vec<f32>,
    pub zero_point: i32,
    /// 8 or 16.
    pub bits: u8,
    pub join: JoinKind,
    /// How far the trunk shifts the code left before adding it to an accumulator.
    pub shift: u32,
}

impl TapInFormat {
    pub fn scale(&self, channel: usize) -> f32 {
        if self.scales.len() == 1 { self.scales[0] } else { self.scales[channel] }
    }
}

/// How the trunk nodes that read `edge` use it; `Replace` when they do not agree.
pub(super) fn use_of(graph: &Graph, chains: &Chains<'_>, edge: EdgeId) -> JoinKind {
    let mut kinds = chains.trunk_readers(edge).map(|n| match graph.node(n).op {
        Op::Add => JoinKind::AddOut,
        Op::Mul => JoinKind::MulMap,
        _ => JoinKind::Replace,
    });
    match kinds.next() {
        Some(first) if kinds.all(|k| k == first) => first,
        _ => JoinKind::Replace,
    }
}
