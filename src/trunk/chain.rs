//! Which nodes run as one step: a layer with the join, batch norm and clamp that follow it.
//!
//! A chain goes on only through an edge that one trunk node alone reads: a map that anyone else
//! wants to see (a second consumer, an adapter, the graph's output) must exist as codes. So must a
//! map that an imported model has codes for: its runtime rounds there.

use crate::graph::{EdgeId, Graph, GraphError, NodeId};
use crate::op::{Activation, Op};
use crate::units::HardwareDomain;

/// The nodes of one step.
pub(super) struct Chain {
    pub nodes: Vec<NodeId>,
    /// The edge whose values are added to the accumulator.
    pub join: Option<EdgeId>,
    pub norm: Option<NodeId>,
    pub clamp: Option<Activation>,
}

impl Chain {
    pub fn head(&self) -> NodeId {
        self.nodes[0]
    }

    pub fn output(&self, graph: &Graph) -> EdgeId {
        graph.node(self.last()).output
    }

    pub fn last(&self) -> NodeId {
        self.nodes[self.nodes.len() - 1]
    }
}

/// Which nodes of a placed graph the trunk does in passing, for those who only count.
#[derive(Clone, Debug)]
pub struct Fusion {
    fused: Vec<bool>,
    joins: Vec<bool>,
}

impl Fusion {
    /// Finds the chains of a graph; it need not be calibrated.
    pub fn of(graph: &Graph) -> Result<Self, GraphError> {
        let chains = Chains::new(graph);
        let mut found = Self { fused: vec![false; graph.nodes.len()], joins: vec![false; graph.nodes.len()] };
        for id in graph.order()? {
            if chains.in_trunk(id) && !found.fused[id.index()] {
                let chain = chains.from(id);
                chain.nodes[1..].iter().for_each(|n| found.fused[n.index()] = true);
                if chain.join.is_some() {
                    found.joins[chain.nodes[1].index()] = true;
                }
            }
        }
        Ok(found)
    }

    /// Whether the node is done within the step of a node before it.
    pub fn is_fused(&self, id: NodeId) -> bool {
        self.fused[id.index()]
    }

    /// Whether the node adds what an adapter made to the accumulator of a weight layer.
    pub fn joins_accumulator(&self, id: NodeId) -> bool {
        self.joins[id.index()]
    }
}

/// Finds chains; holds who reads which edge.
pub(super) struct Chains<'a> {
    graph: &'a Graph,
    readers: Vec<Vec<NodeId>>,
}

impl<'a> Chains<'a> {
    pub fn new(graph: &'a Graph) -> Self {
        let mut readers = vec![Vec::new(); graph.edges.len()];
        for id in graph.node_ids() {
            for &edge in &graph.node(id).inputs {
                let of_edge: &mut Vec<NodeId> = &mut readers[edge.index()];
                if of_edge.last() != Some(&id) {
                    of_edge.push(id);
                }
            }
        }
        Self { graph, readers }
    }

    /// The chain that starts at `head`.
    pub fn from(&self, head: NodeId) -> Chain {
        let mut chain = Chain { nodes: vec![head], join: None, norm: None, clamp: None };
        match self.graph.node(head).op {
            Op::Conv2d(_) | Op::Linear(_) => {
                self.take(&mut chain, |chain, next| {
                    chain.join = self.joined(chain.output(self.graph), next);
                    chain.join.is_some()
                });
                self.take(&mut chain, |chain, next| {
                    chain.norm = matches!(self.graph.node(next).op, Op::BatchNorm(_)).then_some(next);
                    chain.norm.is_some()
                });
            }
            Op::BatchNorm(_) => chain.norm = Some(head),
            Op::Add | Op::Mul | Op::AvgPool(_) | Op::MaxPool(_) | Op::Mean | Op::Requantise => {}
            _ => return chain,
        }
        self.take(&mut chain, |chain, next| {
            chain.clamp = match self.graph.node(next).op {
                Op::Activation(a) if a.clamp().is_some() => Some(a),
                _ => None,
            };
            chain.clamp.is_some()
        });
        chain
    }

    /// The trunk nodes that read `edge`.
    pub fn trunk_readers(&self, edge: EdgeId) -> impl Iterator<Item = NodeId> + '_ {
        self.readers[edge.index()].iter().copied().filter(|&n| self.in_trunk(n))
    }

    /// Appends the node after the chain if `fits` accepts it.
    fn take(&self, chain: &mut Chain, fits: impl FnOnce(&mut Chain, NodeId) -> bool) {
        let edge = chain.output(self.graph);
        let held = self.graph.edge(edge);
        let rounded = held.quant.is_some() && held.origin.is_some();
        if let [next] = self.readers[edge.index()][..]
            && !rounded
            && edge != self.graph.output
            && self.in_trunk(next)
            && fits(chain, next)
        {
            chain.nodes.push(next);
        }
    }

    /// The other operand of `next`, if `next` adds to `edge` what an adapter made for it alone.
    fn joined(&self, edge: EdgeId, next: NodeId) -> Option<EdgeId> {
        let node = self.graph.node(next);
        let other = match (&node.op, &node.inputs[..]) {
            (Op::Add, &[a, b]) if a == edge && b != edge => b,
            (Op::Add, &[a, b]) if b == edge && a != edge => a,
            _ => return None,
        };
        let producer = self.graph.edge(other).producer?;
        let from_adapter = self.graph.node(producer).domain == HardwareDomain::Adapter;
        // A second reader in the trunk needs ordinary codes, and an edge crosses in one format.
        (from_adapter && self.trunk_readers(other).count() == 1).then_some(other)
    }

    fn in_trunk(&self, id: NodeId) -> bool {
        self.graph.node(id).domain == HardwareDomain::Trunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{ParamKind, ParamValue};
    use crate::op::Conv2d;
    use crate::quant::{CodeType, QuantParams};
    use crate::tensor::Shape;

    /// A convolution and a ReLU; the map between has codes, from a file or from our calibration.
    fn conv_relu(origin: Option<u32>) -> Graph {
        let mut g = Graph::new("conv-relu", Shape::new(4, 4, 1));
        let w = g.add_param("w", &[1, 1, 1, 1], ParamKind::Weight, ParamValue::F32(vec![1.0]));
        let conv = g.add_node("conv", Op::Conv2d(Conv2d::square(1, 1, 1, 1, 0)), &[g.input], &[w]).unwrap();
        g.add_node("relu", Op::Activation(Activation::Relu), &[conv], &[]).unwrap();
        g.edge_mut(conv).quant = Some(QuantParams { scale: 0.05, zero_point: 3, codes: CodeType::I8 });
        g.edge_mut(conv).origin = origin;
        g
    }

    #[test]
    fn a_map_that_an_imported_model_rounds_is_rounded_here_too() {
        let relu = NodeId(1);
        assert!(Fusion::of(&conv_relu(None)).unwrap().is_fused(relu), "our own scales are free to be skipped");
        assert!(!Fusion::of(&conv_relu(Some(3))).unwrap().is_fused(relu), "a runtime's rounding is not");
    }
}
