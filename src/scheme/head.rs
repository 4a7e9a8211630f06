//! A fresh classifier for another number of classes.

use crate::graph::structure::Structure;
use crate::graph::{EdgeId, Graph, GraphError, NodeId, ParamKind, ParamValue};
use crate::op::{Linear, Op};
use crate::seed;
use crate::tensor::Shape;

/// The graph with a new, seeded classifier if its head does not already give `classes` values.
/// The flag says whether the head is new.
pub fn with_classes(graph: &Graph, classes: usize, seed: u64) -> Result<(Graph, bool), GraphError> {
    if graph.shape(graph.output).elements() == classes {
        return Ok((graph.clone(), false));
    }
    Ok((with_fresh_head(graph, classes, seed)?, true))
}

/// The graph with a new, seeded classifier, whatever its own gives.
pub fn with_fresh_head(graph: &Graph, classes: usize, seed: u64) -> Result<Graph, GraphError> {
    let structure = Structure::find(graph)?;
    let mut graph = graph.clone();
    let Some(&classifier) = structure.head.first() else {
        let why = format!("has no classifier to replace by one for {classes} classes");
        return Err(GraphError::Node { node: graph.name.clone(), why });
    };
    renew(&mut graph, classifier, classes, seed);
    for &id in &structure.head {
        reshape_output(&mut graph, id, classes)?;
    }
    graph.check()?;
    Ok(graph)
}

/// Replaces the classifier by a linear layer with bias, weights N(0, 1/√inputs).
fn renew(graph: &mut Graph, id: NodeId, classes: usize, seed: u64) {
    let inputs = graph.input_shapes(id)[0].elements();
    let key = format!("{}.weight", graph.node(id).name);
    let values = seed::normal(seed, &key, classes * inputs, 1.0 / (inputs as f64).sqrt());
    let weight = graph.add_param(&key, &[classes, inputs], ParamKind::Weight, ParamValue::F32(values));
    let zeros = ParamValue::F32(vec![0.0; classes]);
    let bias = graph.add_param(&format!("{}.bias", graph.node(id).name), &[classes], ParamKind::Bias, zeros);
    let node = &mut graph.nodes[id.index()];
    node.op = Op::Linear(Linear { inputs, outputs: classes });
    node.params = vec![weight, bias];
}

/// Lets a head node's shapes follow the new class count. A reshape among them becomes one to a
/// vector, which is all that a head reshapes to.
fn reshape_output(graph: &mut Graph, id: NodeId, classes: usize) -> Result<(), GraphError> {
    if let Op::Reshape(to) = &mut graph.nodes[id.index()].op {
        *to = Shape::vector(classes);
    }
    let inputs = graph.input_shapes(id);
    let node = graph.node(id);
    let shape = node.op.output_shape(&inputs).map_err(|why| GraphError::Shape {
        node: node.name.clone(),
        op: node.op.name(),
        inputs: inputs.clone(),
        why,
    })?;
    let output: EdgeId = node.output;
    let edge = graph.edge_mut(output);
    edge.shape = shape;
    edge.origin = None;
    Ok(())
}
