//! How an adapter does on data: the trunk that it belongs to, its values put back, every image once.

use super::loading::in_order;
use super::run::{ExperimentError, SLOTS};
use super::train::adapter_file::{Adapter, AdapterError};
use super::train::chip::{Measured, evaluate, states_of, with_values};
use super::train::prepared;
use super::train::snapshot::Evaluation;
use super::trunk::Trunk;
use crate::data::{Broken, Subset};
use crate::device;
use crate::hw::System;
use crate::model::hex;
use crate::run::{self, Prepared, load_registers, logits};
use crate::scheme::{Request, SchemeSpec};
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
    let config = &job.adapter.config;
    let request = Request {
        scheme: SchemeSpec(config.scheme.clone()),
        sites: config.sites.as_deref().map(str::parse).transpose().map_err(|why| EvalError::Config { why })?,
        batch_norm: Some(config.batch_norm.parse().map_err(|why| EvalError::Config { why })?),
        seed: config.training.seed,
    };
    let (placed, mut trunk, taps) = prepared(&job.trunk, &request, job.system, config.tap_in_bits)?;
    let trunk_sha256 = hex(&trunk.checksum());
    job.adapter.check_trunk(&trunk_sha256, &job.trunk.profile.to_string(), settings.force)?;
    let values: Vec<_> = job.adapter.values.values().cloned().collect();
    let states = states_of(&placed.graph, &values, &[])?;
    let placed = with_values(&placed, &logits(&placed.graph), &states);
    load_registers(&placed, &mut trunk).map_err(ExperimentError::from)?;
    let mut device = device::open(&settings.device).map_err(ExperimentError::from)?;
    let run_settings = run::Settings {
        images: job.data.len(),
        micro_batch: settings.micro_batch,
        slots: SLOTS,
        threads: settings.threads,
        record: false,
    };
    let prepared = Prepared { placed: &placed, trunk: &trunk, taps: &taps };
    let how = job.trunk.preprocess;
    let shape = placed.graph.shape(placed.graph.input);
    let loader = in_order(&job.data, shape, settings.micro_batch, settings.threads).map_err(ExperimentError::from)?;
    let found = evaluate(&prepared, &loader, how, device.as_mut(), &run_settings);
    let Measured { evaluation, predictions, broken } = found.map_err(ExperimentError::from)?;
    let adapter = job.adapter.folder.display().to_string();
    let Evaluation { loss, accuracy, images } = evaluation;
    let known = |value: f64| Some(value).filter(|_| images > 0);
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
