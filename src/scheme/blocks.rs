//! Blocks as sites: where gates and additive adapters sit.

use super::{Placing, SchemeError, Sites};
use crate::adapter::additive::Junction;
use crate::graph::EdgeId;
use crate::graph::structure::Block;
use crate::op::Op;

impl Placing {
    /// The map of a block that a gate multiplies and an additive adapter adds to: what its convolutions
    /// make before the addition, or of a plain block what it ends with.
    fn branch(&self, block: &Block) -> EdgeId {
        let graph = &self.graph;
        let Some(join) = block.join else { return block.exit };
        let is_shortcut = |edge: &EdgeId| {
            let producer = graph.edge(*edge).producer;
            *edge == block.entry || producer.is_some_and(|n| block.shortcut.contains(&n))
        };
        let operands = &graph.node(join).inputs;
        operands.iter().copied().find(|e| !is_shortcut(e)).unwrap_or(operands[0])
    }

    /// A block's map, with the name of its site.
    pub(super) fn block_map(&self, block: usize) -> (String, EdgeId) {
        (block_name(block), self.branch(&self.structure.blocks[block]))
    }

    /// What a block ends with, with the name of its site.
    pub(super) fn block_exit(&self, block: usize) -> (String, EdgeId) {
        (block_name(block), self.structure.blocks[block].exit)
    }

    /// The block that `block:N` names.
    pub(super) fn listed_block(&self, name: &str) -> Option<usize> {
        let number = name.strip_prefix("block:")?.parse::<usize>().ok()?;
        (1..=self.structure.blocks.len()).contains(&number).then(|| number - 1)
    }

    /// The junctions of the blocks that the placement names, along the trunk.
    pub(super) fn chosen_junctions(&self) -> Result<Vec<(String, Junction)>, SchemeError> {
        let (blocks, stages) = (&self.structure.blocks, &self.structure.stages);
        let third = |which: usize| {
            let of_stage = move |i: &usize| self.structure.stage_of(*i).is_some_and(|s| s * 3 / stages.len() == which);
            (0..blocks.len()).filter(of_stage).collect()
        };
        let chosen: Vec<usize> = match self.sites.as_ref().unwrap_or(&Sites::EachBlock) {
            Sites::All | Sites::EachBlock => (0..blocks.len()).collect(),
            Sites::Early => third(0),
            Sites::Mid => third(1),
            Sites::Late => third(2),
            Sites::Half => (0..blocks.len()).skip(1).step_by(2).collect(),
            Sites::BeforeEachStage => stages.iter().map(|s| s.blocks.start).collect(),
            Sites::AfterEachStage => stages.iter().map(|s| s.blocks.end - 1).collect(),
            Sites::AfterEachKernelSize => self.kernel_runs()?,
            Sites::AllButStem => {
                return Err(self.sites_error("the scheme sits across blocks, of which the stem is none".into()));
            }
            Sites::List(names) => self.listed_blocks(names)?,
        };
        if chosen.is_empty() {
            return Err(self.sites_error("no block of the trunk is there".into()));
        }
        let junction = |i: usize| Junction { entry: blocks[i].entry, branch: self.branch(&blocks[i]) };
        Ok(chosen.into_iter().map(|i| (block_name(i), junction(i))).collect())
    }

    fn listed_blocks(&self, names: &[String]) -> Result<Vec<usize>, SchemeError> {
        let mut found = Vec::new();
        for name in names {
            let Some(block) = self.listed_block(name) else {
                let count = self.structure.blocks.len();
                return Err(self.sites_error(format!("no site '{name}'; there are block:1..{count}")));
            };
            if found.contains(&block) {
                return Err(self.sites_error(format!("'{name}' is listed twice")));
            }
            found.push(block);
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The last block of every run of depthwise convolutions of one size.
    pub(super) fn kernel_runs(&self) -> Result<Vec<usize>, SchemeError> {
        let size = |block: &Block| {
            block.convs.iter().find_map(|&n| match &self.graph.node(n).op {
                Op::Conv2d(c) if c.is_depthwise() => Some(c.kernel),
                _ => None,
            })
        };
        let sizes: Vec<_> = self.structure.blocks.iter().map(size).collect();
        let ends = |i: &usize| sizes[*i].is_some() && sizes.get(i + 1) != Some(&sizes[*i]);
        let runs: Vec<usize> = (0..sizes.len()).filter(ends).collect();
        if runs.is_empty() {
            return Err(self.sites_error("the trunk has no depthwise convolutions".into()));
        }
        Ok(runs)
    }
}

fn block_name(block: usize) -> String {
    format!("block{}", block + 1)
}
