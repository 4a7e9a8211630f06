//! Schemes in their places: what trunks, data, schemes, sites and batch norm modes give together.

use super::error::SweepError;
use super::file::{Axis, Entry, Grid, SchemeEntry};
use super::plan::OpenTrunk;
use super::source::Source;
use super::task::Task;
use crate::experiment::trunk::Trunk;
use crate::scheme::{self, BatchNormMode, Placed, Request, Scheme, SchemeError, SchemeSpec, Sites};
use std::collections::BTreeSet;
use toml::Spanned;

/// Trunks, tasks, schemes and sites together; an axis alone is bounded by the file's size.
const MOST_ARMS: usize = 1_000_000;

/// A scheme in its place on a trunk with the head of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    pub trunk: usize,
    pub task: Option<usize>,
    pub scheme: String,
    pub sites: Option<Sites>,
    pub batch_norm: BatchNormMode,
    pub lr: Option<f64>,
}

impl Arm {
    /// What places it; the seed is that of fresh values.
    pub fn request(&self, seed: u64) -> Request {
        Request {
            scheme: SchemeSpec(self.scheme.clone()),
            sites: self.sites.clone(),
            batch_norm: Some(self.batch_norm),
            seed,
        }
    }
}

/// Placements that have a name.
const PLACES: [Sites; 8] = [
    Sites::All,
    Sites::AllButStem,
    Sites::Early,
    Sites::Mid,
    Sites::Late,
    Sites::Half,
    Sites::BeforeEachStage,
    Sites::AfterEachStage,
];

const DEFAULT: &str = "default";
const EVERY: &str = "every";

/// A scheme of the file with what its axes say.
struct Wanted<'a> {
    scheme: &'static Scheme,
    entry: &'a SchemeEntry,
    sites: Vec<Where>,
    batch_norms: Vec<BatchNormMode>,
}

enum Where {
    Every,
    At(Option<Sites>),
}

/// All arms, each once, in the order of the file: trunks, then data, then schemes, then sites.
pub fn expand(source: &Source, grid: &Grid, trunks: &[OpenTrunk], tasks: &[Task]) -> Result<Vec<Arm>, SweepError> {
    let wanted = grid.schemes.get_ref().iter().map(|s| wanted(source, grid, s, trunks));
    let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
    let tasks: Vec<Option<usize>> = if tasks.is_empty() { vec![None] } else { (0..tasks.len()).map(Some).collect() };
    let mut arms: Vec<Arm> = Vec::new();
    for (trunk, opened) in trunks.iter().enumerate() {
        let mut seen = BTreeSet::new();
        let all = wanted.iter().flat_map(|w| w.on(trunk, &opened.trunk));
        let of_trunk: Vec<Arm> = all.filter(|arm| seen.insert(format!("{arm:?}"))).collect();
        for &task in &tasks {
            arms.extend(of_trunk.iter().map(|arm| Arm { task, ..arm.clone() }));
            if arms.len() > MOST_ARMS {
                let wrong = format!("more than {MOST_ARMS} placements");
                return Err(source.wrong(grid.schemes.span(), "grid", wrong, "take values out of the grid"));
            }
        }
    }
    Ok(arms)
}

fn wanted<'a>(
    source: &Source,
    grid: &'a Grid,
    entry: &'a Spanned<Entry<SchemeEntry>>,
    trunks: &[OpenTrunk],
) -> Result<Wanted<'a>, SweepError> {
    let scheme_entry = &entry.get_ref().0;
    let name = scheme_entry.scheme.split(':').next().unwrap_or_default();
    let wrong = |e: SchemeError| source.wrong(entry.span(), "grid.schemes", e, "see `trunkline account --help`");
    let scheme = scheme::find(name).map_err(wrong)?;
    known_options(scheme_entry, trunks).map_err(wrong)?;
    // Places that the grid has for all are not for schemes without any; a scheme's own are.
    let axis = scheme_entry.sites.as_ref().or(grid.sites.as_ref().filter(|_| scheme.default_sites.is_some()));
    let sites = words(axis, |value| match value.get_ref().as_str() {
        DEFAULT => Ok(Where::At(scheme.default_sites.clone())),
        EVERY => Ok(Where::Every),
        text => {
            let sites = text.parse().map(|sites| Where::At(Some(sites)));
            sites.map_err(|why: String| source.wrong(value.span(), "sites", why, "or `default`, or `every`"))
        }
    })?;
    let default_norm = if scheme.trains_norm { BatchNormMode::Registers } else { BatchNormMode::Frozen };
    let axis = scheme_entry.batch_norm.as_ref().or(grid.batch_norm.as_ref());
    let batch_norms = words(axis, |value| match value.get_ref().as_str() {
        DEFAULT => Ok(default_norm),
        text => text.parse().map_err(|why: String| source.wrong(value.span(), "batch-norm", why, "or `default`")),
    })?;
    Ok(Wanted {
        scheme,
        entry: scheme_entry,
        sites: sites.unwrap_or_else(|| vec![Where::At(scheme.default_sites.clone())]),
        batch_norms: batch_norms.unwrap_or_else(|| vec![default_norm]),
    })
}

/// The values of an axis of words.
fn words<T>(
    axis: Option<&Axis<String>>,
    read: impl Fn(&Spanned<String>) -> Result<T, SweepError>,
) -> Result<Option<Vec<T>>, SweepError> {
    axis.map(|axis| axis.get_ref().iter().map(read).collect()).transpose()
}

/// Whether some trunk takes the scheme's options: if none does, they are wrong.
fn known_options(entry: &SchemeEntry, trunks: &[OpenTrunk]) -> Result<(), SchemeError> {
    let mut refusal = None;
    for opened in trunks {
        let request = Request { scheme: SchemeSpec(entry.scheme.clone()), sites: None, batch_norm: None, seed: 0 };
        match scheme::place(&opened.trunk.graph, &request) {
            Err(e @ (SchemeError::Unknown { .. } | SchemeError::Option { .. })) => refusal = Some(e),
            _ => return Ok(()),
        }
    }
    refusal.map_or(Ok(()), Err)
}

impl Wanted<'_> {
    /// Its arms on a trunk.
    fn on(&self, trunk: usize, opened: &Trunk) -> Vec<Arm> {
        let arm = |sites: Option<Sites>, batch_norm: BatchNormMode| Arm {
            trunk,
            task: None,
            scheme: self.entry.scheme.clone(),
            sites,
            batch_norm,
            lr: self.entry.lr.as_ref().map(|lr| *lr.get_ref()),
        };
        let mut arms: Vec<Arm> = Vec::new();
        for place in &self.sites {
            let sites = match place {
                Where::At(sites) => vec![sites.clone()],
                Where::Every => self.every(opened),
            };
            for sites in sites {
                for &batch_norm in &self.batch_norms {
                    arms.push(arm(sites.clone(), batch_norm));
                }
            }
        }
        arms
    }

    /// The placements that the scheme supports on a trunk, its default first; two names of the same sites
    /// once. Where there is none the default stands for them, and its record will say why.
    fn every(&self, opened: &Trunk) -> Vec<Option<Sites>> {
        let Some(default) = &self.scheme.default_sites else { return vec![None] };
        let others = PLACES.iter().filter(|place| *place != default);
        let mut found: Vec<(Sites, Vec<String>)> = Vec::new();
        for sites in [default].into_iter().chain(others) {
            let request = Request {
                scheme: SchemeSpec(self.entry.scheme.clone()),
                sites: Some(sites.clone()),
                batch_norm: self.batch_norms.first().copied(),
                seed: 0,
            };
            let Ok(placed) = scheme::place(&opened.graph, &request) else { continue };
            let names = adapted(&placed);
            if found.iter().all(|(_, known)| *known != names) {
                found.push((sites.clone(), names));
            }
        }
        if found.is_empty() {
            return vec![Some(default.clone())];
        }
        found.into_iter().map(|(sites, _)| Some(sites)).collect()
    }
}

/// The sites that have an adapter, in graph order.
fn adapted(placed: &Placed) -> Vec<String> {
    let mut names: Vec<String> = placed.graph.nodes.iter().filter_map(|n| n.site.clone()).collect();
    names.dedup();
    names
}
