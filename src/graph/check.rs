//! Whether a graph can run: an order of its nodes, and what is wrong told with node and edge.

use super::{EdgeId, Graph, NodeId};
use crate::tensor::Shape;
use thiserror::Error;

/// What is wrong with a graph.
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

impl Graph {
    /// The nodes in an order in which every input is produced before it is read; among the nodes
    /// that could run next, the one with the lowest id does. Fails on a cycle.
    pub fn order(&self) -> Result<Vec<NodeId>, GraphError> {
        let mut waiting: Vec<usize> = self.nodes.iter().map(|n| self.produced_inputs(n)).collect();
        let mut readers: Vec<Vec<NodeId>> = vec![Vec::new(); self.edges.len()];
        for id in self.node_ids() {
            for edge in &self.node(id).inputs {
                readers[edge.index()].push(id);
            }
        }
        let mut ready: std::collections::BTreeSet<NodeId> =
            self.node_ids().filter(|n| waiting[n.index()] == 0).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(next) = ready.pop_first() {
            order.push(next);
            for &reader in &readers[self.node(next).output.index()] {
                waiting[reader.index()] -= 1;
                if waiting[reader.index()] == 0 {
                    ready.insert(reader);
                }
            }
        }
        match self.node_ids().find(|n| waiting[n.index()] > 0) {
            Some(stuck) => Err(GraphError::Node {
                node: self.node(stuck).name.clone(),
                why: "waits for its own output: the graph has a cycle".into(),
            }),
            None => Ok(order),
        }
    }

    fn produced_inputs(&self, node: &super::Node) -> usize {
        node.inputs.iter().filter(|e| self.edge(**e).producer.is_some()).count()
    }

    /// Checks ids, shapes, parameter sizes and names. Builders make sound graphs; this is for what
    /// comes through a door or out of a rewrite.
    pub fn check(&self) -> Result<(), GraphError> {
        self.check_names()?;
        for id in self.node_ids() {
            self.check_node(id)?;
        }
        for (i, edge) in self.edges.iter().enumerate() {
            let id = EdgeId(i as u32);
            let fault = |why: &str| Err(GraphError::Edge { edge: edge.name.clone(), why: why.into() });
            match edge.producer {
                Some(p) if p.index() >= self.nodes.len() || self.node(p).output != id => {
                    return fault("names a producer that does not produce it");
                }
                None if id != self.input => return fault("has no producer and is not the graph's input"),
                _ => {}
            }
            if edge.shape.elements() == 0 {
                return fault(&format!("is empty ({})", edge.shape));
            }
        }
        self.order().map(drop)
    }

    fn check_names(&self) -> Result<(), GraphError> {
        let mut seen = std::collections::HashSet::new();
        match self.nodes.iter().find(|n| !seen.insert(n.name.as_str())) {
            Some(twice) => Err(GraphError::Node { node: twice.name.clone(), why: "the name is taken twice".into() }),
            None => Ok(()),
        }
    }

    fn check_node(&self, id: NodeId) -> Result<(), GraphError> {
        let node = self.node(id);
        let fault = |why: String| GraphError::Node { node: node.name.clone(), why };
        if let Some(e) = node.inputs.iter().find(|e| e.index() >= self.edges.len()) {
            return Err(fault(format!("reads edge {}, which does not exist", e.0)));
        }
        if let Some(p) = node.params.iter().find(|p| p.index() >= self.params.len()) {
            return Err(fault(format!("owns parameter {}, which does not exist", p.0)));
        }
        let inputs = self.input_shapes(id);
        let shape = node.op.output_shape(&inputs).map_err(|why| GraphError::Shape {
            node: node.name.clone(),
            op: node.op.name(),
            inputs: inputs.clone(),
            why,
        })?;
        if shape != self.shape(node.output) {
            return Err(fault(format!("produces {shape}, but its edge is {}", self.shape(node.output))));
        }
        let wanted = node.op.param_lengths();
        let given: Vec<usize> = node.params.iter().map(|&p| self.param(p).value.len()).collect();
        let fits = match given.len().cmp(&wanted.len()) {
            std::cmp::Ordering::Equal => given == wanted,
            // The bias, always the last of a weight layer's parameters, may be left out.
            std::cmp::Ordering::Less => wanted.len() == 2 && given.len() == 1 && given[0] == wanted[0],
            std::cmp::Ordering::Greater => false,
        };
        if fits { Ok(()) } else { Err(fault(format!("owns parameters of {given:?} elements, should be {wanted:?}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Activation, Op};

    fn chain() -> Graph {
        let mut g = Graph::new("chain", Shape::new(2, 2, 3));
        let a = g.add_node("a", Op::Activation(Activation::Relu), &[g.input], &[]).unwrap();
        g.add_node("b", Op::Add, &[a, g.input], &[]).unwrap();
        g
    }

    #[test]
    fn order_follows_edges_not_ids() {
        let mut g = chain();
        g.nodes.swap(0, 1);
        for (i, n) in g.nodes.clone().iter().enumerate() {
            g.edge_mut(n.output).producer = Some(NodeId(i as u32));
        }
        assert_eq!(g.order().unwrap(), [NodeId(1), NodeId(0)]);
        g.check().unwrap();
    }

    #[test]
    fn cycles_and_wrong_shapes_name_the_node() {
        let mut g = chain();
        let out = g.nodes[1].output;
        g.nodes[0].inputs = vec![out];
        assert!(g.order().unwrap_err().to_string().contains("'a'"), "{}", g.order().unwrap_err());

        let mut g = chain();
        let a = g.nodes[0].output;
        g.edge_mut(a).shape = Shape::new(2, 2, 4);
        assert!(g.check().unwrap_err().to_string().contains("node 'a'"));

        let mut g = chain();
        let error = g.add_node("c", Op::Mul, &[g.input], &[]).unwrap_err();
        assert!(error.to_string().contains("node 'c' (mul) on inputs 2x2x3"), "{error}");
    }
}
