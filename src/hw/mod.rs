//! Hardware model files, read and checked; timing of the trunk and of the adapter device.
//!
//! A file is data: figures with unit, source and confidence. The code here knows what keys mean
//! and no number. A hardware model is added by a TOML file and nothing else.

pub mod adapter_time;
pub mod estimate;
mod file;
pub mod library;
mod schema;
pub mod trunk_time;

pub use estimate::{Confidence, Estimate};
pub use file::{Figure, HwFile, Known, Setting};
pub use schema::{Kind, unit};

use thiserror::Error;

#[derive(Debug, Error)]
pub enum HwError {
    #[error("{file}{}: {why}", .line.map_or(String::new(), |l| format!(":{l}")))]
    File { file: String, line: Option<usize>, why: String },
    #[error("cannot read '{path}': {source}")]
    Io { path: String, source: std::io::Error },
    #[error("no {kind} '{name}'; there are {known}, or give a path ending in .toml")]
    Unknown { kind: &'static str, name: String, known: String },
}

/// A trunk, an adapter device and a link that belong together.
#[derive(Clone, Debug)]
pub struct System {
    pub name: String,
    pub trunk: HwFile,
    pub adapter: HwFile,
    pub link: HwFile,
    /// The table below `launch` of the adapter file that its program goes through.
    pub launch_api: String,
    /// Which side rounds what enters the trunk.
    pub tap_in_rounds: String,
}
