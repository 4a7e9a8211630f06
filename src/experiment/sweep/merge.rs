//! Shards of one sweep joined into one folder.
//!
//! Refused: folders of different sweeps, a folder in use or with a line that was cut, two records of one
//! point that disagree, a target that has records already.

use super::error::SweepError;
use super::lines::Lines;
use super::record::Record;
use super::source::Source;
use super::store::{self, POINTS, SWEEP, Span, hold, write_spans, write_whole};
use crate::experiment::train::file::FileError;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What came together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    pub points: u64,
    pub failed: u64,
    /// Numbers below the largest that no shard has; what is missing after that, only the sweep can say.
    pub missing: u64,
}

/// Joins the records of `from` in `out`, in the order of their points.
pub fn merge(from: &[PathBuf], out: &Path) -> Result<Merged, SweepError> {
    let refused = |path: &Path, why: String| SweepError::Merge { path: path.into(), why };
    let Some(first) = from.first() else { return Err(refused(out, "name the folders of its shards".into())) };
    if out.join(POINTS).exists() {
        return Err(refused(out, format!("it has a {POINTS} already; give --out another name")));
    }
    let text = Source::read(&first.join(SWEEP))?.text;
    let mut locks = Vec::new();
    let mut all = All::default();
    for (at, folder) in from.iter().enumerate() {
        if Source::read(&folder.join(SWEEP))?.text != text {
            let why = format!("its {SWEEP} is not that of '{}'", first.display());
            return Err(refused(folder, why));
        }
        if from[..at].contains(folder) {
            return Err(refused(folder, "it is named twice".into()));
        }
        locks.push(hold(folder)?);
        all.add(at, folder)?;
    }
    fs::create_dir_all(out).map_err(FileError::writing(out))?;
    locks.push(hold(out)?);
    let spans: Vec<(usize, Span)> = all.spans.values().map(|(_, at, span)| (*at, *span)).collect();
    write_whole(&out.join(SWEEP), text.as_bytes())?;
    let files: Vec<PathBuf> = from.iter().map(|folder| folder.join(POINTS)).collect();
    write_spans(&out.join(POINTS), &files, &spans)?;
    let points = spans.len() as u64;
    let end = all.spans.last_key_value().map_or(0, |(index, _)| index + 1);
    Ok(Merged { points, failed: all.failed, missing: end - points })
}

/// Records of all folders by number: the hash of what each says, and where it is.
#[derive(Default)]
struct All {
    spans: BTreeMap<u64, (String, usize, Span)>,
    failed: u64,
}

impl All {
    fn add(&mut self, at: usize, folder: &Path) -> Result<(), SweepError> {
        let path = folder.join(POINTS);
        let mut lines = Lines::open(&path)?;
        while let Some((record, line)) = lines.next_record()? {
            let says = says(&record);
            let span = Span { index: record.index, offset: line.offset, bytes: line.bytes.len() as u64 + 1 };
            if let Some((other, ..)) = self.spans.get(&record.index) {
                if *other != says {
                    let why = format!("point {} is another one in another folder", record.index);
                    return Err(SweepError::Record { path, line: line.number, why });
                }
                continue;
            }
            self.failed += u64::from(record.error.is_some());
            self.spans.insert(record.index, (says, at, span));
        }
        if lines.torn > 0 {
            let why =
                format!("the last line of its {} was cut: let `trunkline sweep` go on with it first", store::POINTS);
            return Err(SweepError::Merge { path: folder.into(), why });
        }
        Ok(())
    }
}

/// What two records of a point must agree in: everything but what was measured.
fn says(record: &Record) -> String {
    crate::model::sha256_hex(&Record { measured: None, ..record.clone() }.line())
}
