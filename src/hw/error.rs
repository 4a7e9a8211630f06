//! What can be wrong with a hardware model: each message names the file, the key and what would be right.

use std::path::PathBuf;
use thiserror::Error;

/// Why a hardware model could not be used.
#[derive(Debug, Error)]
pub enum HwError {
    /// Neither an embedded model nor a file.
    #[error("no {what} is named `{name}`; known: {known}; or give the path of a .toml file")]
    NoSuchModel { what: String, name: String, known: String },

    #[error("cannot read {}: {source}", file.display())]
    Read { file: PathBuf, source: std::io::Error },

    #[error("cannot read {}: {why}", file.display())]
    NotAModel { file: PathBuf, why: String },

    /// A key, or what it holds.
    #[error("{}: {key}: {wrong}; {right}", at(file, *line))]
    Wrong { file: String, line: Option<usize>, key: String, wrong: String, right: String },
}

fn at(file: &str, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_string(),
    }
}
