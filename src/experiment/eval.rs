//! How an adapter does on data: the trunk that it belongs to, its values put back, every image once.

use super::adapters::{Adapters, Speed};
use super::run::ExperimentError;
use super::train::adapter_file::{Adapter, AdapterError};
use super::train::snapshot::Evaluation;
use super::trunk::Trunk;
use crate::data::{Broken, Subset};
use crate::device;
use crate::hw::System;
use serde::Serialize;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum EvalError {
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error("adapter_config.json: {why}")]
    Config { why: String },
    #[error("adapter '{name}' is {has}; those beside it are {wants}: they cannot share a prepared trunk")]
    OtherKind { name: String, has: String, wants: String },
    #[error("no adapter '{name}' is loaded; there are: {known}")]
    NoAdapter { name: String, known: String },
    #[error("no adapter is set")]
    NoneSet,
}

/// An adapter, the trunk and the images.
pub struct EvalJob<'a> {
    pub trunk: Trunk,
    pub adapter: Adapter,
    pub data: Subset,
    pub system: &'a System,
}

#[derive(Clone, Debug)]
pub struct EvalSettings {
    pub micro_batch: usize,
    /// 0 for one per core.
    pub threads: usize,
    pub device: String,
    /// Takes an adapter of another trunk or profile.
    pub force: bool,
}

/// The report of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvalReport {
    pub data: String,
    pub adapter: String,
    pub trunk_sha256: String,
    pub images: u64,
    /// Mean cross-entropy.
    pub loss: f64,
    pub accuracy: f64,
    /// Images that do not decode, where these are passed over.
    pub broken: Broken,
}

/// Evaluates an adapter.
pub fn eval(job: EvalJob, settings: &EvalSettings) -> Result<EvalReport, EvalError> {
    let mut adapters = Adapters::new(job.trunk, job.system);
    adapters.load("eval", &job.adapter, settings.force)?;
    adapters.set("eval")?;
    let mut device = device::open(&settings.device).map_err(ExperimentError::from)?;
    let how = Speed { micro_batch: settings.micro_batch, threads: settings.threads };
    let (evaluation, broken) = adapters.evaluate(&job.data, device.as_mut(), how)?;
    let adapter = job.adapter.folder.display().to_string();
    let Evaluation { loss, accuracy, images } = evaluation;
    let trunk_sha256 = adapters.trunk_sha256().to_string();
    Ok(EvalReport { data: job.data.name.clone(), adapter, trunk_sha256, images, loss, accuracy, broken })
}
