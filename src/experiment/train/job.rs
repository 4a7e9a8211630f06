//! What to train on what, and how.

use super::account::StepAccount;
use super::adapter_file::{Adapter, AdapterConfig, AdapterError, BaseModel, Input, Training};
use super::chip::{ChipLearner, states_of};
use super::learner::Observer;
use super::run_folder::{RunFolder, RunFolderError};
use super::session::{self, Finished, SessionError, SessionSettings};
use crate::data::augment::Augmentation;
use crate::data::loader::{Loader, LoaderSettings};
use crate::data::{Broken, Subset};
use crate::device::{self, Device, DeviceKind};
use crate::experiment::loading::{Feed, Loading, in_order, workers};
use crate::experiment::run::{ExperimentError, SLOTS};
use crate::experiment::trunk::Trunk;
use crate::graph::{Node, ParamValue};
use crate::hw::System;
use crate::model::{hex, sha256_hex};
use crate::op::Op;
use crate::plan::program::{Optimiser, WeightDecay};
use crate::plan::tap::{Tap, TapPrecision, taps};
use crate::plan::tap_format::TapFormat;
use crate::run::{self, Prepared, Recompute, State, Trainer};
use crate::scheme::{self, BatchNormMode, Placed, Request};
use crate::tensor::Shape;
use crate::trunk::backward::ErrorFormat;
use crate::trunk::{TrunkProgram, prepare};
use crate::units::HardwareDomain;
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum TrainError {
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    #[error(transparent)]
    Session(#[from] SessionError<ExperimentError>),
    #[error(transparent)]
    Start(#[from] AdapterError),
    #[error("{flag}: {why}")]
    Flag { flag: &'static str, why: String },
}

/// A trunk, how to adapt it, and the data to adapt it to.
pub struct TrainJob<'a> {
    /// Calibrated, if it is a float one, by what fixes its scales for good.
    pub trunk: Trunk,
    pub request: Request,
    /// An adapter of the same trunk and scheme whose values the training starts from.
    pub start: Option<Adapter>,
    pub data: Subset,
    pub validation: Option<Subset>,
    pub system: &'a System,
    /// For the adapter's file: what trained it, without what only changes speed or place.
    pub command: String,
}

/// How to train it.
#[derive(Clone, Debug)]
pub struct TrainSettings {
    pub session: SessionSettings,
    pub optimiser: Optimiser,
    pub weight_decay: WeightDecay,
    pub label_smoothing: f32,
    /// The largest norm of all gradients together.
    pub clip: Option<f32>,
    pub errors: ErrorFormat,
    pub tap_in_bits: TapFormat,
    /// Changes speed and memory, never a result.
    pub micro_batch: usize,
    /// Changes memory and time, never a result.
    pub recompute: Recompute,
    /// 0 for one per core; changes speed, never a result.
    pub threads: usize,
    pub device: String,
}

/// The report of a training.
pub struct TrainReport {
    pub finished: Finished,
    pub loading: Loading,
    pub step: StepAccount,
}

/// Trains in `folder`, or goes on there.
pub fn train(
    job: TrainJob,
    settings: &TrainSettings,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<TrainReport, TrainError> {
    let device = learning_device(&settings.device)?;
    let evaluator = device::open(&settings.device).map_err(ExperimentError::from)?;
    let opened = Opened::new(&job, settings)?;
    let (mut learner, step) = opened.learner(settings, device, evaluator)?;
    observer.on_memory(&step.memory);
    let finished = session::run(&mut learner, &settings.session, &opened.config, folder, observer)?;
    Ok(TrainReport { finished, loading: learner.loading(), step })
}

/// The training images in the session's order.
fn feed(data: &Subset, shape: Shape, settings: &TrainSettings) -> Result<Feed, ExperimentError> {
    let session = &settings.session;
    let loader = LoaderSettings {
        batch: session.batch,
        augmentation: data.augmentation,
        seed: session.seed,
        workers: workers(settings.threads),
        ..LoaderSettings::default()
    };
    Ok(Feed::new(Loader::new(data.samples.clone(), shape, loader)?, session.epochs))
}

/// A job whose trunk is placed and prepared.
pub(super) struct Opened<'a> {
    job: &'a TrainJob<'a>,
    placed: Placed,
    trunk: TrunkProgram,
    taps: Vec<Tap>,
    pub config: AdapterConfig,
    /// What it starts from, where that is not what the scheme gives.
    start: Vec<State>,
}

impl<'a> Opened<'a> {
    pub fn new(job: &'a TrainJob<'a>, settings: &TrainSettings) -> Result<Self, TrainError> {
        let (mut placed, trunk, taps) = prepared(&job.trunk, &job.request, job.system, settings.tap_in_bits)?;
        let config = adapter_config(job, settings, &placed, &trunk);
        let mut start = vec![];
        if let Some(adapter) = &job.start {
            adapter.check_trunk(&config.base_model.trunk_sha256, &config.base_model.profile, false)?;
            start = states_of(&placed.graph, &adapter.values.values().cloned().collect::<Vec<_>>(), &[])?;
            for State { param, value, .. } in &start {
                placed.graph.params[param.index()].value = ParamValue::F32(value.clone());
            }
        }
        Ok(Self { job, placed, trunk, taps, config, start })
    }

    /// What learns it, on `device`, measured on `evaluator`; and the step that it does.
    pub fn learner(
        &self,
        settings: &TrainSettings,
        device: Box<dyn Device>,
        evaluator: Box<dyn Device>,
    ) -> Result<(ChipLearner<'_>, StepAccount), TrainError> {
        let Self { job, placed, trunk, taps, .. } = self;
        let prepared = Prepared { placed, trunk, taps };
        let whole = goes_by_batches(placed);
        let train_settings = run::TrainSettings {
            micro_batch: if whole { settings.session.batch } else { settings.micro_batch },
            slots: SLOTS,
            threads: settings.threads,
            errors: settings.errors,
            optimiser: settings.optimiser,
            decay: settings.weight_decay,
            clip: settings.clip,
            smoothing: settings.label_smoothing,
            recompute: settings.recompute,
        };
        let mut trainer = Trainer::new(prepared, device, train_settings).map_err(ExperimentError::from)?;
        if !self.start.is_empty() {
            // Registers that the adapter brings are loaded, as when a training goes on.
            trainer.set_state(&self.start).map_err(ExperimentError::from)?;
        }
        if whole && trainer.micro_batch() < settings.session.batch.min(job.data.len()) {
            let most = trainer.micro_batch();
            let why = format!("batch norms go by the batch's statistics, and only {most} images fit at once");
            return Err(TrainError::Flag { flag: "--batch", why });
        }
        let step = StepAccount::new(&trainer, placed, job.system, settings.session.batch, job.data.len())
            .map_err(ExperimentError::from)?;
        let shape = placed.graph.shape(placed.graph.input);
        let in_order = |set| in_order(set, shape, trainer.micro_batch(), settings.threads);
        let validation = job.validation.as_ref().map(in_order).transpose().map_err(ExperimentError::from)?;
        let learner = ChipLearner {
            trainer,
            placed,
            taps,
            data: feed(&job.data, shape, settings)?,
            validation,
            broken_validation: Broken::default(),
            stepping: Duration::ZERO,
            preprocess: job.trunk.preprocess,
            evaluator,
            threads: settings.threads,
            energy_pj: Some(step.energy_pj_per_image),
        };
        Ok((learner, step))
    }
}

/// Whether batch norms on the adapter device are normalised by the images that are there together.
fn goes_by_batches(placed: &Placed) -> bool {
    let trains = |n: &Node| n.params.iter().any(|&p| placed.graph.param(p).trainable);
    let is_norm = |n: &&Node| matches!(n.op, Op::BatchNorm(_)) && n.domain == HardwareDomain::Adapter;
    placed.batch_norm != BatchNormMode::Frozen && placed.graph.nodes.iter().filter(is_norm).any(trains)
}

/// The device of that name, if things can learn there; to be asked before there is a folder.
pub fn learning_device(name: &str) -> Result<Box<dyn Device>, TrainError> {
    let device = device::open(name).map_err(ExperimentError::from)?;
    if device.info().kind == DeviceKind::Null {
        return Err(TrainError::Flag { flag: "--device", why: "null computes nothing, so nothing learns".into() });
    }
    Ok(device)
}

/// A trunk with its adapters, ready to run, with its taps.
pub fn prepared(
    trunk: &Trunk,
    request: &Request,
    system: &System,
    tap_in_bits: TapFormat,
) -> Result<(Placed, TrunkProgram, Vec<Tap>), ExperimentError> {
    let placed = scheme::place(&trunk.graph, request)?;
    placed.check_runs()?;
    if placed.batch_norm.loads_registers() && trunk.profile.folds_norms() {
        return Err(ExperimentError::NoRegisters { profile: trunk.profile.to_string() });
    }
    let bits = tap_in_bits.code_bits();
    let program = prepare(&placed.graph, &trunk.profile, bits)?;
    let taps = taps(&placed, TapPrecision::on(system, tap_in_bits))?;
    Ok((placed, program, taps))
}

/// The hash of what a data set says of itself: its name, its classes and the label of every image, in order.
fn data_sha256(data: &Subset) -> String {
    let labels: Vec<Option<u32>> = data.samples.items().iter().map(|item| item.label).collect();
    let said = serde_json::json!([data.name, data.classes, labels]);
    sha256_hex(said.to_string().as_bytes())
}

/// What the checkpoints' adapters are.
fn adapter_config(job: &TrainJob, settings: &TrainSettings, placed: &Placed, trunk: &TrunkProgram) -> AdapterConfig {
    let graph = &placed.graph;
    let shape = graph.shape(graph.input);
    let quant = graph.edge(graph.input).quant;
    let moved = |n: &&Node| n.domain == HardwareDomain::Adapter;
    let trains = |is: &dyn Fn(&Node) -> bool| {
        let nodes = graph.nodes.iter().filter(|n| is(n));
        nodes.flat_map(|n| &n.params).any(|&p| graph.param(p).trainable)
    };
    let is_norm = |n: &Node| matches!(n.op, Op::BatchNorm(_));
    let parts: [(&str, bool); 3] = [
        ("adapters", trains(&|n| n.site.is_some())),
        ("bn", trains(&is_norm)),
        ("head", placed.structure.head.iter().any(|&h| !graph.node(h).params.is_empty())),
    ];
    AdapterConfig {
        format_version: AdapterConfig::VERSION,
        adapter_type: AdapterConfig::adapter_type(&placed.scheme.0),
        base_model: BaseModel {
            name: job.trunk.name.clone(),
            trunk_sha256: hex(&trunk.checksum()),
            profile: job.trunk.profile.to_string(),
            calibration: job.trunk.provenance.calibration.clone(),
        },
        scheme: placed.scheme.to_string(),
        sites: job.request.sites.as_ref().map(ToString::to_string),
        batch_norm: placed.batch_norm.name().into(),
        tap_in_bits: settings.tap_in_bits,
        modules: graph.nodes.iter().filter(moved).map(|n| n.name.clone()).collect(),
        trained: parts.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.into()).collect(),
        classes: job.data.classes.clone(),
        input: Input {
            size: [shape.h, shape.w, shape.c],
            normalisation: serde_json::to_value(job.trunk.preprocess).unwrap_or_default(),
            scale: quant.map_or(1.0, |q| q.scale),
            zero_point: quant.map_or(0, |q| q.zero_point),
        },
        training: Training {
            command: job.command.clone(),
            seed: settings.session.seed,
            data: job.data.name.clone(),
            augmentation: Some(job.data.augmentation).filter(|&done| done != Augmentation::PLAIN),
            data_sha256: data_sha256(&job.data),
            metrics: BTreeMap::new(),
        },
        model_sha256: String::new(),
    }
}
