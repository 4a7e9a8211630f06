//! The text of a hardware model file: embedded in the program, or read from disk with a size limit.

use super::error::HwError;
use super::place;
use super::schema::Kind;
use include_dir::{Dir, include_dir};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

static MODELS: Dir = include_dir!("$CARGO_MANIFEST_DIR/hw_models");

/// A model is a few KiB; a megabyte is a wrong file.
pub const MOST_BYTES: u64 = 1 << 20;

/// A file's text and what to call it.
#[derive(Clone, Debug)]
pub struct Source {
    /// As messages name it.
    pub label: String,
    /// Where it lies, unless it is embedded.
    pub path: Option<PathBuf>,
    pub text: String,
    /// The width that a link was asked for in, where its name says one.
    pub lanes: Option<u32>,
}

impl Source {
    /// One of the shipped models.
    pub fn embedded(kind: Kind, name: &str) -> Option<Source> {
        let label = format!("{}/{name}.toml", kind.folder());
        let text = MODELS.get_file(&label)?.contents_utf8()?.to_string();
        Some(Source { label: format!("hw_models/{label}"), path: None, text, lanes: None })
    }

    pub fn read(path: &Path) -> Result<Source, HwError> {
        let unreadable = |source| HwError::Read { file: path.to_path_buf(), source };
        let not_a_model = |why: String| HwError::NotAModel { file: path.to_path_buf(), why };
        // Asked before opening: opening a pipe would wait for somebody to write to it.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(not_a_model("it is not a file; give the path of a .toml file".into()));
        }
        let mut bytes = Vec::new();
        File::open(path).and_then(|f| f.take(MOST_BYTES + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(not_a_model(format!("it is larger than {MOST_BYTES} bytes; a hardware model is a few KiB")));
        }
        let text = String::from_utf8(bytes)
            .map_err(|e| not_a_model(format!("byte {} is not UTF-8; TOML is", e.utf8_error().valid_up_to())))?;
        Ok(Source { label: path.display().to_string(), path: Some(path.to_path_buf()), text, lanes: None })
    }

    /// What tells two sources apart, however they were reached.
    pub fn identity(&self) -> PathBuf {
        match &self.path {
            Some(path) => path.canonicalize().unwrap_or_else(|_| path.clone()),
            None => PathBuf::from(&self.label),
        }
    }

    /// An error at a key of this file.
    pub fn wrong(&self, key: &str, wrong: impl Into<String>, right: impl Into<String>) -> HwError {
        HwError::Wrong {
            file: self.label.clone(),
            line: place::line_of(&self.text, key),
            key: key.into(),
            wrong: wrong.into(),
            right: right.into(),
        }
    }
}

/// Names of the shipped models of a kind, in order.
pub fn embedded_names(kind: Kind) -> Vec<&'static str> {
    let files = MODELS.get_dir(kind.folder()).into_iter().flat_map(Dir::files);
    let toml = files.filter(|f| f.path().extension().is_some_and(|e| e == "toml"));
    let mut names: Vec<_> = toml.filter_map(|f| f.path().file_stem()?.to_str()).collect();
    names.sort_unstable();
    names
}
