//! Sweeps: a grid of points, or a sample of it, each counted or trained, all in one folder.
//!
//! A point is named by the SHA-256 of everything that it depends on. Records are appended as points
//! finish; a sweep that was stopped, by whatever means, loses no finished point and repeats none. At its
//! end the records stand in the order of their points, the same bytes for any number of threads, shards
//! and interruptions. Refused are files with a mistake in them; what a scheme cannot do on a trunk is the
//! record of that point.

mod analytic;
mod arms;
mod cost;
mod error;
pub mod file;
mod identity;
mod lines;
mod merge;
pub mod plan;
pub mod point;
mod recipe;
pub mod record;
mod run;
mod source;
pub mod store;
pub mod summary;
mod task;
mod trained;

pub use cost::Costs;
pub use error::SweepError;
pub use identity::system_sha256;
pub use lines::records;
pub use merge::{Merged, merge};
pub use plan::Plan;
pub use run::{Progress, Shard, SweepSettings, Swept, sweep};
pub use source::Source;
