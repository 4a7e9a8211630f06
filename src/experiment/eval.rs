//! How an adapter does on data: the trunk that it belongs to, its values put back, every image once.

use super::adapters::{Adapters, Speed};
use super::run::ExperimentError;
use super::train::adapter_file::{Adapter, AdapterConfig, AdapterError};
use super::train::chip::Measured;
use super::train::snapshot::Evaluation;
use super::trunk::{Trunk, Wanted};
use super::trunk_file::CalibrateError;
use crate::data::{Broken, Subset};
use crate::device;
use crate::hw::System;
use crate::model::zoo;
use crate::quant::Profile;
use serde::Serialize;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum EvalError {
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    #[error("adapter_config.json: {why}")]
    Config { why: String },
    #[error("adapter '{name}' is {has}; those beside it are {wants}: they cannot share a prepared trunk")]
    OtherKind { name: String, has: String, wants: String },
    #[error("no adapter '{name}' is loaded; there are: {known}")]
    NoAdapter { name: String, known: String },
    #[error("no adapter is set")]
    NoneSet,
}

/// The trunk as it was when an adapter was trained, with a head for its classes: a float one gets the
/// scales that it had.
pub fn trunk_of(spec: &str, profile: Option<Profile>, config: &AdapterConfig) -> Result<Trunk, EvalError> {
    let is_zoo = zoo::find(spec.split(':').next().unwrap_or_default()).is_some();
    let seed = config.training.seed;
    let wanted = Wanted { input: is_zoo.then_some(config.input.size[0]), classes: None, seed };
    let fresh = Trunk::open(spec, wanted).and_then(|bare| bare.with_fresh_head(config.classes.len(), seed));
    let mut trunk = fresh.and_then(|trunk| trunk.with_profile(profile)).map_err(ExperimentError::from)?;
    if let (Some(how), false) = (&config.base_model.calibration, trunk.is_calibrated()) {
        let refused = |why| EvalError::Config { why: format!("base_model.calibration.method: {why}") };
        trunk.calibration = how.method.parse().map_err(refused)?;
        trunk.calibrate_over(&how.data, how.images, how.seed)?;
    }
    Ok(trunk)
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
    /// Those that have a label.
    pub images: u64,
    /// Mean cross-entropy; nothing where no image has a label.
    pub loss: Option<f64>,
    pub accuracy: Option<f64>,
    /// Images that do not decode, where these are passed over.
    pub broken: Broken,
    /// What the images are taken for.
    #[serde(skip)]
    pub submission: Vec<Prediction>,
}

/// What an image is taken for, in the numbers of the data set's own files: a line of a submission to the
/// Visual Decathlon. Where the set has no such numbers, they are the image's place and its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Prediction {
    pub image_id: u64,
    pub category_id: u64,
}

/// The predictions of those images that decode.
fn submission(data: &Subset, predictions: &[Option<usize>]) -> Vec<Prediction> {
    let category = |class: usize| match &data.category_ids {
        Some(ids) => ids.get(class).copied(),
        None => Some(class as u64),
    };
    let of = |(index, class): (usize, &Option<usize>)| {
        Some(Prediction { image_id: data.samples.id(index), category_id: category((*class)?)? })
    };
    predictions.iter().enumerate().filter_map(of).collect()
}

/// Evaluates an adapter.
pub fn eval(job: EvalJob, settings: &EvalSettings) -> Result<EvalReport, EvalError> {
    let mut adapters = Adapters::new(job.trunk, job.system);
    adapters.load("eval", &job.adapter, settings.force)?;
    adapters.set("eval")?;
    let mut device = device::open(&settings.device).map_err(ExperimentError::from)?;
    let how = Speed { micro_batch: settings.micro_batch, threads: settings.threads };
    let Measured { evaluation, predictions, broken } = adapters.evaluate(&job.data, device.as_mut(), how)?;
    let adapter = job.adapter.folder.display().to_string();
    let Evaluation { loss, accuracy, images } = evaluation;
    let known = |value: f64| Some(value).filter(|_| images > 0);
    let trunk_sha256 = adapters.trunk_sha256().to_string();
    Ok(EvalReport {
        data: job.data.name.clone(),
        adapter,
        trunk_sha256,
        images,
        loss: known(loss),
        accuracy: known(accuracy),
        broken,
        submission: submission(&job.data, &predictions),
    })
}
