//! What the papers compare with and no scheme of ours places, built of ordinary operations so that the
//! counters count it.

use crate::graph::structure::Structure;
use crate::graph::{EdgeId, Graph, GraphError, NodeId, ParamKind, ParamValue};
use crate::op::{Activation, BatchNorm, Conv2d, Op, Pool};

/// The convolutions that adapters sit at: the stem's and those of the blocks' main paths.
pub fn convolutions(graph: &Graph) -> Result<Vec<NodeId>, GraphError> {
    let structure = Structure::find(graph)?;
    Ok(structure.stem.iter().chain(&structure.blocks).flat_map(|b| b.convs.clone()).collect())
}

/// A bias-free 1×1 convolution of `input`; its weights are for counting only.
fn pointwise(graph: &mut Graph, name: &str, input: EdgeId, out_c: usize, stride: usize) -> Result<EdgeId, GraphError> {
    let conv = Conv2d::square(graph.shape(input).c, out_c, 1, stride, 0);
    let zeros = ParamValue::F32(vec![0.0; conv.weights()]);
    let weight = graph.add_param(&format!("{name}.weight"), &[out_c, 1, 1, conv.in_c], ParamKind::Weight, zeros);
    graph.add_node(name, Op::Conv2d(conv), &[input], &[weight])
}

fn batch_norm(graph: &mut Graph, name: &str, input: EdgeId) -> Result<EdgeId, GraphError> {
    let channels = graph.shape(input).c;
    graph.add_batch_norm(name, input, BatchNorm { channels, epsilon: 1e-5 })
}

/// Lets `make` append nodes that take the place of the map `edge`: who read it reads what they make.
fn replace(
    graph: &mut Graph,
    edge: EdgeId,
    make: impl FnOnce(&mut Graph) -> Result<EdgeId, GraphError>,
) -> Result<EdgeId, GraphError> {
    let (end, readers) = (graph.output, graph.consumers(edge));
    let made = make(graph)?;
    readers.into_iter().for_each(|reader| graph.rewire(reader, edge, made));
    graph.output = if end == edge { made } else { end };
    Ok(made)
}

/// Series residual adapters (Rebuffi et al. 2017): `z + A⋆BN(z)` on every convolution's output.
pub fn series(trunk: &Graph) -> Result<Graph, GraphError> {
    let mut graph = trunk.clone();
    for conv in convolutions(trunk)? {
        let (name, z) = (trunk.node(conv).name.clone(), trunk.node(conv).output);
        replace(&mut graph, z, |g| {
            let channels = g.shape(z).c;
            let normed = batch_norm(g, &format!("{name}.series.bn"), z)?;
            let adapted = pointwise(g, &format!("{name}.series"), normed, channels, 1)?;
            g.add_node(&format!("{name}.series.add"), Op::Add, &[z, adapted], &[])
        })?;
    }
    Ok(graph)
}

/// Deep adaptation networks (Rosenfeld & Tsotsos): every convolution's filters recombined linearly,
/// which is a 1×1 convolution of its output.
pub fn recombined(trunk: &Graph) -> Result<Graph, GraphError> {
    let mut graph = trunk.clone();
    for conv in convolutions(trunk)? {
        let (name, z) = (format!("{}.recombined", trunk.node(conv).name), trunk.node(conv).output);
        let channels = graph.shape(z).c;
        replace(&mut graph, z, |g| pointwise(g, &name, z, channels, 1))?;
    }
    Ok(graph)
}

/// Name endings of the two factors of [`low_rank`].
pub const OWN_FACTOR: &str = ".gamma";
pub const SHARED_FACTOR: &str = ".beta";

/// Parallel adapters of half rank (Rebuffi et al. 2018, "Parallel SVD"): each task's own factor into
/// half the output's channels, then one that all tasks share.
pub fn low_rank(trunk: &Graph) -> Result<Graph, GraphError> {
    let mut graph = trunk.clone();
    for conv in convolutions(trunk)? {
        let node = trunk.node(conv).clone();
        let (name, z, x) = (node.name, node.output, node.inputs[0]);
        let channels = graph.shape(z).c;
        let stride = graph.shape(x).h / graph.shape(z).h;
        replace(&mut graph, z, |g| {
            let own = pointwise(g, &format!("{name}{OWN_FACTOR}"), x, channels / 2, stride)?;
            let adapted = pointwise(g, &format!("{name}{SHARED_FACTOR}"), own, channels, 1)?;
            g.add_node(&format!("{name}.low-rank.add"), Op::Add, &[z, adapted], &[])
        })?;
    }
    Ok(graph)
}

/// NetTailor's student before pruning: to every block's output are added proxies of the maps of the
/// last `proxies` blocks before it (the stem's map is the first), then a ReLU. A proxy is a maximum
/// pool down to the block's resolution, a 1×1 convolution and a batch norm.
pub fn student(trunk: &Graph, proxies: usize) -> Result<Graph, GraphError> {
    let blocks = Structure::find(trunk)?.blocks;
    let mut graph = trunk.clone();
    let mut sources: Vec<EdgeId> = blocks.iter().take(1).map(|b| b.entry).collect();
    for (l, block) in blocks.iter().enumerate() {
        let near = sources[sources.len().saturating_sub(proxies)..].to_vec();
        let pooled = replace(&mut graph, block.exit, |g| {
            let mut sum = block.exit;
            for (p, &source) in near.iter().enumerate() {
                let name = format!("proxy{}.{p}", l + 1);
                let proxy = proxy(g, &name, source, block.exit)?;
                sum = g.add_node(&format!("{name}.add"), Op::Add, &[sum, proxy], &[])?;
            }
            g.add_node(&format!("student{}.relu", l + 1), Op::Activation(Activation::Relu), &[sum], &[])
        })?;
        sources.push(pooled);
    }
    Ok(graph)
}

fn proxy(graph: &mut Graph, name: &str, source: EdgeId, like: EdgeId) -> Result<EdgeId, GraphError> {
    let (from, to) = (graph.shape(source), graph.shape(like));
    let stride = from.h / to.h;
    let mut map = source;
    if stride > 1 {
        let pool = Pool { kernel: [stride + 1; 2], stride: [stride; 2], pad: [stride / 2; 4] };
        map = graph.add_node(&format!("{name}.pool"), Op::MaxPool(pool), &[map], &[])?;
    }
    let conv = pointwise(graph, name, map, to.c, 1)?;
    batch_norm(graph, &format!("{name}.bn"), conv)
}

/// Elements of the parameters of some nodes; running statistics are none.
pub fn elements(graph: &Graph, of: impl Fn(NodeId) -> bool) -> u64 {
    let nodes = graph.node_ids().filter(|&id| of(id)).map(|id| graph.node(id));
    let params = nodes.flat_map(|n| &n.params).map(|&p| graph.param(p));
    params.filter(|p| p.kind != ParamKind::NormStats).map(|p| p.value.len() as u64).sum()
}

/// Parameters that `larger` has beyond `trunk`, from which it was made by appending nodes.
pub fn added(larger: &Graph, trunk: &Graph) -> u64 {
    elements(larger, |id| id.index() >= trunk.nodes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zoo::ZooSpec;
    use crate::plan::macs::{self, MacRule};

    fn zoo(name: &str) -> Graph {
        ZooSpec::parse(name, None, Some(10), 0).unwrap().build().unwrap()
    }

    /// PAPER_TABLES section 3: 689,152 and 7,232 of batch norms.
    #[test]
    fn series_adapters_and_factors_have_the_known_sizes() {
        let trunk = zoo("resnet26");
        let of = |graph: Result<Graph, GraphError>| {
            let graph = graph.unwrap();
            graph.check().unwrap();
            added(&graph, &trunk)
        };
        assert_eq!(convolutions(&trunk).unwrap().len(), 25);
        assert_eq!(of(series(&trunk)), 689_152 + 7_232);
        assert_eq!(of(recombined(&trunk)), 689_152);
        assert_eq!(of(low_rank(&trunk)), 645_216 / 2 + 689_152 / 2);
    }

    /// SPEC 1.4: ResNet-34 with three proxies per block.
    #[test]
    fn the_student_has_the_proxies_of_the_public_code() {
        let trunk = zoo("resnet34");
        let student = student(&trunk, 3).unwrap();
        student.check().unwrap();
        assert_eq!(added(&student, &trunk), 2_750_208);
        let proxies = student.nodes.iter().filter(|n| n.name.starts_with("proxy") && matches!(n.op, Op::Conv2d(_)));
        assert_eq!(proxies.count(), 1 + 2 + 14 * 3);
        assert_eq!(student.shape(student.output).elements(), 10);
        // A proxy of a map of its block's size: 1/18 of two 3×3 convolutions, up to the batch norms.
        let cost = |graph: &Graph, name: &str| {
            let nodes = graph.node_ids().filter(|&n| graph.node(n).name.starts_with(name));
            nodes.map(|n| macs::node(graph, n, MacRule::Nettailor)).sum::<u64>() as f64
        };
        let ratio = cost(&trunk, "s1b2") / cost(&student, "proxy2.1");
        assert!((17.0..18.0).contains(&ratio), "{ratio}");
    }
}
