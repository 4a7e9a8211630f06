//! What a session asks of the thing that learns, and what it tells the one who watches.

use super::snapshot::{Best, EpochMetrics, Evaluation, Held, Sums};
use crate::run::TrainingMemory;
use std::error::Error;
use std::path::Path;

/// Something that learns in steps. A step must depend on nothing but what [`Learner::restore`] puts
/// back and what it is given, or a resumed training is another one.
pub trait Learner {
    type Error: Error + 'static;

    /// Images of the training set.
    fn images(&self) -> usize;

    /// One step on these images, in this order.
    fn step(&mut self, at: StepAt, indices: &[usize]) -> Result<StepOutcome, Self::Error>;

    /// How the validation set does; nothing if there is none. Changes nothing that steps depend on.
    fn evaluate(&mut self) -> Result<Option<Evaluation>, Self::Error>;

    fn snapshot(&mut self) -> Result<Held, Self::Error>;

    /// Puts back what a snapshot holds; `step` steps were done when it was taken.
    fn restore(&mut self, held: &Held, step: u64) -> Result<(), Self::Error>;
}

/// Which step it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepAt {
    /// Both from 0; steps go on over epochs.
    pub epoch: u64,
    pub step: u64,
    /// The learning rate.
    pub rate: f64,
}

/// What a step gave, over its images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOutcome {
    pub loss_sum: f64,
    pub hits: u64,
    pub images: u64,
    /// Payload out of the trunk, and into it.
    pub bytes_down: u64,
    pub bytes_up: u64,
    /// Nothing where the hardware model has no figures.
    pub energy_pj: Option<f64>,
    pub peak_bytes: u64,
    /// Codes that a join cut, by node, where there were any.
    pub saturations: Vec<(String, u64)>,
}

/// What a session is about to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    pub epochs: u64,
    pub steps_per_epoch: u64,
    pub images: usize,
    /// Steps that an earlier sitting did.
    pub step: u64,
}

/// A step that was done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport<'a> {
    /// Counted from 1, over all epochs.
    pub step: u64,
    /// Counted from 1.
    pub epoch: u64,
    pub rate: f64,
    pub outcome: &'a StepOutcome,
    /// Of the epoch so far.
    pub sums: Sums,
}

/// An epoch that was done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochReport {
    pub step: u64,
    pub metrics: EpochMetrics,
    pub best: Best,
}

/// Watches a session; everything it may do without is left out.
pub trait Observer {
    /// Of several tasks on one trunk, what follows is about this one.
    fn on_task(&mut self, _name: &str) {}
    /// Before anything is trained: what it will hold.
    fn on_memory(&mut self, _memory: &TrainingMemory) {}
    fn on_start(&mut self, _start: &Start) {}
    fn on_step(&mut self, _report: &StepReport) {}
    fn on_epoch(&mut self, _report: &EpochReport) {}
    /// A checkpoint is on the disk.
    fn on_save(&mut self, _folder: &Path, _step: u64) {}
    /// Asked after every step: whether to save and end.
    fn should_stop(&mut self) -> bool {
        false
    }
}

/// Watches nothing.
pub struct Unwatched;

impl Observer for Unwatched {}
