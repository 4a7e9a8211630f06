//! How to learn: the flags that `train` and `pretrain` share.

use super::Failure;
use super::values;
use crate::experiment::train::schedule::Schedule;
use crate::experiment::train::session::SessionSettings;
use crate::plan::program::{Optimiser, WeightDecay};
use clap::Args;

#[derive(Args)]
pub struct Learning {
    /// How often every image is seen
    #[arg(long, value_name = "N", default_value = "10", value_parser = values::count)]
    epochs: usize,
    /// Images of a step; the last step of an epoch takes what is left
    #[arg(long, value_name = "N", default_value = "32", value_parser = values::count)]
    batch: usize,
    /// sgd[:momentum=M,nesterov], adam[:beta1=B,beta2=B,epsilon=E] or adamw[:…] [default: sgd to train, adam to pretrain]
    #[arg(long, value_name = "OPTIMIZER", value_parser = values::optimiser)]
    optimizer: Option<String>,
    /// Learning rate that the schedule starts from [default: 0.02 for sgd, 0.001 for others; 0.003 to pretrain]
    #[arg(long, value_name = "RATE", value_parser = values::positive)]
    lr: Option<f64>,
    /// How the rate changes: constant, step[:at=F+F+…,gamma=G], cosine[:warmup=F] [default: constant to train, cosine to pretrain]
    #[arg(long, value_name = "SCHEDULE", long_help = values::schedule_help())]
    schedule: Option<Schedule>,
    /// Weight decay: D, or D,adapters=D[,sticky] with another one for adapters' weights
    #[arg(long, value_name = "DECAY", default_value = "0", value_parser = values::weight_decay)]
    weight_decay: String,
    /// Part of the label that is spread over all classes, from 0 to below 1
    #[arg(long, value_name = "F", default_value = "0", value_parser = values::below_one)]
    label_smoothing: f64,
    /// Scale gradients down to this norm where theirs is larger
    #[arg(long, value_name = "NORM", value_parser = values::positive)]
    clip: Option<f64>,
    /// Seed of everything random: fresh weights, adapters and heads, order of images, procedural images
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::seed)]
    pub seed: u64,
}

/// What learns, which fixes what is not given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Adapters,
    WholeNetwork,
}

/// What the flags come to.
pub struct Chosen {
    pub session: SessionSettings,
    pub optimiser: Optimiser,
    pub weight_decay: WeightDecay,
    pub label_smoothing: f32,
    pub clip: Option<f32>,
}

impl Learning {
    fn optimizer(&self, kind: Kind) -> &str {
        let usual = if kind == Kind::Adapters { "sgd" } else { "adam" };
        self.optimizer.as_deref().unwrap_or(usual)
    }

    pub fn rate(&self, kind: Kind) -> f64 {
        self.lr.unwrap_or(match kind {
            Kind::WholeNetwork => 0.003,
            Kind::Adapters if self.optimizer(kind).starts_with("sgd") => 0.02,
            Kind::Adapters => 0.001,
        })
    }

    fn schedule(&self, kind: Kind) -> Schedule {
        let usual = if kind == Kind::Adapters { Schedule::Constant } else { Schedule::Cosine { warmup: 0.0 } };
        self.schedule.clone().unwrap_or(usual)
    }

    /// Every flag that has a value, as it would be written; the seed is not among them.
    pub fn given(&self, kind: Kind) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("epochs", Some(self.epochs.to_string())),
            ("batch", Some(self.batch.to_string())),
            ("optimizer", Some(self.optimizer(kind).to_string())),
            ("lr", Some(self.rate(kind).to_string())),
            ("schedule", Some(self.schedule(kind).to_string())),
            ("weight-decay", Some(self.weight_decay.clone())),
            ("label-smoothing", Some(self.label_smoothing.to_string())),
            ("clip", self.clip.as_ref().map(f64::to_string)),
        ]
    }

    pub fn chosen(&self, kind: Kind, save_every: Option<usize>) -> Result<Chosen, Failure> {
        Ok(Chosen {
            session: SessionSettings {
                epochs: self.epochs as u64,
                batch: self.batch,
                seed: self.seed,
                rate: self.rate(kind),
                schedule: self.schedule(kind),
                save_every: save_every.map(|n| n as u64),
            },
            optimiser: self.optimizer(kind).parse().map_err(Failure::Usage)?,
            weight_decay: self.weight_decay.parse().map_err(Failure::Usage)?,
            label_smoothing: self.label_smoothing as f32,
            clip: self.clip.map(|norm| norm as f32),
        })
    }
}
