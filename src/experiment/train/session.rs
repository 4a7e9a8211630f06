//! The loop over epochs and batches: steps, validation, metrics, checkpoints; from the start, or on
//! from the last checkpoint of the folder, to the same bytes.

use super::adapter_file::AdapterConfig;
use super::checkpoint::{self, BEST, Checkpoint, LAST};
use super::file::FileError;
use super::learner::{EpochReport, Learner, Observer, Start, StepAt, StepOutcome, StepReport, Unwatched};
use super::metrics::{Metrics, Row};
use super::run_folder::{self, RunFolder};
use super::schedule::Schedule;
use super::snapshot::{Best, EpochMetrics, Progress, Snapshot, Sums};
use crate::data::order;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How long to learn, from what in which order, how fast.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSettings {
    pub epochs: u64,
    /// Images of a step; the last of an epoch takes what is left.
    pub batch: usize,
    pub seed: u64,
    /// The learning rate that the schedule starts from.
    pub rate: f64,
    pub schedule: Schedule,
    /// Also saves after every so many steps; it saves after every epoch.
    pub save_every: Option<u64>,
}

/// Why a session ended before its time. The last checkpoint is whole.
#[derive(Debug, Error)]
pub enum SessionError<E: Error + 'static> {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Learner(E),
    #[error("nothing to learn from: the training set has no image")]
    NoImages,
    #[error("the loss of step {step} is {loss}: the training diverged; lower --lr, or --clip the gradients")]
    Diverged { step: u64, loss: f64 },
    #[error("'{}' cannot go on with this: {why}", checkpoint.display())]
    OtherTraining { checkpoint: PathBuf, why: String },
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// It was asked to stop before its last epoch.
    pub stopped: bool,
    pub progress: Progress,
}

/// A session between two of its steps.
pub struct Session<'a, L> {
    pub learner: &'a mut L,
    settings: &'a SessionSettings,
    /// What the checkpoints' adapters are.
    adapter: &'a AdapterConfig,
    folder: &'a Path,
    metrics: Metrics,
    progress: Progress,
    /// The images of the epoch that is under way.
    order: Option<(u64, Vec<usize>)>,
}

/// Runs a session in `folder`, from its last checkpoint if it has one.
pub fn run<L: Learner>(
    learner: &mut L,
    settings: &SessionSettings,
    adapter: &AdapterConfig,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Finished, SessionError<L::Error>> {
    let mut session = Session::open(learner, settings, adapter, folder.path())?;
    observer.on_start(&session.start());
    while !session.is_done() {
        if session.advance(observer)? == Advance::Step && observer.should_stop() {
            session.save(LAST, observer)?;
            return Ok(session.finished(true));
        }
    }
    Ok(session.finished(false))
}

/// What a session did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    Step,
    EndOfEpoch,
}

/// Batches of an epoch.
fn batches(settings: &SessionSettings, images: u64) -> u64 {
    images.div_ceil(settings.batch.max(1) as u64)
}

/// Whether a checkpoint is one of this training, or why not.
fn fits(
    found: &Checkpoint,
    fresh: &Progress,
    settings: &SessionSettings,
    adapter: &AdapterConfig,
) -> Result<(), String> {
    let progress = &found.snapshot.progress;
    let batches = batches(settings, fresh.images);
    let (has, wants) = (&found.config.base_model, &adapter.base_model);
    if (&has.trunk_sha256, &has.profile) != (&wants.trunk_sha256, &wants.profile) {
        return Err(format!(
            "it is of a trunk with SHA-256 {} under profile {}, this one has {} under {}",
            has.trunk_sha256, has.profile, wants.trunk_sha256, wants.profile
        ));
    }
    for (what, has, wants) in [("seed", progress.seed, fresh.seed), ("images", progress.images, fresh.images)] {
        if has != wants {
            return Err(format!("its {what}: {has}; here: {wants}"));
        }
    }
    let steps = progress.epoch.checked_mul(batches).and_then(|n| n.checked_add(progress.batches_done));
    if steps != Some(progress.step) || progress.batches_done > batches || progress.epoch > settings.epochs {
        return Err(format!(
            "it is after step {}, batch {} of epoch {}; here an epoch has {batches} batches, and there are {} epochs",
            progress.step,
            progress.batches_done,
            progress.epoch.saturating_add(1),
            settings.epochs
        ));
    }
    Ok(())
}

impl<'a, L: Learner> Session<'a, L> {
    /// Begins in `folder`, or goes on from its last checkpoint.
    pub fn open(
        learner: &'a mut L,
        settings: &'a SessionSettings,
        adapter: &'a AdapterConfig,
        folder: &'a Path,
    ) -> Result<Self, SessionError<L::Error>> {
        let images = learner.images();
        if images == 0 {
            return Err(SessionError::NoImages);
        }
        let checkpoints = run_folder::checkpoints(folder);
        for name in [LAST, BEST] {
            checkpoint::recover(&checkpoints, name)?;
        }
        let found = checkpoint::read(&checkpoints, LAST)?;
        let is_new = found.is_none();
        let fresh = Progress { seed: settings.seed, images: images as u64, ..Progress::default() };
        let progress = match found {
            None => fresh,
            Some(found) => {
                let refused = |why| SessionError::OtherTraining { checkpoint: checkpoints.join(LAST), why };
                fits(&found, &fresh, settings, adapter).map_err(refused)?;
                let Snapshot { held, progress } = found.snapshot;
                learner.restore(&held, progress.step).map_err(SessionError::Learner)?;
                progress
            }
        };
        let metrics = Metrics::open(folder, progress.rows)?;
        let mut session = Session { learner, settings, adapter, folder, metrics, progress, order: None };
        if is_new {
            // A folder that cannot be written is found out before the work.
            session.save(LAST, &mut Unwatched)?;
        }
        Ok(session)
    }

    pub fn start(&self) -> Start {
        let images = self.learner.images();
        let steps_per_epoch = batches(self.settings, images as u64);
        Start { epochs: self.settings.epochs, steps_per_epoch, images, step: self.progress.step }
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.progress.step
    }

    pub fn is_done(&self) -> bool {
        self.progress.epoch >= self.settings.epochs
    }

    /// Whether what follows the last step of an epoch is to be done.
    pub fn ends_epoch(&self) -> bool {
        self.progress.batches_done == self.start().steps_per_epoch
    }

    pub fn finished(self, stopped: bool) -> Finished {
        Finished { stopped, progress: self.progress }
    }

    /// Does a step, or what follows the last step of an epoch.
    pub fn advance(&mut self, observer: &mut dyn Observer) -> Result<Advance, SessionError<L::Error>> {
        let Start { epochs, steps_per_epoch, images, .. } = self.start();
        let Progress { epoch, batches_done, .. } = self.progress;
        if self.ends_epoch() {
            self.end_epoch(observer)?;
            return Ok(Advance::EndOfEpoch);
        }
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            self.order = Some((epoch, order::of_epoch(self.settings.seed, epoch, images)));
        }
        let (size, from) = (self.settings.batch.max(1), batches_done as usize);
        let indices = self.order.iter().flat_map(|(_, order)| order.chunks(size).nth(from)).flatten().copied();
        let indices: Vec<usize> = indices.collect();
        self.step(&indices, steps_per_epoch * epochs, observer)?;
        if self.settings.save_every.is_some_and(|n| self.progress.step.is_multiple_of(n)) {
            self.save(LAST, observer)?;
        }
        Ok(Advance::Step)
    }

    fn step(
        &mut self,
        indices: &[usize],
        total: u64,
        observer: &mut dyn Observer,
    ) -> Result<(), SessionError<L::Error>> {
        let Progress { step, epoch, .. } = self.progress;
        let rate = self.settings.schedule.rate(self.settings.rate, step, total);
        let outcome = self.learner.step(StepAt { epoch, step, rate }, indices).map_err(SessionError::Learner)?;
        let loss = outcome.loss_sum / outcome.images.max(1) as f64;
        if !loss.is_finite() {
            return Err(SessionError::Diverged { step: step + 1, loss });
        }
        self.progress.step += 1;
        self.progress.batches_done += 1;
        let sums = &mut self.progress.sums;
        sums.loss += outcome.loss_sum;
        sums.hits += outcome.hits;
        sums.images += outcome.images;
        sums.saturations += saturations(&outcome);
        self.append(&step_row(step + 1, epoch + 1, rate, loss, &outcome))?;
        let report = StepReport { step: step + 1, epoch: epoch + 1, rate, outcome: &outcome, sums: self.progress.sums };
        observer.on_step(&report);
        Ok(())
    }

    /// Validates, and saves what it came to.
    fn end_epoch(&mut self, observer: &mut dyn Observer) -> Result<(), SessionError<L::Error>> {
        let validation = self.learner.evaluate().map_err(SessionError::Learner)?;
        let Progress { step, epoch, sums, best, .. } = self.progress;
        let epoch = epoch + 1;
        let (train_loss, train_accuracy) = (sums.mean_loss(), sums.accuracy());
        let metrics = EpochMetrics { epoch, train_loss, train_accuracy, validation };
        self.append(&epoch_row(step, &metrics))?;
        let metric = validation.map_or(train_accuracy, |v| v.accuracy);
        // Of equal epochs the first.
        let better = best.is_none_or(|best| metric > best.metric);
        let best = best.filter(|_| !better).unwrap_or(Best { epoch, metric });
        let progress = &mut self.progress;
        (progress.epoch, progress.batches_done, progress.sums) = (epoch, 0, Sums::default());
        (progress.latest, progress.best) = (Some(metrics), Some(best));
        if better {
            self.save(BEST, observer)?;
        }
        self.save(LAST, observer)?;
        observer.on_epoch(&EpochReport { step, metrics, best });
        Ok(())
    }

    fn append(&mut self, row: &Row) -> Result<(), FileError> {
        self.metrics.append(row)?;
        self.progress.rows = self.metrics.rows();
        Ok(())
    }

    /// Replaces a checkpoint by the present state.
    pub fn save(&mut self, name: &str, observer: &mut dyn Observer) -> Result<(), SessionError<L::Error>> {
        let held = self.learner.snapshot().map_err(SessionError::Learner)?;
        let mut adapter = self.adapter.clone();
        adapter.training.metrics = metrics_of(&self.progress);
        // A checkpoint counts rows, so they go to the disk before it.
        self.metrics.sync()?;
        let folder = run_folder::checkpoints(self.folder);
        checkpoint::write(&folder, name, &Snapshot { held, progress: self.progress.clone() }, &adapter)?;
        observer.on_save(&folder.join(name), self.progress.step);
        Ok(())
    }
}

fn saturations(outcome: &StepOutcome) -> u64 {
    outcome.saturations.iter().map(|(_, n)| n).sum()
}

fn step_row(step: u64, epoch: u64, rate: f64, loss: f64, outcome: &StepOutcome) -> Row {
    let images = outcome.images.max(1) as f64;
    Row {
        step,
        epoch,
        train_loss: Some(loss),
        train_accuracy: Some(outcome.hits as f64 / images),
        lr: Some(rate),
        bytes_down: Some(outcome.bytes_down),
        bytes_up: Some(outcome.bytes_up),
        energy_pj_per_image: outcome.energy_pj.map(|energy| energy / images),
        peak_bytes: Some(outcome.peak_bytes),
        saturations: Some(saturations(outcome)),
        saturations_by_node: outcome.saturations.clone(),
        ..Row::default()
    }
}

fn epoch_row(step: u64, metrics: &EpochMetrics) -> Row {
    Row {
        step,
        epoch: metrics.epoch,
        epoch_loss: Some(metrics.train_loss),
        epoch_accuracy: Some(metrics.train_accuracy),
        validation_loss: metrics.validation.map(|v| v.loss),
        validation_accuracy: metrics.validation.map(|v| v.accuracy),
        ..Row::default()
    }
}

/// What an adapter's file says of its training.
fn metrics_of(progress: &Progress) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::from([("step".to_string(), progress.step as f64)]);
    if let Some(latest) = &progress.latest {
        let mut tell = |tag: &str, value: f64| metrics.insert(tag.into(), value);
        tell("epoch", latest.epoch as f64);
        tell("train/loss", latest.train_loss);
        tell("train/acc", latest.train_accuracy);
        if let Some(validation) = &latest.validation {
            tell("val/loss", validation.loss);
            tell("val/acc", validation.accuracy);
        }
    }
    metrics
}
