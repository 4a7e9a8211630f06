//! What sweeps and runs came to, put together: what a report is made of.
//!
//! Points that differ in their seed only are one finding with several accuracies. Refused are folders that
//! neither a sweep nor a training made, and records that were changed.

pub mod detail;
mod run;
mod sweep;

use super::sweep::SweepError;
use super::sweep::record::{Counted, Modelled};
use super::train::file::{FileError, shown};
use super::trunk::Wanted;
use crate::plan::tap_format::TapFormat;
use crate::quant::error_code::GradFormat;
use crate::scheme::BatchNormMode;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum FindingsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error(
        "'{}' is neither the folder of a sweep (it has no points.jsonl) nor of a training (it has no args.json)",
        shown(&path.display().to_string())
    )]
    Foreign { path: PathBuf },
    #[error("nothing to report: {} of no point", shown(from))]
    Nothing { from: String },
}

/// One way of adapting one trunk to one visual domain on one system.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub trunk: String,
    /// How a zoo network was asked for.
    pub trunk_input: Option<usize>,
    pub trunk_seed: u64,
    pub scheme: String,
    pub sites: Option<String>,
    /// `None` of a run that leaves it to the scheme and could not be counted.
    pub batch_norm: Option<BatchNormMode>,
    pub tap_bits: TapFormat,
    pub grad: GradFormat,
    pub data: Option<String>,
    /// How it was trained, without its seed.
    pub training: Option<String>,
    pub system: String,
    /// The system's figures, where they are known to have been these.
    pub system_sha256: Option<String>,
    pub counted: Option<Counted>,
    pub modelled: Option<Modelled>,
    /// Learned, a seed each.
    pub accuracies: Vec<f64>,
    /// Measured: wall time of trainings.
    pub train_wall_s: Vec<f64>,
    /// Of its points.
    pub failed: u64,
    /// Why it has no costs, or why a point failed.
    pub error: Option<String>,
}

impl Finding {
    /// How its trunk is opened again.
    fn wanted(&self) -> Wanted {
        Wanted { input: self.trunk_input, classes: None, seed: self.trunk_seed }
    }
}

/// Everything found in some places.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// In the order in which they were found.
    pub all: Vec<Finding>,
    /// Places, and what was found there.
    pub sources: Vec<String>,
}

/// Reads the folders of sweeps (or their `points.jsonl`) and of trainings.
pub fn read(paths: &[PathBuf]) -> Result<Findings, FindingsError> {
    let mut findings = Findings::default();
    let mut sweeps = sweep::Points::default();
    for path in paths {
        if let Some(points) = sweep::points_of(path) {
            let found = sweeps.read(&points)?;
            findings.sources.push(format!("{}: {found} points of a sweep", name(path)));
        } else if path.join(run::ARGUMENTS).is_file() {
            let (runs, said) = run::read(path)?;
            findings.sources.push(format!("{}: {said}", name(path)));
            run::add(&mut findings.all, runs);
        } else {
            return Err(FindingsError::Foreign { path: path.clone() });
        }
    }
    let runs = std::mem::take(&mut findings.all);
    findings.all = sweeps.findings()?;
    findings.all.extend(runs);
    if findings.all.is_empty() {
        return Err(FindingsError::Nothing { from: findings.sources.join("; ") });
    }
    Ok(findings)
}

fn name(path: &Path) -> String {
    shown(&path.display().to_string())
}
