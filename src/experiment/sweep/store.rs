//! The folder of a sweep: `sweep.toml`, the file as it is run, and `points.jsonl`, the source of truth, to
//! which records are appended by one write each time. A program that is killed leaves at most a torn last
//! line, which is dropped when the folder is opened again.
//!
//! Refused: a folder in use, records that were changed, records of points that the sweep has not.

use super::error::SweepError;
use super::lines::Lines;
use crate::door;
use crate::experiment::train::file::{FileError, sync_folder};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub const POINTS: &str = "points.jsonl";
pub const SWEEP: &str = "sweep.toml";
const LOCK: &str = "sweep.lock";

/// Where a whole line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub index: u64,
    pub offset: u64,
    /// With its end.
    pub bytes: u64,
}

/// A sweep's folder, held until it is dropped.
pub struct Store {
    folder: PathBuf,
    points: File,
    /// The system lets go of it even when the program is killed.
    _lock: File,
}

/// What a folder has of a sweep.
pub struct Found {
    /// By point; `true` where it is finished.
    pub done: Vec<bool>,
    pub failed: u64,
}

/// Takes a sweep's folder for this program alone.
pub fn hold(folder: &Path) -> Result<File, SweepError> {
    let path = folder.join(LOCK);
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(FileError::writing(&path))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(SweepError::InUse { path: folder.into() }),
        // A file system without locks is no reason not to sweep.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

impl Store {
    /// Makes the folder, or opens one in which some points are done. `numbers` are the sweep's points by
    /// id; records that a shorter version of the file made are given their new numbers.
    pub fn open(folder: &Path, text: &str, numbers: &HashMap<String, u64>) -> Result<(Self, Found), SweepError> {
        fs::create_dir_all(folder).map_err(FileError::writing(folder))?;
        let lock = hold(folder)?;
        let path = folder.join(POINTS);
        let open = || OpenOptions::new().create(true).append(true).open(&path).map_err(FileError::writing(&path));
        drop(open()?);
        let (found, moved) = recover(folder, &path, numbers)?;
        if moved {
            renumber(folder, &path, numbers)?;
        }
        write_whole(&folder.join(SWEEP), text.as_bytes())?;
        Ok((Self { folder: folder.into(), points: open()?, _lock: lock }, found))
    }

    /// Adds records by a single write.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), SweepError> {
        Ok(self.points.write_all(lines).map_err(FileError::writing(&self.folder.join(POINTS)))?)
    }

    /// Waits until the disk has what was added.
    pub fn sync(&self) -> Result<(), SweepError> {
        Ok(self.points.sync_all().map_err(FileError::writing(&self.folder.join(POINTS)))?)
    }

    /// Puts the records in the order of their points.
    pub fn sort(&mut self) -> Result<(), SweepError> {
        self.sync()?;
        let path = self.folder.join(POINTS);
        let mut spans = spans(&path)?;
        if spans.is_sorted_by_key(|s| s.index) {
            return Ok(());
        }
        spans.sort_by_key(|s| s.index);
        let spans: Vec<(usize, Span)> = spans.into_iter().map(|s| (0, s)).collect();
        write_spans(&path, std::slice::from_ref(&path), &spans)?;
        self.points = OpenOptions::new().append(true).open(&path).map_err(FileError::writing(&path))?;
        Ok(())
    }
}

/// Drops a torn last line and finds which points are done; also whether some have other numbers now.
fn recover(folder: &Path, path: &Path, numbers: &HashMap<String, u64>) -> Result<(Found, bool), SweepError> {
    let mut lines = Lines::open(path)?;
    let mut found = Found { done: vec![false; numbers.len()], failed: 0 };
    let (mut moved, mut strangers, mut first) = (false, 0, String::new());
    while let Some((record, line)) = lines.next_record()? {
        let Some(&number) = numbers.get(&record.id) else {
            strangers += 1;
            if first.is_empty() {
                first = record.point.to_string();
            }
            continue;
        };
        moved |= number != record.index;
        if std::mem::replace(&mut found.done[number as usize], true) {
            let why = "the same point once more".into();
            return Err(SweepError::Record { path: path.into(), line: line.number, why });
        }
        found.failed += u64::from(record.error.is_some());
    }
    if strangers > 0 {
        return Err(SweepError::OtherSweep { path: folder.into(), strangers, first });
    }
    if lines.torn > 0 {
        let file = OpenOptions::new().write(true).open(path).map_err(FileError::writing(path))?;
        file.set_len(lines.end).and_then(|()| file.sync_all()).map_err(FileError::writing(path))?;
    }
    Ok((found, moved))
}

/// Writes every record anew under its number in the sweep as it is now.
fn renumber(folder: &Path, path: &Path, numbers: &HashMap<String, u64>) -> Result<(), SweepError> {
    let mut lines = Lines::open(path)?;
    replace(path, |draft| {
        while let Some((mut record, _)) = lines.next_record()? {
            record.index = numbers.get(&record.id).copied().unwrap_or(record.index);
            draft.write_all(&record.line()).map_err(FileError::writing(path))?;
        }
        Ok(())
    })?;
    Ok(sync_folder(folder)?)
}

/// Where the lines of a file are, in its order.
pub fn spans(path: &Path) -> Result<Vec<Span>, SweepError> {
    #[derive(serde::Deserialize)]
    struct Head {
        index: u64,
    }
    let mut lines = Lines::open(path)?;
    let mut spans = Vec::new();
    while let Some(line) = lines.next_line()? {
        let head: Head = serde_json::from_slice(&line.bytes).map_err(|e| SweepError::Record {
            path: path.into(),
            line: line.number,
            why: e.to_string(),
        })?;
        spans.push(Span { index: head.index, offset: line.offset, bytes: line.bytes.len() as u64 + 1 });
    }
    Ok(spans)
}

/// Makes `path` of lines of other files, in the given order.
pub fn write_spans(path: &Path, from: &[PathBuf], spans: &[(usize, Span)]) -> Result<(), SweepError> {
    let open = |path: &PathBuf| File::open(path).map_err(FileError::reading(path));
    let mut files = from.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    replace(path, |draft| {
        for (file, span) in spans {
            let fault = FileError::reading(&from[*file]);
            let file = &mut files[*file];
            let mut line = vec![0; span.bytes as usize];
            file.seek(SeekFrom::Start(span.offset)).and_then(|_| file.read_exact(&mut line)).map_err(fault)?;
            draft.write_all(&line).map_err(FileError::writing(path))?;
        }
        Ok(())
    })
}

/// A file written whole or not at all, over what was there.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), SweepError> {
    replace(path, |draft| Ok(draft.write_all(bytes).map_err(FileError::writing(path))?))
}

/// The same, by what writes it.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<(), SweepError>) -> Result<(), SweepError> {
    let fault = FileError::writing(path);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = door::draft(folder).map_err(&fault)?;
    let mut to = BufWriter::new(draft);
    write(&mut to)?;
    let draft = to.into_inner().map_err(|e| fault(e.into_error()))?;
    draft.as_file().sync_all().map_err(&fault)?;
    draft.persist(path).map_err(|e| fault(e.error))?;
    Ok(())
}
