//! Files of a run: read no further than a limit, and on the disk when a write returns.

use crate::door::open_file;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a file of a run was not read or written.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("cannot read '{}': {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write '{}': {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// The bytes contradict the format or themselves.
    #[error("{}: {place}: {why}", path.display())]
    Malformed { path: PathBuf, place: String, why: String },
    /// Something that the format cannot hold.
    #[error("cannot write '{}': {why}", path.display())]
    Unwritable { path: PathBuf, why: String },
}

impl FileError {
    pub fn reading(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Read { path: path.into(), source }
    }
    pub fn writing(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Write { path: path.into(), source }
    }
    pub fn malformed(path: &Path, place: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Malformed { path: path.into(), place: place.into(), why: why.into() }
    }
}

/// The bytes of a regular file of at most `limit_bytes`.
pub fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, FileError> {
    let fault = FileError::reading(path);
    let (file, size_bytes) = open_file(path).map_err(&fault)?;
    if size_bytes > limit_bytes {
        let why = format!("has {size_bytes} bytes; such a file has at most {limit_bytes}");
        return Err(FileError::malformed(path, "file", why));
    }
    let mut bytes = Vec::with_capacity(size_bytes as usize);
    file.take(limit_bytes).read_to_end(&mut bytes).map_err(fault)?;
    Ok(bytes)
}

/// Writes a new file and waits until the disk has it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(FileError::writing(path))
}

/// Waits until the disk has the names that a folder holds. Where folders cannot be opened the file
/// system is trusted with it.
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    if cfg!(unix) {
        File::open(path).and_then(|folder| folder.sync_all()).map_err(FileError::writing(path))?;
    }
    Ok(())
}

/// The text of a JSON file.
pub fn json<T: serde::Serialize>(value: &T, path: &Path) -> Result<String, FileError> {
    let text = serde_json::to_string_pretty(value);
    text.map(|t| t + "\n").map_err(|e| FileError::Unwritable { path: path.into(), why: e.to_string() })
}

/// A value out of the bytes of a JSON file.
pub fn from_json<T: serde::de::DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T, FileError> {
    serde_json::from_slice(bytes).map_err(|e| FileError::malformed(path, "document", shown(&e.to_string())))
}

pub use crate::model::sha256_hex as sha256;

/// A text out of a file, made safe to print: escaped, and cut where nobody would read on.
pub fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 200;
    // What would disturb a terminal; quotes do not.
    let escaped = |c: char| if "'\"".contains(c) { String::from(c) } else { c.escape_debug().to_string() };
    let shown: String = text.chars().take(SHOWN_CHARS).map(escaped).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() { format!("{shown}…") } else { shown }
}
