//! Doors in: models read from files into a [`Graph`](crate::graph::Graph).
//!
//! A file is read up to its own size, everything it claims is checked against the bytes that are
//! there, and what the trunk cannot do exactly is refused with the place and a way out. Nothing
//! is guessed: a model either becomes a graph that computes what the file says, or an error.

use crate::door::open_file;
use crate::graph::Graph;
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;

pub mod npz;
pub mod onnx;
pub mod tflite;
pub mod trunk_file;
pub mod zoo;

/// A model as it came through a door.
#[derive(Clone, Debug)]
pub struct Imported {
    pub graph: Graph,
    /// The arithmetic profile the file's format stands for.
    pub default_profile: &'static str,
    /// What the import left out or reinterpreted, one sentence each.
    pub notes: Vec<String>,
    /// Of the file's bytes, in lower-case hexadecimal.
    pub source_sha256: String,
}

/// Why a file did not become a model or an array.
#[derive(Debug, Error)]
pub enum ModelError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The bytes contradict the format or themselves.
    #[error("{}: {place}: {why}", path.display())]
    Malformed { path: PathBuf, place: String, why: String },
    /// A valid file that asks for something the trunk does not do.
    #[error("{}: {place}: {why}", path.display())]
    Unsupported { path: PathBuf, place: String, why: String },
}

/// A [`ModelError`] of a reader that works on bytes and does not know their file.
#[derive(Debug)]
pub(crate) struct Fault {
    unsupported: bool,
    place: String,
    why: String,
}

impl Fault {
    pub(crate) fn malformed(place: impl fmt::Display, why: impl Into<String>) -> Self {
        Self { unsupported: false, place: place.to_string(), why: why.into() }
    }

    pub(crate) fn unsupported(place: impl fmt::Display, why: impl Into<String>) -> Self {
        Self { unsupported: true, place: place.to_string(), why: why.into() }
    }

    pub(crate) fn in_file(self, path: &Path) -> ModelError {
        let (path, place, why) = (path.to_path_buf(), self.place, self.why);
        if self.unsupported {
            ModelError::Unsupported { path, place, why }
        } else {
            ModelError::Malformed { path, place, why }
        }
    }
}

/// Reads a regular file of at most `limit_bytes`.
fn read_file(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, ModelError> {
    let io = |source| ModelError::Io { path: path.to_path_buf(), source };
    let (file, size_bytes) = open_file(path).map_err(io)?;
    if size_bytes > limit_bytes {
        let why = format!("has {size_bytes} bytes, the format ends at {limit_bytes}");
        return Err(Fault::malformed("file", why).in_file(path));
    }
    let mut bytes = Vec::with_capacity(size_bytes as usize);
    file.take(limit_bytes).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name out of a file, made safe to print: escaped, and cut where nobody would read on.
fn printable(name: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    let shown: String = name.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN_CHARS).is_some() { format!("{shown}…") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_cut() {
        assert_eq!(printable("a/b"), "a/b");
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(printable(&"x".repeat(61)), format!("{}…", "x".repeat(60)));
    }

    #[test]
    fn a_directory_is_not_a_file() {
        let error = read_file(Path::new(env!("CARGO_MANIFEST_DIR")), 1).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
