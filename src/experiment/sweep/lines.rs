//! `points.jsonl` line by line: a line is whole or not there.

use super::error::SweepError;
use super::record::Record;
use crate::door::open_file;
use crate::experiment::train::file::{FileError, shown};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A record with all its taps is far below this.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// A whole line and where it is.
pub struct Line {
    /// Without its end.
    pub bytes: Vec<u8>,
    /// From 1.
    pub number: u64,
    pub offset: u64,
}

/// Reads whole lines, then says where the last one ended.
pub struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    number: u64,
    /// Where the whole lines read so far end.
    pub end: u64,
    /// Bytes after the last whole line, of a write that was cut.
    pub torn: u64,
}

impl Lines {
    pub fn open(path: &Path) -> Result<Self, SweepError> {
        let (file, _) = open_file(path).map_err(FileError::reading(path))?;
        Ok(Self { path: path.into(), file: BufReader::new(file), number: 0, end: 0, torn: 0 })
    }

    /// The next whole line; nothing at the end, even if there is a torn one.
    pub fn next_line(&mut self) -> Result<Option<Line>, SweepError> {
        let mut bytes = Vec::new();
        let mut limited = (&mut self.file).take(MAX_LINE_BYTES);
        let read = limited.read_until(b'\n', &mut bytes).map_err(FileError::reading(&self.path))? as u64;
        if bytes.pop_if(|last| *last == b'\n').is_none() {
            if read == MAX_LINE_BYTES {
                let why = format!("has more than {MAX_LINE_BYTES} bytes; no record is that long");
                return Err(SweepError::Record { path: self.path.clone(), line: self.number + 1, why });
            }
            self.torn = read;
            return Ok(None);
        }
        let offset = self.end;
        self.number += 1;
        self.end += read;
        Ok(Some(Line { bytes, number: self.number, offset }))
    }

    /// The next record.
    pub fn next_record(&mut self) -> Result<Option<(Record, Line)>, SweepError> {
        let Some(line) = self.next_line()? else { return Ok(None) };
        let record = Record::parse(&line.bytes).map_err(|why| SweepError::Record {
            path: self.path.clone(),
            line: line.number,
            why: shown(&why),
        })?;
        Ok(Some((record, line)))
    }
}

/// All whole records of a file, one after another.
pub fn records(path: &Path) -> Result<impl Iterator<Item = Result<Record, SweepError>>, SweepError> {
    let mut lines = Lines::open(path)?;
    Ok(std::iter::from_fn(move || lines.next_record().transpose().map(|r| r.map(|(record, _)| record))))
}
