//! Why a graph has no trunk program, told with the node or the edge.

use crate::graph::{GraphError, Node};
use thiserror::Error;

#[derive(Clone, Debug, Error, PartialEq)]
pub enum TrunkError {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("edge '{edge}': {why}")]
    Edge { edge: String, why: String },
    #[error("node '{node}' ({op}): {why}")]
    Node { node: String, op: &'static str, why: String },
    #[error("a tap-in has 8 or 16 bits, not {0}")]
    TapInBits(u8),
    #[error("the trunk of '{graph}' takes tap-ins ({}), so it does not run alone", edges.join(", "))]
    TapIns { graph: String, edges: Vec<String> },
    #[error("the trunk of '{graph}' takes images of {want}, gets {got}")]
    Input { graph: String, want: crate::tensor::Shape, got: crate::tensor::Shape },
}

impl TrunkError {
    pub(super) fn node(node: &Node, why: impl Into<String>) -> Self {
        TrunkError::Node { node: node.name.clone(), op: node.op.name(), why: why.into() }
    }
}
