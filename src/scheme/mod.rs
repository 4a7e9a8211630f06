//! Schemes and sites: a frozen graph in, a placed graph out.
//!
//! A scheme does two things only: it moves existing nodes to the adapter device, and it inserts
//! adapter subgraphs. It also says what trains. One file per scheme and one line in [`SCHEMES`];
//! a scheme never counts, times or declares a tap.

use crate::graph::structure::Structure;
use crate::graph::{Graph, GraphError, NodeId, ParamKind};
use crate::op::{BatchNorm, Op};
use crate::units::HardwareDomain;
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

mod adaptive_attention;
mod additive_attention;
mod batch_norm;
mod bias_only;
mod blocks;
mod cbam;
mod final_conv;
mod fine_tune;
pub mod fuse;
mod head;
mod head_only;
mod lite_residual;
mod low_rank;
pub mod options;
mod parallel;
mod piggyback;
mod series;
mod side_path;
pub mod sites;
mod spatial_attention;
mod squeeze_excite;

pub use head::{with_classes, with_fresh_head};
use options::Options;
pub use sites::Sites;

/// A named way of adapting.
pub struct Scheme {
    pub name: &'static str,
    pub about: &'static str,
    /// Where it was published, and whether it is our reconstruction.
    pub paper: &'static str,
    /// What crosses between trunk and adapter device, in words.
    pub crosses: &'static str,
    /// The option keys it understands, each with what it may be.
    pub options: &'static [(&'static str, &'static str)],
    /// Where it sits unless told otherwise; `None` for schemes that have no sites.
    pub default_sites: Option<Sites>,
    /// Whether per-task batch norm is part of it, as in the papers.
    pub trains_norm: bool,
    /// Why it can be counted and not run, if so.
    pub counted_only: Option<&'static str>,
    apply: fn(&mut Placing, &mut Options) -> Result<(), SchemeError>,
}

/// Every scheme.
pub const SCHEMES: &[Scheme] = &[
    head_only::SCHEME,
    fine_tune::SCHEME,
    final_conv::SCHEME,
    bias_only::SCHEME,
    batch_norm::SCHEME,
    parallel::SCHEME,
    low_rank::SCHEME,
    series::SCHEME,
    spatial_attention::SCHEME,
    adaptive_attention::SCHEME,
    squeeze_excite::SCHEME,
    cbam::SCHEME,
    additive_attention::SCHEME,
    lite_residual::SCHEME,
    side_path::SCHEME,
    piggyback::SCHEME,
];

#[derive(Debug, Error)]
pub enum SchemeError {
    #[error("no scheme '{name}'; there are {known}")]
    Unknown { name: String, known: String },
    #[error("scheme '{scheme}': {why}")]
    Option { scheme: String, why: String },
    #[error("sites '{sites}' for scheme '{scheme}' on '{trunk}': {why}")]
    Sites { sites: String, scheme: String, trunk: String, why: String },
    #[error("scheme '{scheme}' cannot run: it {why}")]
    CountedOnly { scheme: String, why: &'static str },
    #[error("cannot place scheme '{scheme}' on '{trunk}': {source}")]
    Graph { scheme: String, trunk: String, source: Box<GraphError> },
}

/// A scheme with its options, as written: `NAME[:key=value,…]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemeSpec(pub String);

impl fmt::Display for SchemeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What happens to the trunk's batch norms when the task changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNormMode {
    /// Built into the silicon.
    Frozen,
    /// A multiplier and a bias per channel are loadable registers of the trunk.
    Registers,
    /// The same, and the trunk returns the sums from which the task's own running statistics follow.
    #[serde(rename = "registers+stats")]
    RegistersStats,
    /// Computed on the adapter device, by the statistics of the batch: what the papers do in
    /// software. Every map before a batch norm crosses, and comes back.
    AdapterDevice,
}

impl BatchNormMode {
    /// Every mode, as it is written.
    pub const ALL: [(&'static str, Self); 4] = [
        ("frozen", Self::Frozen),
        ("registers", Self::Registers),
        ("registers+stats", Self::RegistersStats),
        ("adapter-device", Self::AdapterDevice),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }

    /// Whether the trunk has registers that a task loads.
    pub fn loads_registers(self) -> bool {
        matches!(self, Self::Registers | Self::RegistersStats)
    }

    /// Whether a training measures the statistics of the trunk's maps on its own data.
    pub fn measures_statistics(self) -> bool {
        self == Self::RegistersStats
    }
}

impl std::str::FromStr for BatchNormMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, mode)| *mode);
        let known = || Self::ALL.map(|(name, _)| name).join(", ");
        found.ok_or_else(|| format!("'{text}' is no batch norm mode; there are {}", known()))
    }
}

/// What to do to a trunk.
#[derive(Clone, Debug)]
pub struct Request {
    pub scheme: SchemeSpec,
    /// `None`: the scheme's default.
    pub sites: Option<Sites>,
    pub batch_norm: Option<BatchNormMode>,
    pub seed: u64,
}

/// A graph with its adapters in place.
#[derive(Clone, Debug)]
pub struct Placed {
    pub graph: Graph,
    /// Of the trunk before the scheme touched it; node ids stay valid, since placing only appends.
    pub structure: Structure,
    pub scheme: SchemeSpec,
    pub sites: Option<Sites>,
    pub batch_norm: BatchNormMode,
}

impl Placed {
    /// Whether the registers that a task brings are biases alone: measured statistics change multipliers
    /// too.
    pub fn loads_shifts_only(&self) -> bool {
        self.trains_shifts_only() && !self.batch_norm.measures_statistics()
    }

    /// Whether the shifts of the trunk's batch norms train and their gains do not.
    pub fn trains_shifts_only(&self) -> bool {
        let in_trunk = self.graph.nodes.iter().filter(|n| n.domain == HardwareDomain::Trunk);
        let mut norms = in_trunk.filter(|n| matches!(n.op, Op::BatchNorm(_)));
        let trains = |i: usize| move |n: &crate::graph::Node| self.graph.param(n.params[i]).trainable;
        self.batch_norm.loads_registers() && norms.clone().any(trains(1)) && !norms.any(trains(0))
    }

    /// Refuses a scheme that can only be counted.
    pub fn check_runs(&self) -> Result<(), SchemeError> {
        let name = self.scheme.0.split(':').next().unwrap_or_default();
        match find(name)?.counted_only {
            Some(why) => Err(SchemeError::CountedOnly { scheme: name.into(), why }),
            None => Ok(()),
        }
    }
}

/// The scheme of that name.
pub fn find(name: &str) -> Result<&'static Scheme, SchemeError> {
    SCHEMES.iter().find(|s| s.name == name).ok_or_else(|| SchemeError::Unknown {
        name: name.into(),
        known: SCHEMES.iter().map(|s| s.name).collect::<Vec<_>>().join(", "),
    })
}

/// A trunk while a scheme is at work on it.
struct Placing {
    graph: Graph,
    structure: Structure,
    scheme: &'static Scheme,
    sites: Option<Sites>,
    seed: u64,
}

/// Applies a scheme to a trunk.
pub fn place(trunk: &Graph, request: &Request) -> Result<Placed, SchemeError> {
    let (name, options) = request.scheme.0.split_once(':').unwrap_or((&request.scheme.0, ""));
    let scheme = find(name)?;
    let wrap = |source| SchemeError::Graph { scheme: name.into(), trunk: trunk.name.clone(), source: Box::new(source) };
    let default_norm = if scheme.trains_norm { BatchNormMode::Registers } else { BatchNormMode::Frozen };
    let batch_norm = request.batch_norm.unwrap_or(default_norm);
    let mut graph = trunk.clone();
    let mut structure = Structure::find(&graph).map_err(wrap)?;
    if batch_norm.loads_registers() {
        make_norms_loadable(&mut graph, &structure).map_err(wrap)?;
        structure = Structure::find(&graph).map_err(wrap)?;
    }
    let sites = match (&request.sites, &scheme.default_sites) {
        (Some(s), None) => {
            return Err(SchemeError::Sites {
                sites: s.to_string(),
                scheme: name.into(),
                trunk: trunk.name.clone(),
                why: "the scheme has no sites to choose".into(),
            });
        }
        (given, default) => given.clone().or_else(|| default.clone()),
    };
    let mut placing = Placing { graph, structure, scheme, sites, seed: request.seed };
    placing.move_head();
    let mut options = Options::parse(scheme, options)?;
    (scheme.apply)(&mut placing, &mut options)?;
    if batch_norm == BatchNormMode::AdapterDevice {
        placing.move_norms()?;
    }
    let placed = Placed {
        graph: placing.graph,
        structure: placing.structure,
        scheme: request.scheme.clone(),
        sites: placing.sites,
        batch_norm,
    };
    placed.graph.check().map_err(wrap)?;
    Ok(placed)
}

/// Gives every folded weight layer of the trunk an identity batch norm, whose scale and shift are
/// its loadable registers, and lets all batch norms train.
fn make_norms_loadable(graph: &mut Graph, structure: &Structure) -> Result<(), GraphError> {
    for id in graph.node_ids() {
        let node = graph.node(id).clone();
        let channels = match &node.op {
            Op::Conv2d(c) => c.out_c,
            Op::Linear(l) => l.outputs,
            _ => continue,
        };
        let readers = graph.consumers(node.output);
        let normed = readers.iter().any(|&r| matches!(graph.node(r).op, Op::BatchNorm(_)));
        if normed || structure.head.contains(&id) {
            continue;
        }
        let end = graph.output;
        // With epsilon 0 and variance 1 the scale is exactly 1, so no code changes.
        let norm = BatchNorm { channels, epsilon: 0.0 };
        let output = graph.add_batch_norm(&format!("{}.registers", node.name), node.output, norm)?;
        graph.move_codes(node.output, output);
        graph.output = if end == node.output { output } else { end };
        for reader in readers {
            graph.rewire(reader, node.output, output);
        }
    }
    let trunk_norms: Vec<_> =
        graph.nodes.iter().filter(|n| matches!(n.op, Op::BatchNorm(_))).flat_map(|n| n.params.clone()).collect();
    for id in trunk_norms {
        let param = &mut graph.params[id.index()];
        param.trainable = param.kind == ParamKind::NormAffine;
    }
    Ok(())
}

impl Placing {
    /// The head is an adapter node under every scheme.
    fn move_head(&mut self) {
        for id in self.structure.head.clone() {
            self.move_and_train(id);
        }
    }

    /// Moves every batch norm to the adapter device, where it trains.
    fn move_norms(&mut self) -> Result<(), SchemeError> {
        let norms: Vec<_> =
            self.graph.node_ids().filter(|&id| matches!(self.graph.node(id).op, Op::BatchNorm(_))).collect();
        if norms.is_empty() {
            let why = "has no batch norms that could be moved: they are folded into its convolutions; \
                       use --batch-norm registers";
            let source = GraphError::Node { node: self.graph.name.clone(), why: why.into() };
            return Err(self.graph_error(source));
        }
        norms.into_iter().for_each(|id| self.move_and_train(id));
        Ok(())
    }

    /// Moves a node to the adapter device and lets its parameters train.
    fn move_and_train(&mut self, id: NodeId) {
        self.graph.nodes[id.index()].domain = HardwareDomain::Adapter;
        for param in self.graph.nodes[id.index()].params.clone() {
            let param = &mut self.graph.params[param.index()];
            param.trainable = param.kind != ParamKind::NormStats;
        }
    }

    /// Of the trunk's batch norms that train, lets only the shifts do so; where `shifts` is false, nothing.
    fn train_shifts_only(&mut self, shifts: bool) {
        for node in &self.graph.nodes {
            let is_norm = matches!(node.op, Op::BatchNorm(_)) && node.domain == HardwareDomain::Trunk;
            for (i, param) in node.params.iter().enumerate().filter(|_| is_norm) {
                self.graph.params[param.index()].trainable &= shifts && i == 1;
            }
        }
    }

    fn graph_error(&self, source: GraphError) -> SchemeError {
        SchemeError::Graph { scheme: self.scheme.name.into(), trunk: self.graph.name.clone(), source: Box::new(source) }
    }

    fn sites_error(&self, why: String) -> SchemeError {
        SchemeError::Sites {
            sites: self.sites.as_ref().map_or("none".into(), Sites::to_string),
            scheme: self.scheme.name.into(),
            trunk: self.graph.name.clone(),
            why,
        }
    }
}
