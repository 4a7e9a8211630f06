//! Training adapters: the session around the steps. What a step does is the plan's and the run's; here
//! is which images it gets and how fast it learns, what is measured and saved, and how a training that
//! was stopped goes on to the same bytes.
//!
//! Refused: an adapter or a checkpoint of another trunk, a file that was cut or changed, a folder that
//! holds another run.

pub mod account;
pub mod adapter_file;
pub mod arrays;
pub mod checkpoint;
pub mod chip;
pub mod file;
mod job;
pub mod learner;
pub mod metrics;
pub mod run_folder;
pub mod schedule;
pub mod session;
pub mod snapshot;
pub mod tasks;
pub mod tensorboard;

pub use job::{TrainError, TrainJob, TrainReport, TrainSettings, learning_device, prepared, train};
