//! What to train on what, and how.

use super::learner::Observer;
use super::run_folder::{RunFolder, RunFolderError};
use super::session::{Finished, SessionError, SessionSettings};
use crate::data::Dataset;
use crate::experiment::run::ExperimentError;
use crate::experiment::trunk::Trunk;
use crate::hw::System;
use crate::scheme::Request;
use crate::trunk::backward::ErrorFormat;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum TrainError {
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    #[error(transparent)]
    Session(#[from] SessionError<ExperimentError>),
    #[error("this program has no training step yet")]
    NoStep,
}

/// A trunk, how to adapt it, and the data to adapt it to.
pub struct TrainJob<'a> {
    /// Calibrated, if it is a float one, by what fixes its scales for good.
    pub trunk: Trunk,
    pub request: Request,
    pub data: Dataset,
    pub validation: Option<Dataset>,
    pub system: &'a System,
    /// For the adapter's file: what trained it, without what only changes speed or place.
    pub command: String,
}

/// How to train it.
#[derive(Clone, Debug)]
pub struct TrainSettings {
    pub session: SessionSettings,
    /// As `plan::program` reads them.
    pub optimiser: String,
    pub weight_decay: String,
    pub label_smoothing: f32,
    /// The largest norm of all gradients together.
    pub clip: Option<f32>,
    pub errors: ErrorFormat,
    pub tap_in_bits: u32,
    /// Changes speed and memory, never a result.
    pub micro_batch: usize,
    /// 0 for one per core; changes speed, never a result.
    pub threads: usize,
    pub device: String,
    pub measured: bool,
}

/// The report of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainReport {
    pub finished: Finished,
}

/// Trains in `folder`, or goes on there.
pub fn train(
    _job: TrainJob,
    _settings: &TrainSettings,
    _folder: &RunFolder,
    _observer: &mut dyn Observer,
) -> Result<TrainReport, TrainError> {
    Err(TrainError::NoStep)
}
