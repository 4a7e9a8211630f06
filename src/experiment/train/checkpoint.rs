//! Checkpoints: a folder each, replaced whole or not at all.
//!
//! | file | what |
//! |---|---|
//! | `adapter_model.safetensors`, `adapter_config.json` | an adapter, as any other |
//! | `optimizer.safetensors` | the optimiser's moments, `PARAMETER.0` and so on |
//! | `trainer_state.json` | how far the training is, what the other files hold and their SHA-256 |
//!
//! A new checkpoint is written under another name, waited for until the disk has it, and then takes
//! the place of the old one by two renames. A program that is killed between them leaves the old or
//! the new one under a name that [`read`] looks at too. The same snapshot gives the same bytes.

use super::adapter_file::{self, Adapter, AdapterConfig};
use super::arrays::{self, Array};
use super::file::{self, FileError, shown};
use super::snapshot::{Held, Moments, Progress, Snapshot};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The state after the last step that was saved.
pub const LAST: &str = "last";
/// The state after the epoch that did best.
pub const BEST: &str = "best";

const MOMENTS: &str = "optimizer.safetensors";
const STATE: &str = "trainer_state.json";
const VERSION: u32 = 1;
/// Larger than the names of any network's parameters.
const MAX_STATE_BYTES: u64 = 1 << 28;

/// `trainer_state.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format_version: u32,
    progress: Progress,
    exponents: BTreeMap<String, i32>,
    /// The arrays in graph order, which safetensors files do not keep.
    values: Vec<String>,
    /// How many moments each parameter has.
    moments: Vec<(String, usize)>,
    /// SHA-256 of the other files.
    files: BTreeMap<String, String>,
    /// Of this document with nothing here.
    sha256: String,
}

impl State {
    fn sealed(mut self, path: &Path) -> Result<Self, FileError> {
        self.sha256.clear();
        self.sha256 = file::sha256(file::json(&self, path)?.as_bytes());
        Ok(self)
    }
}

/// A checkpoint as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub snapshot: Snapshot,
    pub config: AdapterConfig,
}

/// The names under which a checkpoint can be, from the first that a replacement writes.
struct Places {
    /// Not yet whole.
    draft: PathBuf,
    /// Whole, and newer than what is in place.
    new: PathBuf,
    place: PathBuf,
    /// Whole, and older.
    old: PathBuf,
}

impl Places {
    fn of(folder: &Path, name: &str) -> Self {
        let under = |ending: &str| folder.join(format!(".{name}.{ending}"));
        Self { draft: under("draft"), new: under("new"), place: folder.join(name), old: under("old") }
    }

    /// Puts a whole new checkpoint into its place.
    fn settle(&self) -> Result<(), FileError> {
        if !self.new.exists() {
            return Ok(());
        }
        if self.place.exists() {
            remove(&self.old)?;
            fs::rename(&self.place, &self.old).map_err(FileError::writing(&self.place))?;
        }
        fs::rename(&self.new, &self.place).map_err(FileError::writing(&self.place))?;
        remove(&self.old)
    }

    /// Ends what a killed program began.
    fn recover(&self) -> Result<(), FileError> {
        self.settle()?;
        remove(&self.draft)?;
        // Killed between its two renames with the new one since lost, only the old one is left.
        if self.place.exists() { remove(&self.old) } else { Ok(()) }
    }
}

/// Removes a folder if there is one.
fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(FileError::writing(path)(e)),
        _ => Ok(()),
    }
}

/// Replaces the checkpoint `name` of `folder`, which is made if need be.
pub fn write(folder: &Path, name: &str, snapshot: &Snapshot, config: &AdapterConfig) -> Result<(), FileError> {
    fs::create_dir_all(folder).map_err(FileError::writing(folder))?;
    let places = Places::of(folder, name);
    places.recover()?;
    fs::create_dir(&places.draft).map_err(FileError::writing(&places.draft))?;
    if let Err(fault) = fill(&places.draft, snapshot, config) {
        // What is half written is of no use, and its bytes may be what the disk lacks. The fault that
        // stopped it is the one to tell.
        let _ = remove(&places.draft);
        return Err(fault);
    }
    fs::rename(&places.draft, &places.new).map_err(FileError::writing(&places.new))?;
    file::sync_folder(folder)?;
    places.settle()?;
    file::sync_folder(folder)
}

/// Puts into place, or removes, what a program that was killed while it wrote the checkpoint `name`
/// left beside it. No other program may be writing there.
pub fn recover(folder: &Path, name: &str) -> Result<(), FileError> {
    Places::of(folder, name).recover()
}

fn fill(folder: &Path, snapshot: &Snapshot, config: &AdapterConfig) -> Result<(), FileError> {
    let Held { values, moments, exponents } = &snapshot.held;
    let mut files: BTreeMap<String, String> =
        adapter_file::write(folder, config, values)?.map(|(name, sha256)| (name.into(), sha256)).into();
    let path = folder.join(MOMENTS);
    let bytes = arrays::to_bytes(&moment_arrays(moments), &path)?;
    files.insert(MOMENTS.into(), file::sha256(&bytes));
    file::write(&path, &bytes)?;
    let path = folder.join(STATE);
    let state = State {
        format_version: VERSION,
        progress: snapshot.progress.clone(),
        exponents: exponents.clone(),
        values: values.iter().map(|a| a.name.clone()).collect(),
        moments: moments.iter().map(|(name, of)| (name.clone(), of.len())).collect(),
        files,
        sha256: String::new(),
    };
    file::write(&path, file::json(&state.sealed(&path)?, &path)?.as_bytes())?;
    file::sync_folder(folder)
}

fn moment_name(parameter: &str, index: usize) -> String {
    format!("{parameter}.{index}")
}

fn moment_arrays(moments: &[Moments]) -> Vec<Array> {
    let of = |(name, arrays): &Moments| {
        let array = |(i, values): (usize, &Vec<f32>)| Array {
            name: moment_name(name, i),
            dims: vec![values.len()],
            values: values.clone(),
        };
        arrays.iter().enumerate().map(array).collect::<Vec<_>>()
    };
    moments.iter().flat_map(of).collect()
}

/// Reads the checkpoint `name` of `folder`; nothing if it has none.
pub fn read(folder: &Path, name: &str) -> Result<Option<Checkpoint>, FileError> {
    let Places { new, place, old, .. } = Places::of(folder, name);
    let found = [new, place, old].into_iter().find(|place| place.exists());
    found.map(|place| open(&place)).transpose()
}

/// Reads the checkpoint that is in a folder of its own.
pub fn open(folder: &Path) -> Result<Checkpoint, FileError> {
    let path = folder.join(STATE);
    let state = read_state(&path)?;
    let config = folder.join(adapter_file::CONFIG);
    same_file(&state, &config, &path)?;
    let adapter = Adapter::read(folder)?;
    let model = folder.join(adapter_file::MODEL);
    if state.files.get(adapter_file::MODEL) != Some(&adapter.config.model_sha256) {
        return Err(FileError::malformed(&model, "contents", other_than(&path)));
    }
    let values = take_all(adapter.values, state.values, &model)?;
    let moments = folder.join(MOMENTS);
    let (arrays, bytes) = arrays::open(&moments)?;
    if state.files.get(MOMENTS) != Some(&file::sha256(&bytes)) {
        return Err(FileError::malformed(&moments, "contents", other_than(&path)));
    }
    let moments = take_moments(arrays, state.moments, &moments)?;
    let held = Held { values, moments, exponents: state.exponents };
    Ok(Checkpoint { snapshot: Snapshot { held, progress: state.progress }, config: adapter.config })
}

fn read_state(path: &Path) -> Result<State, FileError> {
    let state: State = file::from_json(&file::read(path, MAX_STATE_BYTES)?, path)?;
    if state.format_version != VERSION {
        let why = format!("is {}; this program reads {VERSION}", state.format_version);
        return Err(FileError::malformed(path, "format_version", why));
    }
    let seal = state.sha256.clone();
    let state = state.sealed(path)?;
    if state.sha256 != seal {
        return Err(FileError::malformed(path, "sha256", "is not that of the document, which was changed since"));
    }
    Ok(state)
}

fn other_than(state: &Path) -> String {
    format!("are not what '{}' was written with", state.display())
}

/// Checks a small file's hash before it is read for its contents.
fn same_file(state: &State, path: &Path, state_path: &Path) -> Result<(), FileError> {
    let bytes = file::read(path, MAX_STATE_BYTES)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if state.files.get(name.as_ref()) != Some(&file::sha256(&bytes)) {
        return Err(FileError::malformed(path, "contents", other_than(state_path)));
    }
    Ok(())
}

/// The arrays in the order of their names in `order`, of which each must be there and no other.
fn take_all(mut arrays: BTreeMap<String, Array>, order: Vec<String>, path: &Path) -> Result<Vec<Array>, FileError> {
    let place = |name: &str| format!("tensor '{}'", shown(name));
    let mut taken = Vec::new();
    for name in order {
        let array = arrays.remove(&name);
        taken.push(array.ok_or_else(|| FileError::malformed(path, place(&name), "is missing, or asked for twice"))?);
    }
    match arrays.keys().next() {
        None => Ok(taken),
        Some(name) => Err(FileError::malformed(path, place(name), "belongs to no parameter")),
    }
}

fn take_moments(
    arrays: BTreeMap<String, Array>,
    counts: Vec<(String, usize)>,
    path: &Path,
) -> Result<Vec<Moments>, FileError> {
    let all: usize = counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count));
    let names: BTreeSet<&str> = counts.iter().map(|(name, _)| name.as_str()).collect();
    if all != arrays.len() || names.len() != counts.len() {
        let why = format!("holds {} moments, the state counts {all}", arrays.len());
        return Err(FileError::malformed(path, "tensors", why));
    }
    let order = counts.iter().flat_map(|(name, count)| (0..*count).map(|i| moment_name(name, i))).collect();
    let mut taken = take_all(arrays, order, path)?.into_iter();
    let of = |(name, count): (String, usize)| (name, taken.by_ref().take(count).map(|a| a.values).collect());
    Ok(counts.into_iter().map(of).collect())
}
