//! Where a training step has gradients: on every map through which something that trains reaches
//! the loss, and nowhere else.
//!
//! The trunk's weights never have a gradient. Backward stops at the earliest adapter because the
//! maps before it depend on nothing that trains; nobody declares that frontier.

use super::{EdgeId, Graph, GraphError, NodeId};
use crate::op::Op;
use crate::units::HardwareDomain;

/// What of a graph takes part in the backward pass.
#[derive(Clone, Debug)]
pub struct Gradients {
    edges: Vec<bool>,
    /// Nodes whose output has a gradient, last first.
    order: Vec<NodeId>,
}

impl Gradients {
    pub fn of(graph: &Graph) -> Result<Self, GraphError> {
        let order = graph.order()?;
        let trains = |id: NodeId| graph.node(id).params.iter().any(|&p| graph.param(p).trainable);
        let mut edges = vec![false; graph.edges.len()];
        for &id in &order {
            let node = graph.node(id);
            edges[node.output.index()] = trains(id) || node.inputs.iter().any(|e| edges[e.index()]);
        }
        let mut reaches = vec![false; graph.edges.len()];
        reaches[graph.output.index()] = true;
        for &id in order.iter().rev() {
            let node = graph.node(id);
            if reaches[node.output.index()] {
                node.inputs.iter().for_each(|e| reaches[e.index()] = true);
            }
        }
        edges.iter_mut().zip(reaches).for_each(|(has, reaches)| *has &= reaches);
        let order = order.into_iter().rev().filter(|&id| edges[graph.node(id).output.index()]).collect();
        Ok(Self { edges, order })
    }

    /// Whether the map has a gradient.
    pub fn has(&self, edge: EdgeId) -> bool {
        self.edges[edge.index()]
    }

    /// The nodes that work in the backward pass, in its order.
    pub fn nodes(&self) -> &[NodeId] {
        &self.order
    }

    /// Multiply-accumulates of a node's backward pass for one image: as many as forward for the
    /// gradient of its map, and as many for that of its weights.
    pub fn macs(&self, graph: &Graph, id: NodeId) -> u64 {
        let node = graph.node(id);
        if !self.has(node.output) {
            return 0;
        }
        let of_map = node.inputs.iter().any(|&e| self.has(e));
        let of_weights = trains_weight(graph, id);
        graph.macs(id) * (u64::from(of_map) + u64::from(of_weights))
    }
}

/// Whether a node's weight (not only its bias) trains.
pub fn trains_weight(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let weight = node.params.first().is_some_and(|&p| graph.param(p).trainable);
    weight && matches!(node.op, Op::Conv2d(_) | Op::Linear(_)) && node.domain == HardwareDomain::Adapter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{ParamKind, ParamValue};
    use crate::op::{Activation, Conv2d};
    use crate::tensor::Shape;

    /// conv a → relu → conv b; `b` is an adapter; a branch from the ReLU leads nowhere.
    fn chain(trainable: bool) -> Graph {
        let mut g = Graph::new("chain", Shape::new(4, 4, 2));
        let weight = |g: &mut Graph, name: &str| {
            g.add_param(name, &[2, 1, 1, 2], ParamKind::Weight, ParamValue::F32(vec![1.0; 4]))
        };
        let (wa, wb) = (weight(&mut g, "a"), weight(&mut g, "b"));
        let conv = || Op::Conv2d(Conv2d::square(2, 2, 1, 1, 0));
        let a = g.add_node("a", conv(), &[g.input], &[wa]).unwrap();
        let r = g.add_node("relu", Op::Activation(Activation::Relu), &[a], &[]).unwrap();
        let b = g.add_node("b", conv(), &[r], &[wb]).unwrap();
        g.add_node("aside", Op::Mean, &[b], &[]).unwrap();
        g.output = b;
        g.nodes[2].domain = HardwareDomain::Adapter;
        g.params[wb.index()].trainable = trainable;
        g
    }

    #[test]
    fn backward_stops_at_the_earliest_thing_that_trains() {
        let g = chain(true);
        let gradients = Gradients::of(&g).unwrap();
        assert_eq!(gradients.nodes(), [NodeId(2)], "neither the trunk before it nor the branch aside");
        assert_eq!(gradients.macs(&g, NodeId(2)), 64, "its weights; nothing before it needs a gradient");
        let mut both = chain(true);
        both.params[0].trainable = true;
        let gradients = Gradients::of(&both).unwrap();
        assert_eq!(gradients.nodes(), [NodeId(2), NodeId(1), NodeId(0)]);
        assert_eq!(gradients.macs(&both, NodeId(2)), 128);
        assert_eq!(gradients.macs(&both, NodeId(0)), 0, "a trunk's weights have no gradient, whoever marks them");
        assert!(Gradients::of(&chain(false)).unwrap().nodes().is_empty());
    }
}
