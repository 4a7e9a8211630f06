//! A sweep's records as tables: `points.csv` and `points.parquet`, which hold the same columns, and
//! `summary.csv`, in which seeds are averaged.
//!
//! Columns that were counted, `modelled_…`, `learned_…` and `measured_…` stand apart by name. They compute
//! nothing: every value is one of a record, and one that a record has not is left empty.

mod columns;
mod parquet;
mod summary;

use crate::experiment::sweep::record::Record;
use crate::experiment::sweep::store::{POINTS, replace};
use crate::experiment::sweep::{SweepError, records};
use crate::experiment::train::file::FileError;
use std::path::Path;

/// Writes the tables of a sweep's folder anew from its records.
pub fn write(folder: &Path) -> Result<(), SweepError> {
    let points = folder.join(POINTS);
    let csv = folder.join("points.csv");
    replace(&csv, |to| {
        let mut rows = columns::csv_writer(to, &csv)?;
        for record in records(&points)? {
            rows.row(&record?)?;
        }
        rows.end()
    })?;
    let file = folder.join("points.parquet");
    replace(&file, |to| parquet::write(to, &file, records(&points)?))?;
    summary::write(&folder.join("summary.csv"), records(&points)?)
}

/// A fault of a table's format, which is the file's.
fn fault(path: &Path) -> impl Fn(String) -> SweepError {
    move |why| FileError::Unwritable { path: path.into(), why }.into()
}

type Records<'a> = &'a mut dyn Iterator<Item = Result<Record, SweepError>>;
