//! Every published number that a hardware model should meet, and what ours comes to.
//!
//! Points stand in the model files (`[[validation]]`) and in the tables of the shared material. Who
//! computes our side of a point is found by the kind of its model and its metric ([`RULES`]); a point
//! without a rule is reported as such, never dropped. What is a *fit* was used to choose a figure and
//! proves nothing; only a *test* does.

mod adapters;
mod limits;
mod links;
mod sheet;
mod tables;
mod trunks;

pub use limits::NOT_MODELLED;

use crate::hw::library::{self, Entry};
use crate::hw::{Body, HwError, Kind, PointRole, Validation};
use serde::Serialize;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How our number stands to the published one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Within,
    Beyond,
    /// Nothing here computes it.
    NoRule,
}

/// How far ours may be off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tolerance {
    /// Of the published number, up and down.
    Frac(f64),
    /// Times and divided by: for energies, of which the factor is all that is known.
    Factor(f64),
}

impl Tolerance {
    fn admits(self, published: f64, ours: f64) -> bool {
        match self {
            Tolerance::Frac(frac) => error_frac(published, ours).abs() <= frac,
            Tolerance::Factor(factor) => ours * factor >= published && ours <= published * factor,
        }
    }
}

fn error_frac(published: f64, ours: f64) -> f64 {
    if published == 0.0 { ours.abs().min(1.0) } else { ours / published - 1.0 }
}

/// A published number beside ours.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// As `link/pcie-gen3-x8`.
    pub model: String,
    pub what: String,
    pub metric: String,
    pub published: f64,
    pub ours: Option<f64>,
    /// The ends of ours where its figures have intervals.
    pub interval: Option<[f64; 2]>,
    /// `ours / published - 1`.
    pub error_frac: Option<f64>,
    pub tolerance: Tolerance,
    pub verdict: Verdict,
    pub role: PointRole,
    pub source: String,
}

impl Point {
    pub fn new(model: impl Into<String>, metric: &str, published: f64, ours: Option<f64>) -> Self {
        Self {
            model: model.into(),
            what: String::new(),
            metric: metric.into(),
            published,
            ours,
            interval: None,
            error_frac: ours.map(|ours| error_frac(published, ours)),
            tolerance: Tolerance::Frac(0.0),
            verdict: Verdict::NoRule,
            role: PointRole::Test,
            source: String::new(),
        }
        .within(0.0)
    }

    /// The same with how far ours may be off, as a share of what was published.
    pub fn within(self, frac: f64) -> Self {
        self.tolerating(Tolerance::Frac(frac))
    }

    /// The same with the factor that ours may be off by, up or down.
    pub fn within_factor(self, factor: f64) -> Self {
        self.tolerating(Tolerance::Factor(factor))
    }

    fn tolerating(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self.verdict = match self.ours {
            None => Verdict::NoRule,
            Some(ours) if tolerance.admits(self.published, ours) => Verdict::Within,
            Some(_) => Verdict::Beyond,
        };
        self
    }

    /// The same with the ends of ours.
    pub fn between(mut self, lo: f64, hi: f64) -> Self {
        self.interval = Some([lo, hi]);
        self
    }

    pub fn of(mut self, what: impl Into<String>, role: PointRole, source: impl Into<String>) -> Self {
        (self.what, self.role, self.source) = (what.into(), role, source.into());
        self
    }
}

/// Computes our side of a point of a model file; none where the model or the point lacks something.
type Ours = fn(&Body, &Validation) -> Option<f64>;

/// Who computes what, by the kind of a model and the metric of a point: one line each.
const RULES: &[(Kind, &str, Ours)] = &[
    (Kind::Link, "gb_per_s", links::gb_per_s),
    (Kind::Link, "gbit_per_s", links::gbit_per_s),
    (Kind::Trunk, "fps", trunks::fps),
    (Kind::Trunk, "latency_ms", trunks::latency_ms),
    (Kind::Trunk, "conv_processing_ms", trunks::conv_processing_ms),
    (Kind::Adapter, "gemm_fp32_tflop_per_s", adapters::gemm_fp32),
];

/// Reads the points of one published table in a folder.
type Reader = fn(&Path) -> Result<Vec<Point>, ValidateError>;

/// Tables of the shared material: one line each.
const TABLES: &[Reader] = &[
    links::pcie_bench,
    links::astra,
    links::coral,
    adapters::gemm_table,
    tables::cacti,
    trunks::nvdla_sheet,
    trunks::nvdla_primer,
    trunks::eyeriss,
    trunks::eyeriss_energy,
    trunks::tpu_v1,
];

#[derive(Debug, Error)]
pub enum ValidateError {
    #[error(transparent)]
    Hw(#[from] HwError),
    #[error("cannot read {}: {why}", file.display())]
    Read { file: PathBuf, why: String },
    #[error("{} has no column {column:?}", file.display())]
    Column { file: PathBuf, column: &'static str },
    #[error("{}, line {line}: {cell:?} is no number", file.display())]
    Number { file: PathBuf, line: usize, cell: String },
}

/// Every point of the carried hardware models, by model.
pub fn carried() -> Result<Vec<Point>, ValidateError> {
    let mut points = Vec::new();
    for entry in library::list() {
        points.extend(of_model(&entry)?);
    }
    Ok(points)
}

/// The points of the shared material's tables; `folder` holds `hardware/` and `reference/`.
pub fn shared(folder: &Path) -> Result<Vec<Point>, ValidateError> {
    let mut points = Vec::new();
    for table in TABLES {
        points.extend(table(folder)?);
    }
    Ok(points)
}

fn of_model(entry: &Entry) -> Result<Vec<Point>, ValidateError> {
    let model = library::load(entry.kind, entry.name)?;
    let of = |v: &Validation| -> Result<Point, ValidateError> {
        let rule = RULES.iter().find(|(kind, metric, _)| *kind == entry.kind && *metric == v.metric);
        let (name, ours) = match v.lanes {
            // The point is of another width than the file's.
            Some(lanes) => {
                let name = format!("{}-x{lanes}", entry.name);
                let ours = rule.and_then(|(.., ours)| ours(&library::load(entry.kind, &name).ok()?.body, v));
                (name, ours)
            }
            None => (entry.name.to_string(), rule.and_then(|(.., ours)| ours(&model.body, v))),
        };
        let network = [v.model.clone(), v.input.clone(), v.precision.clone()].into_iter().flatten();
        let network = network.collect::<Vec<_>>().join(", ");
        let what = v.what.clone().into_iter().chain(Some(network).filter(|n| !n.is_empty()));
        let source = model.sheet.sources.get(&v.src).cloned().unwrap_or_default();
        Ok(Point::new(format!("{}/{name}", entry.kind), &v.metric, v.value, ours).within(v.tolerance_frac).of(
            what.collect::<Vec<_>>().join("; "),
            v.role.unwrap_or(PointRole::Test),
            source,
        ))
    };
    model.body.validations().iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_the_error_against_the_tolerance() {
        let point = |ours, tolerance| Point::new("link/x", "gb_per_s", 2.0, ours).within(tolerance).verdict;
        assert_eq!(point(Some(2.1), 0.05 + 1e-12), Verdict::Within);
        assert_eq!(point(Some(1.8), 0.05), Verdict::Beyond);
        assert_eq!(point(None, 1.0), Verdict::NoRule);
    }

    #[test]
    fn every_carried_link_point_has_a_rule_and_is_met() {
        let points = carried().unwrap();
        let links: Vec<_> = points.iter().filter(|p| p.model.starts_with("link/")).collect();
        assert!(links.len() >= 9, "{links:?}");
        for point in links {
            assert_eq!(point.verdict, Verdict::Within, "{point:?}");
        }
    }
}
