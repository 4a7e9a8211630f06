//! How the trained points of a sweep train: the file's `[train]` table, read as the flags of
//! `trunkline train` are.

use super::error::SweepError;
use super::file::{GradRounding, Train};
use super::point::{Point, Training};
use super::source::Source;
use crate::experiment::train::schedule::Schedule;
use crate::experiment::train::session::SessionSettings;
use crate::experiment::train::{TrainSettings, learning_device};
use crate::plan::program::{Optimiser, WeightDecay};
use crate::quant::Profile;
use crate::quantise::Calibration;
use crate::run::Recompute;
use crate::trunk::backward::{ErrorFormat, ErrorRule, ExponentMode};
use std::fmt::Display;
use std::str::FromStr;
use toml::Spanned;

#[derive(Clone, Debug)]
pub struct Recipe {
    pub epochs: u64,
    pub batch: usize,
    pub optimizer: String,
    pub lr: f64,
    pub schedule: Schedule,
    pub weight_decay: String,
    pub label_smoothing: f64,
    pub clip: Option<f64>,
    pub grad_rounding: GradRounding,
    pub grad_exponent: ExponentMode,
    pub device: String,
    pub calibration: Option<Calibration>,
    pub profile: Option<Profile>,
    pub val_images: usize,
    /// Changes speed and memory, never a result.
    pub micro_batch: usize,
    optimiser: Optimiser,
    decay: WeightDecay,
}

impl Recipe {
    pub fn of(table: Train, source: &Source) -> Result<Self, SweepError> {
        let optimiser = read(source, "train.optimizer", &table.optimizer)?;
        let decay = read(source, "train.weight-decay", &table.weight_decay)?;
        let calibration = table.calibration.as_ref().map(|c| read(source, "train.calibration", c)).transpose()?;
        let profile = table.profile.as_ref().map(|p| read(source, "train.profile", p)).transpose()?;
        let device = &table.device;
        if let Err(e) = learning_device(device.get_ref()) {
            return Err(source.wrong(device.span(), "train.device", e, "see `trunkline devices`"));
        }
        let sgd = table.optimizer.get_ref().starts_with("sgd");
        Ok(Self {
            epochs: *table.epochs.get_ref(),
            batch: *table.batch.get_ref(),
            lr: table.lr.map_or(if sgd { 0.02 } else { 0.001 }, Spanned::into_inner),
            schedule: table.schedule,
            weight_decay: table.weight_decay.into_inner(),
            optimizer: table.optimizer.into_inner(),
            label_smoothing: *table.label_smoothing.get_ref(),
            clip: table.clip.map(Spanned::into_inner),
            grad_rounding: table.grad_rounding,
            grad_exponent: table.grad_exponent,
            device: table.device.into_inner(),
            calibration,
            profile,
            val_images: *table.val_images.get_ref(),
            micro_batch: *table.micro_batch.get_ref(),
            optimiser,
            decay,
        })
    }

    /// How a point of this recipe trains.
    pub fn settings(&self, point: &Point, training: &Training, threads: usize) -> TrainSettings {
        let rule = match training.grad_rounding {
            GradRounding::NearestEven => ErrorRule::NearestEven,
            GradRounding::Stochastic => ErrorRule::Stochastic { seed: training.seed },
            GradRounding::PseudoStochastic => ErrorRule::PseudoStochastic,
        };
        TrainSettings {
            session: SessionSettings {
                epochs: training.epochs,
                batch: training.batch,
                seed: training.seed,
                rate: training.lr,
                schedule: self.schedule.clone(),
                save_every: None,
            },
            optimiser: self.optimiser,
            weight_decay: self.decay,
            label_smoothing: training.label_smoothing as f32,
            clip: training.clip.map(|norm| norm as f32),
            errors: ErrorFormat { format: point.grad, rule, exponent: training.grad_exponent },
            tap_in_bits: point.tap_bits,
            // Changes no result, and a sweep has no memory to save.
            recompute: Recompute::default(),
            micro_batch: self.micro_batch,
            threads,
            device: training.device.clone(),
        }
    }
}

/// A value by its spelling.
fn read<T: FromStr<Err: Display>>(source: &Source, key: &str, text: &Spanned<String>) -> Result<T, SweepError> {
    text.get_ref().parse().map_err(|e: T::Err| source.wrong(text.span(), key, e, "as a flag of `trunkline train`"))
}
