//! What can be wrong with a graph, told with the node and the edge.

use crate::tensor::Shape;
use thiserror::Error;

#[derive(Clone, Debug, Error, PartialEq)]
pub enum GraphError {
    #[error("node '{node}' ({op}) on inputs {}: {why}", shapes(.inputs))]
    Shape { node: String, op: &'static str, inputs: Vec<Shape>, why: String },
    #[error("node '{node}': {why}")]
    Node { node: String, why: String },
    #[error("edge '{edge}': {why}")]
    Edge { edge: String, why: String },
}

fn shapes(inputs: &[Shape]) -> String {
    inputs.iter().map(Shape::to_string).collect::<Vec<_>>().join(", ")
}
