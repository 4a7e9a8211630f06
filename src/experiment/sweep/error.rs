//! Why a sweep did not run. What a single point cannot do is no error here: it is that point's record.

use crate::experiment::train::file::FileError;
use std::path::PathBuf;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum SweepError {
    /// A key of the sweep file, or what it holds.
    #[error("{file}:{line}:{column}: {key}: {wrong}; {right}")]
    Wrong { file: String, line: usize, column: usize, key: String, wrong: String, right: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{}: line {line}: {why}", path.display())]
    Record { path: PathBuf, line: u64, why: String },
    #[error("another program sweeps in '{}'", path.display())]
    InUse { path: PathBuf },
    #[error(
        "'{}' has {strangers} points that this sweep has not (the first is {first}): another file, another program \
         or a changed trunk or system made them; give --out another name",
        path.display()
    )]
    OtherSweep { path: PathBuf, strangers: u64, first: String },
    #[error("{file}: points {first} and {second} are the same: {point}; two values of an axis mean one thing")]
    Twice { file: String, first: u64, second: u64, point: String },
    #[error("cannot merge '{}': {why}", path.display())]
    Merge { path: PathBuf, why: String },
    #[error("cannot start {threads} threads: {why}")]
    Threads { threads: usize, why: String },
}
