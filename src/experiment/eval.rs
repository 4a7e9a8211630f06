//! How an adapter does on data: the trunk that it belongs to, its values put back, every image once.

use super::run::ExperimentError;
use super::train::adapter_file::{Adapter, AdapterError};
use super::train::snapshot::Evaluation;
use super::trunk::Trunk;
use crate::data::Dataset;
use crate::hw::System;
use serde::Serialize;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum EvalError {
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error("this program cannot put an adapter's values back yet")]
    NoValues,
}

/// An adapter, the trunk and the images.
pub struct EvalJob<'a> {
    pub trunk: Trunk,
    pub adapter: Adapter,
    pub data: Dataset,
    pub system: &'a System,
}

#[derive(Clone, Debug)]
pub struct EvalSettings {
    pub tap_in_bits: u32,
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
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

/// Evaluates an adapter.
pub fn eval(_job: EvalJob, _settings: &EvalSettings) -> Result<EvalReport, EvalError> {
    Err(EvalError::NoValues)
}
