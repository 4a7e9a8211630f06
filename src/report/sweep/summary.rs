//! `summary.csv`: points that differ in their seed only, averaged, with what they cost.

use super::columns::{COSTS, POINT};
use super::fault;
use crate::experiment::sweep::SweepError;
use crate::experiment::sweep::record::Record;
use crate::experiment::sweep::store::replace;
use crate::experiment::sweep::summary::{Group, Spread, groups};
use std::path::Path;

const SPREAD: [&str; 6] = ["seeds", "failed", "accuracy_mean", "accuracy_deviation", "accuracy_least", "accuracy_most"];

pub fn write(path: &Path, records: impl Iterator<Item = Result<Record, SweepError>>) -> Result<(), SweepError> {
    let groups = groups(records)?;
    let told = |e: csv::Error| fault(path)(e.to_string());
    replace(path, |to| {
        let mut writer = csv::Writer::from_writer(to);
        let names = POINT.iter().map(|c| c.name).chain(SPREAD).chain(COSTS.iter().map(|c| c.name));
        writer.write_record(names).map_err(told)?;
        for group in &groups {
            let cells = |columns: &'static [super::columns::Column]| columns.iter().map(|c| c.text(&group.first));
            writer.write_record(cells(POINT).chain(spread(group)).chain(cells(COSTS))).map_err(told)?;
        }
        writer.flush().map_err(|e| fault(path)(e.to_string()))
    })
}

fn spread(group: &Group) -> [String; 6] {
    let spread = Spread::of(&group.accuracies);
    let of = |f: fn(Spread) -> Option<f64>| spread.and_then(f).map_or(String::new(), |x| x.to_string());
    [
        group.accuracies.len().to_string(),
        group.failed.to_string(),
        of(|s| Some(s.mean)),
        of(|s| s.deviation),
        of(|s| Some(s.least)),
        of(|s| Some(s.most)),
    ]
}
