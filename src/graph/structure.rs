//! Stem, residual and plain blocks, stages and head, found in any graph, built by us or imported.
//!
//! A *cut* is an edge through which every path from input to output passes. Between two cuts lies
//! either one node of a plain chain, or a section of parallel paths. A section that holds
//! convolutions and ends in an addition is a **residual block**; a convolution on the chain with
//! the batch norm and activation after it is a **plain block**, and so is an inverted bottleneck
//! without a shortcut. What only makes a factor per channel (squeeze-excite) is a gate. The first block, if plain, is the
//! **stem**. A **stage** is a run of blocks whose outputs have one resolution. The **head** is the
//! last weight layer that sees a single pixel, with everything after it.
//!
//! Nothing here looks at names, so sites work on models that we did not build.

use super::{EdgeId, Graph, GraphError, NodeId};
use crate::op::Op;
use std::collections::BTreeSet;

/// A residual section, or a plain convolution with its normalisation and activation.
#[derive(Clone, Debug)]
pub struct Block {
    /// The map the block reads and the map it produces.
    pub entry: EdgeId,
    pub exit: EdgeId,
    /// Convolutions on the main path, in order.
    pub convs: Vec<NodeId>,
    /// Nodes that only the shortcut path passes; empty for an identity shortcut.
    pub shortcut: Vec<NodeId>,
    /// The addition where both paths meet; `None` in a plain block.
    pub join: Option<NodeId>,
}

/// A run of blocks of one output resolution.
#[derive(Clone, Debug)]
pub struct Stage {
    pub entry: EdgeId,
    pub exit: EdgeId,
    /// Indices into [`Structure::blocks`].
    pub blocks: std::ops::Range<usize>,
}

/// What was found in a graph.
#[derive(Clone, Debug)]
pub struct Structure {
    pub stem: Option<Block>,
    pub blocks: Vec<Block>,
    pub stages: Vec<Stage>,
    /// The classifier and what follows it, in order; empty if there is no weight layer.
    pub head: Vec<NodeId>,
}

impl Structure {
    /// Finds the structure of `graph`. Fails only if the graph has a cycle.
    pub fn find(graph: &Graph) -> Result<Self, GraphError> {
        let order = graph.order()?;
        let head = head(graph, &order);
        let sections: Vec<Section> =
            sections(graph, &order).into_iter().filter(|s| !s.nodes.iter().any(|n| head.contains(n))).collect();
        let mut blocks = bottlenecks(graph, blocks(graph, &sections));
        let has_stem = blocks.first().is_some_and(|b| b.join.is_none());
        let stem = has_stem.then(|| blocks.remove(0));
        let stages = stages(graph, &blocks);
        Ok(Self { stem, blocks, stages, head })
    }

    /// The stage that a block belongs to.
    pub fn stage_of(&self, block: usize) -> Option<usize> {
        self.stages.iter().position(|s| s.blocks.contains(&block))
    }

    /// Whether `node` reads `edge` only as the shortcut of a residual block.
    pub fn is_shortcut_use(&self, node: NodeId, edge: EdgeId) -> bool {
        self.blocks.iter().any(|b| b.shortcut.contains(&node) || (b.join == Some(node) && edge == b.entry))
    }
}

/// The nodes between two cuts.
struct Section {
    entry: EdgeId,
    exit: EdgeId,
    nodes: Vec<NodeId>,
}

/// Sweeps the nodes in order, keeping the edges that are still to be read: where only one is
/// left, every path goes through it.
fn sections(graph: &Graph, order: &[NodeId]) -> Vec<Section> {
    let mut unread: Vec<usize> = vec![0; graph.edges.len()];
    for node in &graph.nodes {
        for edge in &node.inputs {
            unread[edge.index()] += 1;
        }
    }
    let mut live: BTreeSet<EdgeId> = BTreeSet::from([graph.input]);
    let mut entry = graph.input;
    let mut nodes = Vec::new();
    let mut found = Vec::new();
    for &id in order {
        let node = graph.node(id);
        nodes.push(id);
        for edge in &node.inputs {
            unread[edge.index()] -= 1;
            if unread[edge.index()] == 0 {
                live.remove(edge);
            }
        }
        live.insert(node.output);
        if live.len() == 1 {
            found.push(Section { entry, exit: node.output, nodes: std::mem::take(&mut nodes) });
            entry = node.output;
        }
    }
    found
}

/// The last weight layer, if it sees one pixel, and all that follows.
fn head(graph: &Graph, order: &[NodeId]) -> Vec<NodeId> {
    let classifies = |&id: &NodeId| match &graph.node(id).op {
        Op::Linear(_) => Some(true),
        Op::Conv2d(_) => Some(graph.input_shapes(id)[0].pixels() == 1),
        _ => None,
    };
    match order.iter().rposition(|id| classifies(id).is_some()) {
        Some(at) if classifies(&order[at]) == Some(true) => order[at..].to_vec(),
        _ => vec![],
    }
}

fn blocks(graph: &Graph, sections: &[Section]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // Whether the next node on the chain still belongs to the block before it.
    let mut open = false;
    for section in sections {
        let convs = convolutions(graph, &section.nodes);
        match (&section.nodes[..], convs.is_empty()) {
            ([_], false) => {
                blocks.push(Block { entry: section.entry, exit: section.exit, convs, shortcut: vec![], join: None });
                open = true;
            }
            ([only], true) => {
                let closes = matches!(graph.node(*only).op, Op::Activation(_));
                let extends = closes || matches!(graph.node(*only).op, Op::BatchNorm(_));
                let plain = blocks.last().is_some_and(|b| b.join.is_none());
                if open && extends && (closes || plain) {
                    blocks.last_mut().expect("an open block").exit = section.exit;
                }
                open = open && extends && !closes;
            }
            (_, false) => {
                blocks.push(residual(graph, section));
                open = true;
            }
            // A gate, for one.
            _ => open = false,
        }
    }
    blocks
}

/// The convolutions among some nodes, but for those of gates.
fn convolutions(graph: &Graph, nodes: &[NodeId]) -> Vec<NodeId> {
    let gates = gates(graph, nodes);
    let counts = |n: &NodeId| matches!(graph.node(*n).op, Op::Conv2d(_)) && !gates.contains(n);
    nodes.iter().copied().filter(counts).collect()
}

/// The nodes that see one pixel and make the factors by which a larger map is multiplied.
fn gates(graph: &Graph, nodes: &[NodeId]) -> BTreeSet<NodeId> {
    let is_pixel = |edge: &EdgeId| graph.shape(*edge).pixels() == 1;
    let mut gates = BTreeSet::new();
    for node in nodes.iter().map(|&n| graph.node(n)).filter(|n| n.op == Op::Mul && !is_pixel(&n.output)) {
        let mut todo: Vec<EdgeId> = node.inputs.iter().copied().filter(is_pixel).collect();
        while let Some(edge) = todo.pop() {
            let Some(producer) = graph.edge(edge).producer else { continue };
            if gates.insert(producer) {
                todo.extend(graph.node(producer).inputs.iter().copied().filter(is_pixel));
            }
        }
    }
    gates
}

/// Joins the plain blocks of inverted bottlenecks: a depthwise convolution and the 1×1 one without an
/// activation after it, with the 1×1 one that expands before them. A stage then ends at the narrow map.
fn bottlenecks(graph: &Graph, blocks: Vec<Block>) -> Vec<Block> {
    let plain = |b: &Block| match (b.join, &b.convs[..]) {
        (None, &[conv]) => match &graph.node(conv).op {
            Op::Conv2d(op) => Some(op.clone()),
            _ => None,
        },
        _ => None,
    };
    let activated =
        |b: &Block| graph.edge(b.exit).producer.is_some_and(|n| matches!(graph.node(n).op, Op::Activation(_)));
    let pointwise = |b: &Block| plain(b).is_some_and(|c| c.kernel == [1, 1] && c.groups == 1);
    let depthwise = |b: &Block| plain(b).is_some_and(|c| c.is_depthwise());
    let mut joined: Vec<Block> = Vec::new();
    for block in blocks {
        let projects = pointwise(&block) && !activated(&block);
        joined.push(block);
        if projects && joined.len() >= 2 && depthwise(&joined[joined.len() - 2]) {
            let expands =
                joined.len() >= 3 && pointwise(&joined[joined.len() - 3]) && activated(&joined[joined.len() - 3]);
            let parts = joined.split_off(joined.len() - if expands { 3 } else { 2 });
            let convs = parts.iter().flat_map(|b| b.convs.clone()).collect();
            let (entry, exit) = (parts[0].entry, parts[parts.len() - 1].exit);
            joined.push(Block { entry, exit, convs, shortcut: vec![], join: None });
        }
    }
    joined
}

/// Splits a section of parallel paths at its last addition: the operand with more convolutions
/// behind it is the main path.
fn residual(graph: &Graph, section: &Section) -> Block {
    let join = section.nodes.iter().rev().copied().find(|&n| graph.node(n).op == Op::Add);
    let behind = |edge: EdgeId| -> BTreeSet<NodeId> {
        let mut seen = BTreeSet::new();
        let mut todo = vec![edge];
        while let Some(edge) = todo.pop() {
            let Some(producer) = graph.edge(edge).producer.filter(|_| edge != section.entry) else { continue };
            if seen.insert(producer) {
                todo.extend(&graph.node(producer).inputs);
            }
        }
        seen
    };
    let (main, shortcut) = match join.map(|j| &graph.node(j).inputs[..]) {
        Some([a, b]) => {
            let (a, b) = (behind(*a), behind(*b));
            let weight =
                |s: &BTreeSet<NodeId>| (convolutions(graph, &Vec::from_iter(s.iter().copied())).len(), s.len());
            let (main, other) = if weight(&a) >= weight(&b) { (a, b) } else { (b, a) };
            let only = other.difference(&main).copied().collect();
            (main, only)
        }
        _ => (section.nodes.iter().copied().collect(), vec![]),
    };
    let in_order: Vec<NodeId> = section.nodes.iter().copied().filter(|n| main.contains(n)).collect();
    Block { entry: section.entry, exit: section.exit, convs: convolutions(graph, &in_order), shortcut, join }
}

fn stages(graph: &Graph, blocks: &[Block]) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let resolution = |e: EdgeId| (graph.shape(e).h, graph.shape(e).w);
    for (i, block) in blocks.iter().enumerate() {
        match stages.last_mut() {
            Some(stage) if resolution(stage.exit) == resolution(block.exit) => {
                stage.blocks.end = i + 1;
                stage.exit = block.exit;
            }
            _ => stages.push(Stage { entry: block.entry, exit: block.exit, blocks: i..i + 1 }),
        }
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zoo::ZooSpec;
    use crate::tensor::Shape;

    #[test]
    fn resnet26_has_a_stem_and_three_stages_of_four_blocks() {
        let g = ZooSpec::parse("resnet26", Some(72), Some(47), 0).unwrap().build().unwrap();
        g.check().unwrap();
        let s = Structure::find(&g).unwrap();
        assert_eq!(s.stem.as_ref().unwrap().convs.len(), 1);
        assert_eq!(s.blocks.len(), 12);
        assert!(s.blocks.iter().all(|b| b.convs.len() == 2 && b.join.is_some()));
        let entries: Vec<Shape> = s.stages.iter().map(|t| g.shape(t.entry)).collect();
        assert_eq!(entries, [Shape::new(72, 72, 32), Shape::new(36, 36, 64), Shape::new(18, 18, 128)]);
        assert_eq!(s.head.len(), 1);
        let params: usize =
            g.params.iter().filter(|p| p.kind != crate::graph::ParamKind::NormStats).map(|p| p.value.len()).sum();
        assert_eq!(params, 5_826_767);
        let macs: u64 = g.node_ids().map(|n| g.macs(n)).sum();
        assert_eq!(macs, 1_079_433_216 + 12_032);
    }

    #[test]
    fn resnet8_shortcut_convolutions_are_no_main_path() {
        let g = ZooSpec::parse("resnet8", None, None, 0).unwrap().build().unwrap();
        let s = Structure::find(&g).unwrap();
        assert_eq!(s.stages.len(), 3);
        assert_eq!(s.blocks.iter().map(|b| b.convs.len()).collect::<Vec<_>>(), [2, 2, 2]);
        assert_eq!(s.blocks.iter().map(|b| b.shortcut.len()).collect::<Vec<_>>(), [0, 2, 2]);
        assert_eq!(g.node_ids().map(|n| g.macs(n)).sum::<u64>(), 12_501_632);
        assert_eq!(s.head.iter().map(|&n| g.node(n).op.name()).collect::<Vec<_>>(), ["linear", "softmax"]);
    }
}
