//! Where adapters can sit: beside convolutions, or on the maps at stage boundaries.

use super::{Placing, SchemeError};
use crate::graph::{EdgeId, NodeId};
use crate::op::Op;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// A placement, as written on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum Sites {
    All,
    AllButStem,
    /// The first, middle and last third of the stages.
    Early,
    Mid,
    Late,
    /// The second convolution of each block.
    Half,
    BeforeEachStage,
    AfterEachStage,
    /// After every run of blocks whose depthwise convolutions have one size: MobileNetV3's four stages.
    AfterEachKernelSize,
    EachBlock,
    /// Names of convolutions, or of stages as `before:N` and `after:N`, or of blocks as `block:N`
    /// (counted from 1).
    List(Vec<String>),
}

const NAMED: &[(&str, Sites)] = &[
    ("all", Sites::All),
    ("all-but-stem", Sites::AllButStem),
    ("early", Sites::Early),
    ("mid", Sites::Mid),
    ("late", Sites::Late),
    ("half", Sites::Half),
    ("before-each-stage", Sites::BeforeEachStage),
    ("after-each-stage", Sites::AfterEachStage),
    ("after-each-kernel-size", Sites::AfterEachKernelSize),
    ("each-block", Sites::EachBlock),
];

impl FromStr for Sites {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, sites)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(sites.clone());
        }
        let list: Vec<String> = text.split(',').map(|s| s.trim().to_string()).collect();
        if list.iter().any(String::is_empty) {
            let names: Vec<&str> = NAMED.iter().map(|(n, _)| *n).collect();
            return Err(format!("'{text}' is no placement; there are {}, or a comma-separated list", names.join(", ")));
        }
        Ok(Sites::List(list))
    }
}

impl fmt::Display for Sites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMED.iter().find(|(_, s)| s == self) {
            Some((name, _)) => f.pad(name),
            None => match self {
                Sites::List(list) => f.pad(&list.join(",")),
                _ => unreachable!("every other placement is named"),
            },
        }
    }
}

impl From<Sites> for String {
    fn from(sites: Sites) -> String {
        sites.to_string()
    }
}

/// A trunk convolution that an adapter can sit beside.
struct ConvSite {
    node: NodeId,
    stem: bool,
    stage: Option<usize>,
    /// Position among the block's convolutions, from 0.
    position: usize,
}

impl Placing {
    /// Main-path convolutions that are not depthwise, in order.
    fn conv_sites(&self) -> Vec<ConvSite> {
        let mut sites = Vec::new();
        let stem = self.structure.stem.iter().map(|b| (b, true, None));
        let body = self.structure.blocks.iter().enumerate().map(|(i, b)| (b, false, self.structure.stage_of(i)));
        for (block, stem, stage) in stem.chain(body) {
            let dense = |n: &NodeId| matches!(&self.graph.node(*n).op, Op::Conv2d(c) if !c.is_depthwise());
            let convs = block.convs.iter().copied().filter(dense).enumerate();
            sites.extend(convs.map(|(position, node)| ConvSite { node, stem, stage, position }));
        }
        sites
    }

    /// The convolutions that the placement names.
    pub(super) fn chosen_convs(&self) -> Result<Vec<NodeId>, SchemeError> {
        let all = self.conv_sites();
        let stages = self.structure.stages.len();
        let third = |site: &ConvSite, which: usize| site.stage.is_some_and(|s| s * 3 / stages.max(1) == which);
        let pick = |keep: &dyn Fn(&ConvSite) -> bool| -> Vec<NodeId> {
            all.iter().filter(|s| keep(s)).map(|s| s.node).collect()
        };
        let chosen = match self.sites.as_ref().unwrap_or(&Sites::All) {
            Sites::All => pick(&|_| true),
            Sites::AllButStem => pick(&|s| !s.stem),
            Sites::Early => pick(&|s| third(s, 0)),
            Sites::Mid => pick(&|s| third(s, 1)),
            Sites::Late => pick(&|s| third(s, 2)),
            Sites::Half => pick(&|s| s.position == 1),
            Sites::BeforeEachStage | Sites::AfterEachStage | Sites::AfterEachKernelSize | Sites::EachBlock => {
                return Err(self.sites_error("the scheme sits at convolutions, not at stages or blocks".into()));
            }
            Sites::List(names) => self.listed_convs(names, &all)?,
        };
        if chosen.is_empty() {
            return Err(self.sites_error("no convolution of the trunk is there".into()));
        }
        Ok(chosen)
    }

    fn listed_convs(&self, names: &[String], all: &[ConvSite]) -> Result<Vec<NodeId>, SchemeError> {
        let mut chosen = Vec::new();
        for name in names {
            let Some(site) = all.iter().find(|s| &self.graph.node(s.node).name == name) else {
                let known: Vec<&str> = all.iter().map(|s| self.graph.node(s.node).name.as_str()).collect();
                return Err(self.sites_error(format!("no convolution site '{name}'; there are {}", known.join(", "))));
            };
            if chosen.contains(&site.node) {
                return Err(self.sites_error(format!("'{name}' is listed twice")));
            }
            chosen.push(site.node);
        }
        Ok(chosen)
    }

    /// The stage-boundary maps that the placement names, each with the name of its site.
    pub(super) fn chosen_maps(&self) -> Result<Vec<(String, EdgeId)>, SchemeError> {
        let stages = &self.structure.stages;
        let before = |i: usize| (format!("before-stage{}", i + 1), stages[i].entry);
        let after = |i: usize| (format!("after-stage{}", i + 1), stages[i].exit);
        let third = |which: usize| (0..stages.len()).filter(move |i| i * 3 / stages.len() == which).map(before);
        let of_blocks = matches!(self.sites, Some(Sites::All | Sites::Early | Sites::Mid | Sites::Late | Sites::Half));
        if of_blocks && self.scheme.default_sites == Some(Sites::EachBlock) {
            return Ok(self.chosen_junctions()?.into_iter().map(|(name, at)| (name, at.branch)).collect());
        }
        let chosen: Vec<_> = match self.sites.as_ref().unwrap_or(&Sites::BeforeEachStage) {
            Sites::BeforeEachStage | Sites::All => (0..stages.len()).map(before).collect(),
            Sites::AfterEachStage => (0..stages.len()).map(after).collect(),
            Sites::AfterEachKernelSize => self.kernel_runs()?.into_iter().map(|i| self.block_exit(i)).collect(),
            Sites::EachBlock => (0..self.structure.blocks.len()).map(|i| self.block_map(i)).collect(),
            Sites::Early => third(0).collect(),
            Sites::Mid => third(1).collect(),
            Sites::Late => third(2).collect(),
            Sites::AllButStem | Sites::Half => {
                return Err(self.sites_error("the scheme sits at stage boundaries, not beside convolutions".into()));
            }
            Sites::List(names) => names.iter().map(|n| self.listed_map(n, before, after)).collect::<Result<_, _>>()?,
        };
        if chosen.is_empty() {
            return Err(self.sites_error("the trunk has no such stage".into()));
        }
        for (i, (name, edge)) in chosen.iter().enumerate() {
            if let Some((other, _)) = chosen[..i].iter().find(|(_, e)| e == edge) {
                return Err(self.sites_error(format!("'{name}' and '{other}' are the same map")));
            }
        }
        Ok(chosen)
    }

    fn listed_map(
        &self,
        name: &str,
        before: impl Fn(usize) -> (String, EdgeId),
        after: impl Fn(usize) -> (String, EdgeId),
    ) -> Result<(String, EdgeId), SchemeError> {
        let count = self.structure.stages.len();
        let number = |text: &str| text.parse::<usize>().ok().filter(|n| (1..=count).contains(n)).map(|n| n - 1);
        match name.split_once(':').map(|(side, n)| (side, number(n))) {
            Some(("before", Some(i))) => Ok(before(i)),
            Some(("after", Some(i))) => Ok(after(i)),
            _ => match self.listed_block(name) {
                Some(i) => Ok(self.block_map(i)),
                None => {
                    let blocks = self.structure.blocks.len();
                    let known = format!("before:1..{count}, after:1..{count} and block:1..{blocks}");
                    Err(self.sites_error(format!("no site '{name}'; there are {known}")))
                }
            },
        }
    }
}
