//! A table of the shared material: named columns, text cells.

use super::ValidateError;
use crate::door;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A table of points is a few hundred KiB; more is a wrong file.
const MOST_BYTES: u64 = 16 << 20;

pub struct Sheet {
    file: PathBuf,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    pub fn read(file: &Path) -> Result<Self, ValidateError> {
        let fault = |why: String| ValidateError::Read { file: file.into(), why };
        let (open, size_b) = door::open_file(file).map_err(|e| fault(e.to_string()))?;
        if size_b > MOST_BYTES {
            return Err(fault(format!("it is larger than {MOST_BYTES} bytes; no table of points is")));
        }
        let mut text = String::new();
        open.take(MOST_BYTES).read_to_string(&mut text).map_err(|e| fault(e.to_string()))?;
        let mut reader = csv::ReaderBuilder::new().flexible(false).trim(csv::Trim::All).from_reader(text.as_bytes());
        let header = reader.headers().map_err(|e| fault(e.to_string()))?.iter().map(ToString::to_string).collect();
        let rows: Result<Vec<Vec<String>>, _> =
            reader.records().map(|row| row.map(|r| r.iter().map(ToString::to_string).collect())).collect();
        Ok(Self { file: file.into(), header, rows: rows.map_err(|e| fault(e.to_string()))? })
    }

    /// Where a column stands.
    pub fn column(&self, column: &'static str) -> Result<usize, ValidateError> {
        let at = self.header.iter().position(|name| name == column);
        at.ok_or_else(|| ValidateError::Column { file: self.file.clone(), column })
    }

    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    pub fn number(&self, row: &[String], column: usize) -> Result<f64, ValidateError> {
        let cell = &row[column];
        let number = cell.parse::<f64>().ok().filter(|x| x.is_finite());
        number.ok_or_else(|| ValidateError::Number {
            file: self.file.clone(),
            line: self.rows.iter().position(|r| r == row).map_or(0, |i| i + 2),
            cell: cell.clone(),
        })
    }
}
