//! What a trunk file says in words: the JSON document in its metadata.
//!
//! Field names are the format: a change of their meaning is a new [`VERSION`]. Nodes and maps go by
//! name, and their order in the lists is their order in the graph.

use super::Provenance;
use crate::graph::ParamKind;
use crate::op::Op;
use crate::quant::QuantParams;
use crate::tensor::Shape;
use serde::{Deserialize, Serialize};

pub const VERSION: u32 = 1;

/// Read before everything else, so that a later version is told as such.
#[derive(Deserialize)]
pub struct Versioned {
    pub version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub version: u32,
    pub name: String,
    pub provenance: Provenance,
    pub notes: Vec<String>,
    pub profile: String,
    /// How pixels become input codes; `experiment` knows the ways there are.
    pub preprocess: serde_json::Value,
    pub trunk_sha256: String,
    pub graph: GraphRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphRecord {
    pub name: String,
    pub input: String,
    pub output: String,
    pub maps: Vec<MapRecord>,
    pub nodes: Vec<NodeRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapRecord {
    pub name: String,
    pub shape: Shape,
    pub quant: Option<QuantParams>,
    /// The tensor's number in the file that it was imported from.
    pub tensor: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    pub name: String,
    pub op: Op,
    pub inputs: Vec<String>,
    pub output: String,
    pub params: Vec<ParamRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamRecord {
    pub name: String,
    pub kind: ParamKind,
    pub form: Form,
}

/// In which form a parameter came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Real values, in the tensor `values/NAME`; a weight's codes stand beside them, and in
    /// `means/NAME` the means of what it multiplies, by input channel.
    F32,
    /// Weight codes, in `codes/NAME`, `scales/NAME` and `zero_points/NAME`.
    Int8,
    /// Bias codes, in `values/NAME` and `scales/NAME`.
    Int32,
}
