//! A graph as the list of its layers, for whoever times or exports it without a schedule.
//!
//! [`of`] has one entry per trunk node that an engine runs for itself. [`fused`] draws an addition
//! and a pooling into the convolution before them, as engines with units behind the multipliers do.

use super::TrunkWork;
use crate::graph::{EdgeId, Graph, GraphError, NodeId, ParamValue};
use crate::op::Op;
use crate::units::HardwareDomain;

/// A layer with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub name: String,
    pub work: TrunkWork,
    /// A second map is added to what the layer makes, in passing.
    pub adds_operand: bool,
    /// Height and width behind a pooling that is done in passing.
    pub pooled: Option<[u64; 2]>,
}

impl Layer {
    pub fn alone(work: TrunkWork) -> Self {
        Self { name: String::new(), work, adds_operand: false, pooled: None }
    }

    /// Pixels of the map that is stored.
    pub fn stored_pixels(&self) -> u64 {
        self.pooled.map_or(self.work.window.out_pixels(), |[h, w]| h * w)
    }
}

/// The work of a node.
pub fn work(graph: &Graph, id: NodeId) -> TrunkWork {
    let node = graph.node(id);
    TrunkWork::of(&node.op, &graph.input_shapes(id), graph.shape(node.output))
}

fn layer(graph: &Graph, id: NodeId) -> Layer {
    Layer { name: graph.node(id).name.clone(), ..Layer::alone(work(graph, id)) }
}

fn is_weighted(op: &Op) -> bool {
    matches!(op, Op::Conv2d(_) | Op::Linear(_))
}

/// The trunk's layers in running order; batch norms and activations are done in passing.
pub fn of(graph: &Graph) -> Result<Vec<Layer>, GraphError> {
    let runs = |id: &NodeId| {
        let node = graph.node(*id);
        let passing = matches!(node.op, Op::BatchNorm(_) | Op::Activation(_) | Op::Reshape(_) | Op::Requantise);
        node.domain == HardwareDomain::Trunk && !passing
    };
    Ok(graph.order()?.into_iter().filter(runs).map(|id| layer(graph, id)).collect())
}

/// The trunk's convolutions and linear layers in running order, with what is fused into them.
pub fn fused(graph: &Graph) -> Result<Vec<Layer>, GraphError> {
    let order = graph.order()?;
    let in_trunk = |id: &&NodeId| graph.node(**id).domain == HardwareDomain::Trunk;
    let weighted: Vec<NodeId> =
        order.iter().filter(in_trunk).copied().filter(|&id| is_weighted(&graph.node(id).op)).collect();
    let mut layers: Vec<Layer> = weighted.iter().map(|&id| layer(graph, id)).collect();
    let readers = readers(graph);
    for &id in order.iter().filter(in_trunk) {
        let node = graph.node(id);
        let head = node.inputs.iter().find_map(|&edge| head(graph, &readers, edge));
        let Some(at) = head.and_then(|head| weighted.iter().position(|&w| w == head)) else { continue };
        match node.op {
            Op::Add => layers[at].adds_operand = true,
            Op::MaxPool(_) | Op::AvgPool(_) | Op::Mean => {
                let shape = graph.shape(node.output);
                layers[at].pooled = Some([shape.h as u64, shape.w as u64]);
            }
            _ => {}
        }
    }
    Ok(layers)
}

/// Weights that are not zero: what a chip with wires for weights has multipliers for. Values that
/// nobody knows count as not zero.
pub fn nonzero_weights(graph: &Graph) -> u64 {
    let trunk = graph.nodes.iter().filter(|n| n.domain == HardwareDomain::Trunk && is_weighted(&n.op));
    let weights = trunk.filter_map(|n| n.params.first()).map(|&p| &graph.param(p).value);
    weights.map(nonzero).sum()
}

fn nonzero(value: &ParamValue) -> u64 {
    match value {
        ParamValue::F32(values) => values.iter().filter(|v| **v != 0.0).count() as u64,
        ParamValue::I8 { codes, zero_points, .. } => {
            let per_channel = (codes.len() / zero_points.len().max(1)).max(1);
            let zero_point = |i: usize| zero_points.get(i / per_channel).copied().unwrap_or(0);
            codes.iter().enumerate().filter(|&(i, &code)| i32::from(code) != zero_point(i)).count() as u64
        }
        ParamValue::I32 { codes, .. } => codes.iter().filter(|c| **c != 0).count() as u64,
        ParamValue::ShapeOnly(len) => *len as u64,
    }
}

fn readers(graph: &Graph) -> Vec<u32> {
    let mut readers = vec![0; graph.edges.len()];
    for node in &graph.nodes {
        node.inputs.iter().for_each(|edge| readers[edge.index()] += 1);
    }
    readers
}

/// The convolution whose map, changed only in passing and read by nobody else, is `edge`.
fn head(graph: &Graph, readers: &[u32], edge: EdgeId) -> Option<NodeId> {
    let mut edge = edge;
    loop {
        let id = graph.edge(edge).producer.filter(|_| readers[edge.index()] == 1)?;
        let node = graph.node(id);
        match node.op {
            _ if is_weighted(&node.op) => return Some(id),
            // The main path of an addition comes first.
            Op::BatchNorm(_) | Op::Activation(_) | Op::Requantise | Op::Add => edge = *node.inputs.first()?,
            _ => return None,
        }
    }
}
