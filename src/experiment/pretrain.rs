//! A trunk of our own: a network of the zoo trained from random weights on the adapter device, then
//! calibrated on its training images and frozen to codes.
//!
//! The training is the scheme `fine-tune` in a session like any other, so it can be stopped and goes
//! on to the same bytes. Its batch norms use the statistics of the batch, so what is handled at a time
//! is the batch: a device that does not hold it is refused, and so are networks that are no float
//! networks with a classifier.

use super::input;
use super::loading::in_order;
use super::run::{ExperimentError, SLOTS};
use super::train::checkpoint::{self, LAST};
use super::train::chip::{evaluate, states_of};
use super::train::file::FileError;
use super::train::learner::{EpochReport, Observer, Start, StepReport};
use super::train::run_folder::RunFolder;
use super::train::session::SessionSettings;
use super::train::snapshot::{Evaluation, Progress};
use super::train::{TrainError, TrainJob, TrainSettings, prepared, train};
use super::trunk::{Trunk, TrunkError};
use crate::data::image::Image;
use crate::data::{Dataset, Subset};
use crate::device::{self, DeviceError};
use crate::graph::ParamValue;
use crate::hw::System;
use crate::plan::program::{Optimiser, WeightDecay};
use crate::plan::tap_format::TapFormat;
use crate::quant::error_code::GradFormat;
use crate::run::{self, Prepared, Recompute, RunError, TrainingMemory};
use crate::scheme::{Request, SchemeSpec};
use crate::trunk::backward::{ErrorFormat, ErrorRule, ExponentMode};
use std::path::Path;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum PretrainError {
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    #[error(transparent)]
    Trunk(#[from] TrunkError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("trunk '{trunk}' has codes already; only a float network can be trained as a whole")]
    Coded { trunk: String },
    #[error(
        "the device handles {fits} of the batch's {batch} images at a time, and batch norms need them together: \
         take a smaller --batch or another --device"
    )]
    Batch { fits: usize, batch: usize },
    #[error("'{}' holds no checkpoint of this training", folder.display())]
    NoCheckpoint { folder: std::path::PathBuf },
}

/// What to train on what.
pub struct PretrainJob<'a> {
    /// A float network, not calibrated.
    pub trunk: Trunk,
    pub data: Dataset,
    pub validation: Option<Dataset>,
    /// Prices the steps; changes no value.
    pub system: &'a System,
    /// What the trunk is called.
    pub name: String,
    /// The data as it was asked for.
    pub data_spec: String,
    /// The command that does the same again.
    pub recipe: String,
}

#[derive(Clone, Debug)]
pub struct PretrainSettings {
    pub session: SessionSettings,
    pub optimiser: Optimiser,
    pub weight_decay: WeightDecay,
    pub label_smoothing: f32,
    pub clip: Option<f32>,
    /// 0 for one per core; changes speed, never a result.
    pub threads: usize,
    pub device: String,
    /// Training images that fix the scales.
    pub calibration_images: usize,
}

/// What came of it.
pub struct Pretrained {
    /// Frozen, with its classifier. Nothing if the training was stopped before its end.
    pub trunk: Option<Trunk>,
    pub progress: Progress,
    /// The frozen trunk on the validation set, its classifier on the adapter device.
    pub frozen: Option<Evaluation>,
}

/// Trains in `folder`, or goes on there, and freezes what was learnt.
pub fn pretrain(
    job: PretrainJob,
    settings: &PretrainSettings,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Pretrained, PretrainError> {
    if job.trunk.is_calibrated() {
        return Err(PretrainError::Coded { trunk: job.trunk.name.clone() });
    }
    let seed = settings.session.seed;
    let float = job.trunk.with_fresh_head(job.data.classes.len(), seed)?;
    let images = spread(&job.data, settings.calibration_images);
    // The scale of the input codes is all that training takes from a calibration.
    let mut coded = float.clone();
    calibrate(&mut coded, &images, &job.data_spec, seed)?;
    let request = Request { scheme: SchemeSpec("fine-tune".into()), sites: None, batch_norm: None, seed };
    let (validation, system) = (job.validation.map(Subset::from), job.system);
    let training = TrainJob {
        start: None,
        trunk: coded,
        request,
        data: job.data.into(),
        validation: validation.clone(),
        system,
        command: job.recipe.clone(),
    };
    let mut whole = WholeBatches { observer, batch: settings.session.batch, fits: usize::MAX };
    let report = train(training, &train_settings(settings), folder, &mut whole)?;
    whole.check()?;
    let progress = report.finished.progress;
    if report.finished.stopped {
        return Ok(Pretrained { trunk: None, progress, frozen: None });
    }
    let mut trunk = float;
    take_values(&mut trunk, &folder.checkpoints())?;
    trunk.freeze_weights();
    calibrate(&mut trunk, &images, &job.data_spec, seed)?;
    trunk.name = job.name;
    trunk.provenance.recipe = Some(job.recipe);
    trunk.notes = vec![format!("trained from random weights on {}", job.data_spec)];
    let frozen = validation.map(|set| frozen_accuracy(&trunk, &set, system, settings)).transpose()?;
    Ok(Pretrained { trunk: Some(trunk), progress, frozen })
}

/// Images from all over a set: those of a mixture come one set after another.
fn spread(data: &Dataset, count: usize) -> Vec<Image> {
    let count = count.min(data.len());
    (0..count).map(|i| data.images[i * data.len() / count].clone()).collect()
}

fn calibrate(trunk: &mut Trunk, images: &[Image], spec: &str, seed: u64) -> Result<(), PretrainError> {
    let shape = trunk.graph.shape(trunk.graph.input);
    let reals = input::reals(images, shape, trunk.preprocess).map_err(ExperimentError::from)?;
    Ok(trunk.calibrate_from(&reals, spec, seed)?)
}

fn train_settings(settings: &PretrainSettings) -> TrainSettings {
    TrainSettings {
        session: settings.session.clone(),
        optimiser: settings.optimiser,
        weight_decay: settings.weight_decay,
        label_smoothing: settings.label_smoothing,
        clip: settings.clip,
        // No error crosses: the whole network is on one side.
        errors: ErrorFormat { format: GradFormat::F32, rule: ErrorRule::NearestEven, exponent: ExponentMode::Dynamic },
        tap_in_bits: TapFormat::Int16,
        micro_batch: settings.session.batch,
        recompute: Recompute::None,
        threads: settings.threads,
        device: settings.device.clone(),
    }
}

/// Passes everything on, and stops a training whose batches do not fit as a whole.
struct WholeBatches<'a> {
    observer: &'a mut dyn Observer,
    batch: usize,
    fits: usize,
}

impl WholeBatches<'_> {
    fn check(&self) -> Result<(), PretrainError> {
        if self.fits < self.batch {
            return Err(PretrainError::Batch { fits: self.fits, batch: self.batch });
        }
        Ok(())
    }
}

impl Observer for WholeBatches<'_> {
    fn on_memory(&mut self, memory: &TrainingMemory) {
        self.fits = memory.micro_batch;
        self.observer.on_memory(memory);
    }
    fn on_start(&mut self, start: &Start) {
        self.observer.on_start(start);
    }
    fn on_step(&mut self, report: &StepReport) {
        self.observer.on_step(report);
    }
    fn on_epoch(&mut self, report: &EpochReport) {
        self.observer.on_epoch(report);
    }
    fn on_save(&mut self, folder: &Path, step: u64) {
        self.observer.on_save(folder, step);
    }
    fn should_stop(&mut self) -> bool {
        self.fits < self.batch || self.observer.should_stop()
    }
}

/// Puts what was learnt into the float graph.
fn take_values(trunk: &mut Trunk, checkpoints: &Path) -> Result<(), PretrainError> {
    let missing = || PretrainError::NoCheckpoint { folder: checkpoints.into() };
    let last = checkpoint::read(checkpoints, LAST)?.ok_or_else(missing)?;
    for state in states_of(&trunk.graph, &last.snapshot.held.values, &[])? {
        trunk.graph.params[state.param.index()].value = ParamValue::F32(state.value);
    }
    Ok(())
}

/// How the frozen trunk does with the classifier that it was trained with.
fn frozen_accuracy(
    trunk: &Trunk,
    set: &Subset,
    system: &System,
    settings: &PretrainSettings,
) -> Result<Evaluation, ExperimentError> {
    let seed = settings.session.seed;
    let request = Request { scheme: SchemeSpec("head-only".into()), sites: None, batch_norm: None, seed };
    let (placed, program, taps) = prepared(trunk, &request, system, TapFormat::Int16)?;
    let mut device = device::open(&settings.device).map_err(|e: DeviceError| ExperimentError::from(e))?;
    let run_settings = run::Settings {
        images: set.len(),
        micro_batch: settings.session.batch,
        slots: SLOTS,
        threads: settings.threads,
        record: false,
    };
    let mut placed = placed;
    placed.graph.output = run::logits(&placed.graph).output;
    let prepared = Prepared { placed: &placed, trunk: &program, taps: &taps };
    let loader = in_order(set, placed.graph.shape(placed.graph.input), settings.session.batch, settings.threads)?;
    let found = evaluate(&prepared, &loader, trunk.preprocess, device.as_mut(), &run_settings);
    found.map(|found| found.evaluation).map_err(|e: RunError| ExperimentError::from(e))
}
