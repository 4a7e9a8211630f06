//! Adapters folded into the convolutions that they sit at, in real values (Rebuffi et al. 2017, 2018):
//! parallel and low-rank ones add to the centre tap, `g = f + α`; series ones mix the outputs,
//! `g = (I + A')⋆f`, their batch norm folded into A' and a bias.
//!
//! Makes a network of the trunk's own form, for a new trunk; the frozen one is untouched. Refuses
//! adapters that are no linear function of what their convolution reads or makes.

use crate::graph::{EdgeId, Graph, GraphError, Node, NodeId, ParamKind, ParamValue};
use crate::op::{Conv2d, Op};
use std::collections::BTreeSet;

/// The graph with every adapter folded away.
pub fn fused(graph: &Graph) -> Result<Graph, GraphError> {
    let mut fused = graph.clone();
    let mut dropped = BTreeSet::new();
    for id in graph.node_ids() {
        let node = graph.node(id);
        if let (Op::Add, Some(site)) = (&node.op, &node.site) {
            fold(&mut fused, graph, id)?;
            dropped.extend(graph.node_ids().filter(|&n| graph.node(n).site.as_ref() == Some(site)));
        }
    }
    let left = graph.node_ids().find(|n| graph.node(*n).site.is_some() && !dropped.contains(n));
    if let Some(node) = left.map(|n| graph.node(n)) {
        return Err(refused(node, "is not a linear adapter, so no convolution can take it in"));
    }
    Ok(without(&fused, &dropped))
}

fn refused(node: &Node, why: &str) -> GraphError {
    GraphError::Node { node: node.name.clone(), why: why.into() }
}

/// A convolution that makes `edge`.
fn convolution(graph: &Graph, edge: EdgeId) -> Option<(NodeId, &Conv2d)> {
    let id = graph.edge(edge).producer?;
    match &graph.node(id).op {
        Op::Conv2d(conv) => Some((id, conv)),
        _ => None,
    }
}

/// The map that an edge is where nothing is left out: dropout is of training only.
fn undropped(graph: &Graph, edge: EdgeId) -> EdgeId {
    match graph.edge(edge).producer.map(|n| graph.node(n)) {
        Some(node) if matches!(node.op, Op::Dropout(_)) => undropped(graph, node.inputs[0]),
        _ => edge,
    }
}

/// The values of a node's parameter.
fn values(graph: &Graph, id: NodeId, index: usize) -> Option<Vec<f32>> {
    graph.node(id).params.get(index).map(|&p| graph.param(p).value.to_f32())
}

/// Folds the adapter whose addition is `sum` into its convolution, and lets that stand for the sum.
fn fold(fused: &mut Graph, graph: &Graph, sum: NodeId) -> Result<(), GraphError> {
    let node = graph.node(sum);
    let fault = |why: &str| refused(node, why);
    let &[z, added] = &node.inputs[..] else { return Err(fault("adds other than two maps")) };
    let (f, conv) = convolution(graph, z).ok_or_else(|| fault("adds to what no convolution makes"))?;
    let (last, own) = convolution(graph, added).ok_or_else(|| fault("adds what no convolution makes"))?;
    let pointwise = own.kernel == [1, 1] && own.groups == 1;
    if !pointwise || conv.groups != 1 {
        return Err(fault("adds other than a 1x1 convolution to other than a dense one"));
    }
    let matrix = values(graph, last, 0).unwrap_or_default();
    let read = undropped(graph, graph.node(last).inputs[0]);
    let (weight, bias) = if read == graph.node(f).inputs[0] {
        (at_centre(graph, f, conv, &matrix, node)?, values(graph, f, 1))
    } else if let Some((first, inner)) = convolution(graph, read).filter(|(n, _)| graph.node(*n).site == node.site) {
        let matrix = product(&matrix, &values(graph, first, 0).unwrap_or_default(), inner.out_c, inner.in_c);
        (at_centre(graph, f, conv, &matrix, node)?, values(graph, f, 1))
    } else {
        let norm = graph.edge(read).producer.filter(|&n| graph.node(n).inputs == [z]);
        let norm = norm.ok_or_else(|| fault("adapts neither what its convolution reads nor what it makes"))?;
        mixed(graph, f, conv, &matrix, norm, node)?
    };
    let name = graph.node(f).name.clone();
    let dims = [conv.out_c, conv.kernel[0], conv.kernel[1], conv.in_c];
    let mut params = vec![fused.add_param(&format!("{name}.fused"), &dims, ParamKind::Weight, ParamValue::F32(weight))];
    params.extend(bias.map(|bias| {
        fused.add_param(&format!("{name}.fused.bias"), &[conv.out_c], ParamKind::Bias, ParamValue::F32(bias))
    }));
    fused.nodes[f.index()].params = params;
    if fused.edge(z).quant.is_none() {
        fused.move_codes(node.output, z);
    }
    for reader in graph.consumers(node.output) {
        fused.rewire(reader, node.output, z);
    }
    if fused.output == node.output {
        fused.output = z;
    }
    Ok(())
}

/// The weights of `f` with a 1×1 convolution added where it reads the same position.
fn at_centre(graph: &Graph, f: NodeId, conv: &Conv2d, matrix: &[f32], sum: &Node) -> Result<Vec<f32>, GraphError> {
    let [ky, kx] = [conv.pad[0], conv.pad[1]];
    if ky >= conv.kernel[0] || kx >= conv.kernel[1] {
        return Err(refused(sum, "sits beside a convolution whose window does not hold the position it is at"));
    }
    let mut weight = values(graph, f, 0).unwrap_or_default();
    for (o, row) in matrix.chunks_exact(conv.in_c).enumerate() {
        let at = ((o * conv.kernel[0] + ky) * conv.kernel[1] + kx) * conv.in_c;
        weight[at..at + conv.in_c].iter_mut().zip(row).for_each(|(w, a)| *w += a);
    }
    Ok(weight)
}

/// β·γ: outputs × inputs.
fn product(beta: &[f32], gamma: &[f32], rank: usize, inputs: usize) -> Vec<f32> {
    let element = |row: &[f32], i: usize| (0..rank).map(|k| row[k] * gamma[k * inputs + i]).sum::<f32>();
    beta.chunks_exact(rank).flat_map(|row| (0..inputs).map(move |i| element(row, i))).collect()
}

/// The weights and bias of `f` with the outputs mixed as a series adapter does.
fn mixed(
    graph: &Graph,
    f: NodeId,
    conv: &Conv2d,
    matrix: &[f32],
    norm: NodeId,
    sum: &Node,
) -> Result<(Vec<f32>, Option<Vec<f32>>), GraphError> {
    let Op::BatchNorm(op) = &graph.node(norm).op else {
        return Err(refused(sum, "adapts what its convolution makes through other than a batch norm"));
    };
    let arrays = [0, 1, 2, 3].map(|i| values(graph, norm, i).unwrap_or_default());
    let (scale, shift) = op.affine(&arrays[0], &arrays[1], &arrays[2], &arrays[3]);
    let (channels, depth) = (conv.out_c, conv.depth());
    let weight = values(graph, f, 0).unwrap_or_default();
    let own = values(graph, f, 1).unwrap_or_else(|| vec![0.0; channels]);
    let (mut mixed, mut bias) = (weight.clone(), own.clone());
    for (o, row) in matrix.chunks_exact(channels).enumerate() {
        for (c, &a) in row.iter().enumerate() {
            let from = &weight[c * depth..(c + 1) * depth];
            mixed[o * depth..(o + 1) * depth].iter_mut().zip(from).for_each(|(w, &v)| *w += a * scale[c] * v);
            bias[o] += a * (scale[c] * own[c] + shift[c]);
        }
    }
    Ok((mixed, Some(bias)))
}

/// The graph without some nodes, whose maps nobody else reads.
fn without(graph: &Graph, dropped: &BTreeSet<NodeId>) -> Graph {
    let kept = |producer: Option<NodeId>| producer.is_none_or(|n| !dropped.contains(&n));
    let mut edges = vec![];
    let mut moved = vec![EdgeId(0); graph.edges.len()];
    for (i, edge) in graph.edges.iter().enumerate().filter(|(_, e)| kept(e.producer)) {
        moved[i] = EdgeId(edges.len() as u32);
        edges.push(edge.clone());
    }
    let mut nodes = vec![];
    for id in graph.node_ids().filter(|id| !dropped.contains(id)) {
        let mut node = graph.node(id).clone();
        node.inputs.iter_mut().for_each(|e| *e = moved[e.index()]);
        node.output = moved[node.output.index()];
        edges[node.output.index()].producer = Some(NodeId(nodes.len() as u32));
        nodes.push(node);
    }
    let (input, output) = (moved[graph.input.index()], moved[graph.output.index()]);
    Graph { name: graph.name.clone(), nodes, edges, params: graph.params.clone(), input, output }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device;
    use crate::model::zoo::ZooSpec;
    use crate::plan::program;
    use crate::scheme::{Request, SchemeSpec, place};
    use crate::seed;
    use crate::units::HardwareDomain;

    fn placed(scheme: &str) -> Graph {
        let trunk = ZooSpec::parse("resnet8:width=0.5", Some(16), Some(5), 1).unwrap().build().unwrap();
        let request = Request { scheme: SchemeSpec(scheme.into()), sites: None, batch_norm: None, seed: 1 };
        let mut graph = place(&trunk, &request).unwrap().graph;
        // Statistics and gains of a task that was trained.
        for param in graph.params.iter_mut().filter(|p| p.name.starts_with("series") && p.name.contains(".bn.")) {
            let start = if param.name.ends_with("variance") || param.name.ends_with("gamma") { 1.5 } else { 0.0 };
            let noise = seed::normal(7, &param.name, param.value.len(), 0.1);
            param.value = ParamValue::F32(noise.into_iter().map(|n| start + n).collect());
        }
        graph
    }

    /// The output in real values, all of it on the twins.
    fn output(graph: &Graph) -> Vec<f32> {
        let mut float = graph.clone();
        float.nodes.iter_mut().for_each(|n| n.domain = HardwareDomain::Adapter);
        let program = program::lower(&float, 1, &[], &Default::default()).unwrap();
        let mut device = device::open("cpu").unwrap();
        device.prepare(&program.buffers, 1).unwrap();
        let image = seed::normal(3, "image", float.shape(float.input).elements(), 1.0);
        device.write(0, program.maps[&float.input], bytemuck::cast_slice(&image)).unwrap();
        let calls: Vec<_> = program.steps.iter().flat_map(|s| s.calls.clone()).collect();
        device.run(0, &calls).unwrap();
        let elements = float.shape(float.output).elements();
        bytemuck::cast_vec(device.read(0, program.maps[&float.output], elements).unwrap())
    }

    /// SPEC 6, property 2.
    #[test]
    fn a_fused_network_gives_what_the_unfused_gives() {
        let bare = output(&placed("head-only"));
        for scheme in ["parallel", "parallel:dropout=0.5", "low-rank", "series"] {
            let graph = placed(scheme);
            let folded = fused(&graph).unwrap();
            folded.check().unwrap();
            assert!(folded.nodes.iter().all(|n| n.site.is_none()), "{scheme}");
            let (a, b) = (output(&graph), output(&folded));
            let largest = a.iter().fold(1.0f32, |m, v| m.max(v.abs()));
            let off = a.iter().zip(&b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(off <= 1e-5 * largest, "{scheme}: off by {off} of {largest}");
            let moved = a.iter().zip(&bare).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(moved > 1e-2 * largest, "{scheme} does nothing: {moved}");
        }
    }

    #[test]
    fn what_is_not_linear_is_refused_by_name() {
        for scheme in ["adaptive-attention", "da3"] {
            let error = fused(&placed(scheme)).unwrap_err().to_string();
            assert!(error.contains("node '"), "{scheme}: {error}");
        }
    }
}
