//! What a training step must keep of its forward pass, by map and side (SPEC 2.1).
//!
//! A map is kept once per side and form, whoever needs it. Nothing is kept before the earliest
//! thing that trains. Whether it is really held is for the engines to show.

use crate::graph::gradient::{Gradients, trains_weight};
use crate::graph::{EdgeId, Graph, GraphError, NodeId, ParamKind};
use crate::kernel::max_pool_index::index_bits;
use crate::op::{Activation, Op, Reads};
use crate::tensor::Shape;
use crate::units::HardwareDomain;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How a map is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Real values of 32 bits.
    Values,
    /// The int8 codes in which it left the trunk, dequantised again when they are needed.
    Codes,
    /// One bit: whether an activation passes the gradient.
    Mask,
    /// Which input a maximum came from.
    Indices,
}

/// In what form maps are kept that the trunk has as codes, on either side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapsAs {
    /// As 32-bit values: what published figures assume.
    #[default]
    Values,
    Codes,
}

/// One thing that is kept, for one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    #[serde(skip)]
    pub edge: EdgeId,
    pub map: String,
    pub side: HardwareDomain,
    pub form: Form,
    pub elements: u64,
    pub bits: u64,
}

impl Kept {
    pub fn bytes(&self) -> u64 {
        (self.elements * self.bits).div_ceil(8)
    }
}

/// Bytes of a list of kept things, for one image. Masks are packed together.
pub fn bytes(kept: &[Kept]) -> u64 {
    let (masks, others): (Vec<&Kept>, Vec<&Kept>) = kept.iter().partition(|k| k.form == Form::Mask);
    let bits: u64 = masks.iter().map(|k| k.elements * k.bits).sum();
    others.iter().map(|k| k.bytes()).sum::<u64>() + bits.div_ceil(8)
}

/// The same where a map that is kept on both sides is counted once: what one device that did
/// everything would keep, and what the published figures are.
pub fn bytes_once(kept: &[Kept]) -> u64 {
    let mut seen = BTreeSet::new();
    // On the adapter device first: there the form is chosen.
    let mut ordered: Vec<&Kept> = kept.iter().collect();
    ordered.sort_by_key(|k| k.side != HardwareDomain::Adapter);
    let is_new = |k: &&Kept| !matches!(k.form, Form::Values | Form::Codes) || seen.insert(k.edge);
    let once: Vec<Kept> = ordered.into_iter().filter(is_new).cloned().collect();
    bytes(&once)
}

/// What one image makes a step keep, in edge order.
pub fn kept(graph: &Graph, gradients: &Gradients, maps: MapsAs) -> Result<Vec<Kept>, GraphError> {
    let mut keeping = Keeping { graph, gradients, maps, found: BTreeMap::new(), read: BTreeMap::new() };
    gradients.nodes().iter().for_each(|&id| keeping.node(id));
    keeping.activations();
    let named = |((edge, side, form), (elements, bits)): (Key, (u64, u64))| Kept {
        edge,
        map: graph.edge(edge).name.clone(),
        side,
        form,
        elements,
        bits,
    };
    Ok(keeping.found.into_iter().map(named).collect())
}

/// The map that a map was before dropouts, whose choices are made again instead of being kept.
pub fn before_dropout(graph: &Graph, edge: EdgeId) -> EdgeId {
    match graph.edge(edge).producer.map(|n| graph.node(n)) {
        Some(node) if matches!(node.op, Op::Dropout(_)) => before_dropout(graph, node.inputs[0]),
        _ => edge,
    }
}

type Key = (EdgeId, HardwareDomain, Form);

struct Keeping<'a> {
    graph: &'a Graph,
    gradients: &'a Gradients,
    maps: MapsAs,
    found: BTreeMap<Key, (u64, u64)>,
    /// The grids on which strided convolutions read the maps that they keep.
    read: BTreeMap<(EdgeId, HardwareDomain), BTreeSet<(usize, usize)>>,
}

impl Keeping<'_> {
    /// Keeps the values of a map, on the positions of `grid`.
    fn values(&mut self, edge: EdgeId, side: HardwareDomain, grid: (usize, usize)) {
        let edge = before_dropout(self.graph, edge);
        let grids = self.read.entry((edge, side)).or_default();
        grids.insert(grid);
        // Two grids that are not the same are kept as the whole map.
        // What is made where it is kept is there as a whole.
        let whole = grids.len() > 1 || (side == HardwareDomain::Adapter && self.graph.home(edge) == side);
        let (h, w) = if whole { (1, 1) } else { grid };
        let full = self.graph.shape(edge);
        let elements = Shape::new(full.h.div_ceil(h), full.w.div_ceil(w), full.c).elements() as u64;
        let tapped = side == HardwareDomain::Adapter && self.graph.home(edge) == HardwareDomain::Trunk;
        let (form, bits) = if tapped && self.maps == MapsAs::Codes { (Form::Codes, 8) } else { (Form::Values, 32) };
        self.found.insert((edge, side, form), (elements, bits));
    }

    fn codes(&mut self, edge: EdgeId, side: HardwareDomain) {
        self.found.insert((edge, side, Form::Codes), (self.graph.shape(edge).elements() as u64, 8));
    }

    fn node(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let side = node.domain;
        match &node.op {
            Op::Conv2d(_) | Op::Linear(_) if trains_weight(self.graph, id) => {
                let grid = match node.op.reads() {
                    Reads::All => (1, 1),
                    Reads::Strided { h, w } => (h, w),
                };
                self.values(node.inputs[0], side, grid);
            }
            Op::BatchNorm(_) if self.trains_gamma(id) => self.values(node.inputs[0], side, (1, 1)),
            // Each operand's gradient needs the other; the trunk has codes of
            // both.
            Op::Mul => {
                for (a, b) in [(0, 1), (1, 0)] {
                    match (self.gradients.has(node.inputs[a]), side) {
                        (true, HardwareDomain::Trunk) if self.maps == MapsAs::Codes => self.codes(node.inputs[b], side),
                        (true, _) => self.values(node.inputs[b], side, (1, 1)),
                        (false, _) => {}
                    }
                }
            }
            Op::Softmax(_) => self.values(node.output, side, (1, 1)),
            Op::MaxPool(pool) if self.gradients.has(node.inputs[0]) => {
                self.indices(node.output, side, 1, pool.kernel[0] * pool.kernel[1]);
            }
            // The mean needs nothing, the maximum one index per position.
            Op::ChannelPool if self.gradients.has(node.inputs[0]) => {
                let input = self.graph.shape(node.inputs[0]);
                let bits = u64::from(index_bits(input.c));
                self.found.insert((node.output, side, Form::Indices), (input.pixels() as u64, bits));
            }
            _ => {}
        }
    }

    /// The position of a maximum among `candidates`.
    fn indices(&mut self, output: EdgeId, side: HardwareDomain, each: u64, candidates: usize) {
        let bits = u64::from(index_bits(candidates));
        self.found.insert((output, side, Form::Indices), (self.graph.shape(output).elements() as u64 * each, bits));
    }

    fn trains_gamma(&self, id: NodeId) -> bool {
        let gamma = self.graph.node(id).params.first().map(|&p| self.graph.param(p));
        gamma.is_some_and(|p| p.trainable && p.kind == ParamKind::NormAffine)
    }

    /// After everything else is known to be kept: an adapter's ReLU is read off its own map where
    /// that is kept anyway; the network's own keep a bit per element.
    fn activations(&mut self) {
        for &id in self.gradients.nodes() {
            let node = self.graph.node(id);
            let Op::Activation(activation) = &node.op else { continue };
            if !self.gradients.has(node.inputs[0]) {
                continue;
            }
            let (side, output) = (node.domain, node.output);
            let elements = self.graph.shape(output).elements() as u64;
            let is_kept = self.found.contains_key(&(output, side, Form::Values));
            match activation {
                Activation::Sigmoid { .. } | Activation::Tanh => self.values(output, side, (1, 1)),
                Activation::HardSwish | Activation::HardSigmoid { .. } => self.values(node.inputs[0], side, (1, 1)),
                _ if node.site.is_some() && is_kept => {}
                _ => {
                    self.found.insert((output, side, Form::Mask), (elements, 1));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zoo;
    use crate::scheme::{BatchNormMode, Request, SchemeSpec, place};

    fn kept_by(trunk: &Graph, scheme: &str, norm: BatchNormMode, maps: MapsAs) -> u64 {
        let request = Request { scheme: SchemeSpec(scheme.into()), sites: None, batch_norm: Some(norm), seed: 1 };
        let placed = place(trunk, &request).unwrap();
        let gradients = Gradients::of(&placed.graph).unwrap();
        bytes_once(&kept(&placed.graph, &gradients, maps).unwrap())
    }

    /// SPEC 2.4, bytes per image.
    #[test]
    fn the_table_of_resnet26_comes_out() {
        use BatchNormMode::{Frozen, Registers};
        use MapsAs::{Codes, Values};
        let resnet26 = |side| zoo::ZooSpec::parse("resnet26", Some(side), Some(10), 1).unwrap().build().unwrap();
        let trunks = [64, 72].map(resnet26);
        for (scheme, norm, maps, at_64, at_72) in [
            ("head-only", Frozen, Values, 1_024, 1_024),
            ("adaptive-attention:m=2", Frozen, Values, 1_099_776, 1_391_632),
            // The head's input too comes as codes and is kept as codes, where the table has 4 bytes each.
            ("adaptive-attention:m=2", Frozen, Codes, 411_648 - 768, 520_720 - 768),
            // The table has a byte per position more for the first module's maximum, which nothing reads:
            // its map depends on nothing that trains.
            ("spatial-attention", Frozen, Values, 1_105_152 - 64 * 64, 1_398_436 - 72 * 72),
            ("parallel", Frozen, Values, 3_607_552, 4_565_536),
            ("head-only", Registers, Values, 4_377_600, 5_540_128),
            ("adaptive-attention:m=2", Registers, Values, 5_359_616, 6_782_992),
            ("parallel", Registers, Values, 7_867_392, 9_956_896),
            ("fine-tune", Registers, Values, 8_555_520, 10_827_808),
            ("series", Registers, Values, 12_766_208, 16_156_960),
            ("bias-only", Registers, Values, 117_760, 148_768),
            ("batch-norm", Registers, Values, 4_377_600, 5_540_128),
            ("da3", Registers, Values, 719_424, 897_040),
            // Its head's input, as above.
            ("da3:tap=pooled", Registers, Codes, 289_344 - 768, 362_512 - 768),
            ("da3:pool=4", Registers, Values, 268_176, 326_928),
            ("da3:pool=4,tap=pooled", Registers, Codes, 160_656 - 768, 199_824 - 768),
        ] {
            let got = trunks.each_ref().map(|trunk| kept_by(trunk, scheme, norm, maps));
            assert_eq!(got, [at_64, at_72], "{scheme}, {norm:?}, {maps:?}");
        }
    }
}
