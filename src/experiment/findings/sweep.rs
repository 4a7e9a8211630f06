//! The points of sweeps as findings.

use super::{Finding, FindingsError};
use crate::experiment::sweep::point::{Point, Training};
use crate::experiment::sweep::record::Record;
use crate::experiment::sweep::store::POINTS;
use crate::experiment::sweep::summary::{Group, groups};
use crate::experiment::sweep::{SweepError, records};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The records that a path means, if it is of a sweep.
pub fn points_of(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.into());
    }
    Some(path.join(POINTS)).filter(|points| points.is_file())
}

/// Points of several sweeps; one that two of them have is one.
#[derive(Default)]
pub struct Points {
    records: Vec<Record>,
    known: HashSet<String>,
}

impl Points {
    /// Adds a file's points and tells how many it has.
    pub fn read(&mut self, path: &Path) -> Result<usize, SweepError> {
        let mut found = 0;
        for record in records(path)? {
            let mut record = record?;
            found += 1;
            if self.known.insert(record.id.clone()) {
                // The largest part of a record, and no report lists it: a drawing derives taps anew.
                record.taps = None;
                self.records.push(record);
            }
        }
        Ok(found)
    }

    pub fn findings(self) -> Result<Vec<Finding>, FindingsError> {
        let mut walls: HashMap<String, Vec<f64>> = HashMap::new();
        let mut errors: HashMap<String, String> = HashMap::new();
        for record in &self.records {
            let id = record.point.without_seed().id();
            if let Some(measured) = &record.measured {
                walls.entry(id.clone()).or_default().push(measured.train_wall_s);
            }
            if let Some(error) = &record.error {
                errors.entry(id).or_insert_with(|| error.clone());
            }
        }
        let groups = groups(self.records.into_iter().map(Ok))?;
        let finding = |group: Group| {
            let id = group.first.point.without_seed().id();
            finding(group, walls.remove(&id).unwrap_or_default(), errors.remove(&id))
        };
        Ok(groups.into_iter().map(finding).collect())
    }
}

fn finding(group: Group, train_wall_s: Vec<f64>, error: Option<String>) -> Finding {
    let Record { point, counted, modelled, .. } = group.first;
    let Point { trunk, scheme, sites, batch_norm, tap_bits, grad, data, training, .. } = point;
    Finding {
        trunk,
        trunk_input: None,
        trunk_seed: 0,
        scheme,
        sites,
        batch_norm: Some(batch_norm),
        tap_bits,
        grad,
        data,
        training: training.map(|t| recipe(&t)),
        system: point.system,
        system_sha256: Some(point.system_sha256),
        counted,
        modelled,
        accuracies: group.accuracies,
        train_wall_s,
        failed: group.failed,
        error,
    }
}

/// What tells two trainings apart, but for their seeds.
fn recipe(t: &Training) -> String {
    let mut text = format!("{} epochs, batch {}, {} {}, {}", t.epochs, t.batch, t.optimizer, t.lr, t.schedule);
    if t.subset < 1.0 {
        text += &format!(", {} % of the images", 100.0 * t.subset);
    }
    if t.noise > 0.0 {
        text += &format!(", {} % wrong labels", 100.0 * t.noise);
    }
    text
}
