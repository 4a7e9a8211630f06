//! A trunk that runs again what its backward pass needs, instead of keeping it from forward to backward.
//!
//! Bits, positions and codes are the same the second time. What is kept for it are the codes of the images
//! and those that entered from the adapter device; the second run is counted as backward work. Nothing
//! crosses the bus again.

use super::RunError;
use crate::graph::{EdgeId, Graph, NodeId};
use crate::op::Counts;
use crate::tensor::Tensor;
use crate::trunk::backward::{BackwardProgram, Ran, Tape};
use crate::trunk::{Map, TrunkProgram};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What of a training step is computed again instead of being kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recompute {
    #[default]
    None,
    /// What the trunk's steps leave for their backward pass.
    Masks,
}

/// A map as the trunk holds it: int8 codes, or the wider codes of an accumulator join.
pub enum Held {
    Codes(Tensor<i8>),
    Wide(Tensor<i16>),
}

/// The part of the forward pass that is run again.
#[derive(Clone, Debug)]
pub struct Rerun {
    /// In order.
    steps: Vec<usize>,
    /// What it starts from: elements of one image, and the bits of each.
    from: BTreeMap<EdgeId, (u64, u64)>,
}

impl Rerun {
    /// Every step that works backward, and what makes its maps.
    pub fn new(graph: &Graph, program: &TrunkProgram, backward: &BackwardProgram) -> Self {
        let working: BTreeSet<usize> = backward.steps().collect();
        let (mut steps, mut needed) = (vec![], BTreeSet::new());
        for (i, step) in program.steps.iter().enumerate().rev() {
            if working.contains(&i) || needed.remove(&step.output) {
                needed.remove(&step.output);
                needed.extend(step.inputs.iter().copied().chain(step.join));
                steps.push(i);
            }
        }
        steps.reverse();
        let size = |edge: EdgeId| {
            let bits = program.tap_ins.get(&edge).map_or(8, |format| u64::from(format.bits));
            (graph.shape(edge).elements() as u64, bits)
        };
        Self { steps, from: needed.into_iter().map(|edge| (edge, size(edge))).collect() }
    }

    /// Whether a map is kept for it.
    pub fn starts_from(&self, edge: EdgeId) -> bool {
        self.from.contains_key(&edge)
    }

    /// Bytes that are kept of one image.
    pub fn kept_b(&self) -> u64 {
        self.from.values().map(|(elements, bits)| elements * bits / 8).sum()
    }

    /// Bytes of the codes that are held for it, as a chip would hold them.
    pub fn held_b(&self, held: &BTreeMap<EdgeId, Held>) -> u64 {
        let bits = |edge| self.from.get(edge).map_or(8, |&(_, bits)| bits);
        let bytes = held.iter().map(|(edge, map)| match map {
            Held::Codes(map) => map.data.len() as u64,
            Held::Wide(map) => map.data.len() as u64 * bits(edge) / 8,
        });
        bytes.sum()
    }

    /// The layers that run again, with the MACs of one image.
    pub fn macs<'a>(&'a self, program: &'a TrunkProgram) -> impl Iterator<Item = (NodeId, u64)> + 'a {
        self.steps.iter().map(|&i| (program.steps[i].nodes[0], program.steps[i].macs().0))
    }

    /// Runs it for a batch: what every step keeps, and what each did.
    pub fn run(
        &self,
        program: &TrunkProgram,
        backward: &BackwardProgram,
        from: &BTreeMap<EdgeId, Held>,
        batch: usize,
    ) -> Result<(Tape, Vec<(NodeId, Counts)>), RunError> {
        let (mut tape, mut did, mut cut) = (backward.tape(batch), vec![], vec![]);
        let mut made: BTreeMap<EdgeId, Tensor<i8>> = BTreeMap::new();
        for (at, &number) in self.steps.iter().enumerate() {
            let step = &program.steps[number];
            let map = |edge: &EdgeId| match (made.get(edge), from.get(edge)) {
                (Some(map), _) | (None, Some(Held::Codes(map))) => Map::from(map),
                _ => panic!("a map that is run again starts from what was kept"),
            };
            let inputs: Vec<Map<'_>> = step.inputs.iter().map(map).collect();
            let join = step.join.and_then(|edge| match from.get(&edge) {
                Some(Held::Wide(join)) => Some(join),
                _ => None,
            });
            let mut out = Tensor::zeros(batch, step.output_shape());
            let counts = step.run_cutting(&inputs, join, &mut out.data, &mut cut);
            let ran = Ran { inputs: &inputs, join, output: (&out).into(), counts };
            backward.record_cut(program, number, ran, &cut, &mut tape);
            did.push((step.nodes[0], counts));
            made.insert(step.output, out);
            // No longer than somebody reads it.
            let later = &self.steps[at + 1..];
            made.retain(|edge, _| later.iter().any(|&later| program.steps[later].inputs.contains(edge)));
        }
        Ok((tape, did))
    }
}
