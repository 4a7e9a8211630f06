//! Seeds averaged: one row for the points that differ in nothing else.

use super::error::SweepError;
use super::record::Record;
use std::collections::HashMap;

/// Points that differ in their seed only.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The first of them in the sweep's order: its costs are those of all.
    pub first: Record,
    /// Accuracies of the points that are done, in the sweep's order.
    pub accuracies: Vec<f64>,
    pub failed: u64,
}

/// Mean and spread of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub mean: f64,
    /// Standard deviation of the sample (n - 1); `None` of a single value.
    pub deviation: Option<f64>,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// `None` of no value.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        let deviation = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        (!values.is_empty()).then_some(Self { mean, deviation, least, most })
    }
}

/// Groups of records, in the order in which their first records come.
pub fn groups(records: impl Iterator<Item = Result<Record, SweepError>>) -> Result<Vec<Group>, SweepError> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for record in records {
        let record = record?;
        let at = *known.entry(record.point.without_seed().id()).or_insert(groups.len());
        let (accuracy, failed) = (record.learned.as_ref().map(|l| l.accuracy), record.error.is_some());
        if at == groups.len() {
            groups.push(Group { first: record.clone(), accuracies: vec![], failed: 0 });
        }
        let group = &mut groups[at];
        // A failed point has no costs to show.
        if group.first.error.is_some() && !failed {
            group.first = record;
        }
        group.accuracies.extend(accuracy);
        group.failed += u64::from(failed);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_that_of_a_sample() {
        let spread = Spread::of(&[0.5, 0.7, 0.6]).unwrap();
        assert!((spread.mean - 0.6).abs() < 1e-12 && (spread.deviation.unwrap() - 0.1).abs() < 1e-12);
        assert_eq!((spread.least, spread.most), (0.5, 0.7));
        assert_eq!((Spread::of(&[0.5]).unwrap().deviation, Spread::of(&[])), (None, None));
    }
}
