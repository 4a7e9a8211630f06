//! The folder of a run: made new, never over another; opened again only to resume.
//!
//! It holds `args.json`, the metrics, `checkpoints/` and the reports. While a program trains in it
//! no other can.

use super::file::{self, FileError, shown};
use crate::door;
use serde_json::Value;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use thiserror::Error;

/// Where runs go that are not told where.
pub const RUNS: &str = "runs";
const ARGUMENTS: &str = "args.json";
const MAX_ARGUMENT_BYTES: u64 = 1 << 24;
/// Where the tasks of a run are that has several.
pub const TASKS: &str = "tasks";
/// More runs of one name than anybody keeps.
const MOST_OF_A_NAME: u32 = 100_000;

const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Why there is no folder to train in.
#[derive(Debug, Error)]
pub enum RunFolderError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("'{}' is no run of `trunkline train`: it has no {ARGUMENTS}", path.display())]
    NoRun { path: PathBuf },
    #[error("another program trains in '{}'", path.display())]
    InUse { path: PathBuf },
    #[error("there are {MOST_OF_A_NAME} runs called '{}'; give --out another name", path.display())]
    TooMany { path: PathBuf },
}

/// A run's folder, held until it is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Locked; the system lets go of it even when the program is killed.
    _arguments: File,
}

impl RunFolder {
    /// Makes a folder at `out`, or at `runs/NAME`; `-2` and so on is appended to a name that is taken.
    pub fn create(out: Option<&Path>, name: &str, arguments: &Value) -> Result<Self, RunFolderError> {
        let wanted = out.map_or_else(|| Path::new(RUNS).join(plain(name)), Path::to_path_buf);
        if let Some(parent) = wanted.parent() {
            fs::create_dir_all(parent).map_err(FileError::writing(parent))?;
        }
        let path = (1..=MOST_OF_A_NAME).find_map(|n| new_folder(&numbered(&wanted, n)));
        let path = path.ok_or_else(|| RunFolderError::TooMany { path: wanted.clone() })??;
        let file = path.join(ARGUMENTS);
        file::write(&file, file::json(arguments, &file)?.as_bytes())?;
        file::sync_folder(&path)?;
        Self::hold(path)
    }

    /// Opens the folder of a run that was stopped; also gives its arguments.
    pub fn reopen(path: &Path) -> Result<(Self, Value), RunFolderError> {
        let file = path.join(ARGUMENTS);
        if !file.exists() {
            return Err(RunFolderError::NoRun { path: path.into() });
        }
        let arguments = file::from_json(&file::read(&file, MAX_ARGUMENT_BYTES)?, &file)?;
        Ok((Self::hold(path.into())?, arguments))
    }

    fn hold(path: PathBuf) -> Result<Self, RunFolderError> {
        let arguments = path.join(ARGUMENTS);
        let file = File::open(&arguments).map_err(FileError::reading(&arguments))?;
        // A program that this one is just starting holds our files until it runs.
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
                // A file system without locks is no reason not to train.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Self { path, _arguments: file }),
            }
        }
        Err(RunFolderError::InUse { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn checkpoints(&self) -> PathBuf {
        checkpoints(&self.path)
    }

    /// The folder of one of the tasks that share a trunk, made if need be.
    pub fn task(&self, name: &str) -> Result<PathBuf, FileError> {
        let path = self.path.join(TASKS).join(name);
        fs::create_dir_all(&path).map_err(FileError::writing(&path))?;
        Ok(path)
    }

    /// Writes a file such as `report.md`, whole or not at all, over what an earlier sitting wrote.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        let target = self.path.join(name);
        let write = || {
            let mut draft = door::draft(&self.path)?;
            draft.write_all(bytes)?;
            draft.as_file().sync_all()?;
            draft.persist(&target).map(drop).map_err(|e| e.error)
        };
        write().map_err(FileError::writing(&target))
    }
}

/// Where the checkpoints of a run are, or of one of its tasks.
pub fn checkpoints(folder: &Path) -> PathBuf {
    folder.join("checkpoints")
}

/// A folder that was not there before; nothing if it was.
fn new_folder(path: &Path) -> Option<Result<PathBuf, FileError>> {
    match fs::create_dir(path) {
        Ok(()) => Some(Ok(path.into())),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => None,
        Err(e) => Some(Err(FileError::writing(path)(e))),
    }
}

/// `run`, `run-2`, `run-3`.
fn numbered(path: &Path, n: u32) -> PathBuf {
    if n == 1 {
        return path.into();
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!("-{n}"));
    path.with_file_name(name)
}

/// A name without what a file's name should not have.
pub fn plain(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || ".-_=".contains(c) { c } else { '-' };
    let kept: String = shown(name).chars().map(keep).take(100).collect();
    kept.trim_matches(['-', '.']).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_folder_is_never_used_twice() {
        let at = tempfile::tempdir().unwrap();
        let out = at.path().join("deep/run");
        let names = ["run", "run-2", "run-3"].map(|_| {
            let folder = RunFolder::create(Some(&out), "", &json!({"lr": 0.1})).unwrap();
            folder.path().file_name().unwrap().to_string_lossy().into_owned()
        });
        assert_eq!(names, ["run", "run-2", "run-3"]);
        let (_held, arguments) = RunFolder::reopen(&out).unwrap();
        assert_eq!(arguments, json!({"lr": 0.1}));
        let refusal = RunFolder::reopen(&out).unwrap_err().to_string();
        assert!(refusal.contains("another program"), "{refusal}");
    }

    #[test]
    fn no_run_is_told_apart_from_a_broken_one() {
        let at = tempfile::tempdir().unwrap();
        assert!(matches!(RunFolder::reopen(at.path()), Err(RunFolderError::NoRun { .. })));
        fs::write(at.path().join(ARGUMENTS), "{").unwrap();
        assert!(matches!(RunFolder::reopen(at.path()), Err(RunFolderError::File(_))));
        let blocked = at.path().join(ARGUMENTS).join("run");
        let refusal = RunFolder::create(Some(&blocked), "", &json!({})).unwrap_err().to_string();
        assert!(refusal.contains("cannot write") && refusal.contains(ARGUMENTS), "{refusal}");
    }

    #[test]
    fn a_report_is_replaced() {
        let at = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(Some(&at.path().join("run")), "", &json!({})).unwrap();
        folder.write("report.md", b"first").unwrap();
        folder.write("report.md", b"second").unwrap();
        assert_eq!(fs::read(folder.path().join("report.md")).unwrap(), b"second");
    }

    #[test]
    fn names_are_made_plain() {
        assert_eq!(plain("resnet26:width=0.25/parallel synth:shapes"), "resnet26-width=0.25-parallel-synth-shapes");
        assert_eq!(plain("../../etc"), "etc");
    }
}
