//! The visual decathlon's score (SPEC 1.7): what a way of adapting is worth over several tasks.
//!
//! A task gives `1000 · (max(0, E_max − E) / E_max)²` for an error `E`, where `E_max` is twice the error of
//! a reference: the reference itself has 250 points a task. Refused are references without an error and
//! methods that leave out a task.

use crate::experiment::train::file::{self, FileError, shown};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Spanned;

/// The points of one task, from accuracies in percent.
pub fn points(reference: f64, accuracy: f64) -> f64 {
    let most = 2.0 * (100.0 - reference);
    let error = 100.0 - accuracy;
    1000.0 * ((most - error).max(0.0) / most).powi(2)
}

/// The score over all tasks, from accuracies in percent.
pub fn score(reference: &[f64], accuracies: &[f64]) -> f64 {
    reference.iter().zip(accuracies).map(|(r, a)| points(*r, *a)).sum()
}

/// References and methods of the user's own, in percent, by task.
#[derive(Clone, Debug, PartialEq)]
pub struct Accuracies {
    pub tasks: Vec<String>,
    pub reference: Vec<f64>,
    /// Accuracies in the order of the tasks.
    pub methods: Vec<(String, Vec<f64>)>,
}

type Named = BTreeMap<String, Spanned<f64>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccuracyFile {
    reference: Spanned<Named>,
    #[serde(default)]
    accuracies: BTreeMap<String, Spanned<Named>>,
}

const MAX_FILE_BYTES: u64 = 1 << 20;

impl Accuracies {
    /// Reads `[reference]` and `[accuracies.NAME]` tables of a TOML file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let bytes = file::read(path, MAX_FILE_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|_| FileError::malformed(path, "file", "is not UTF-8"))?;
        Self::parse(&text).map_err(|(at, why)| {
            let line = text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
            FileError::malformed(path, format!("line {line}"), why)
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let at = |e: &toml::de::Error| e.span().map_or(0, |s| s.start);
        let file: AccuracyFile = toml::from_str(text).map_err(|e| (at(&e), shown(e.message())))?;
        let reference = file.reference.get_ref();
        if reference.is_empty() {
            return Err((file.reference.span().start, "[reference] has no task".into()));
        }
        if file.accuracies.is_empty() {
            return Err((text.len(), "there is no [accuracies.NAME] to score".into()));
        }
        for (task, value) in reference {
            if !(0.0..100.0).contains(value.get_ref()) {
                let why = format!(
                    "{}: a reference is 0 to below 100 percent: one without an error has no score",
                    shown(task)
                );
                return Err((value.span().start, why));
            }
        }
        let tasks: Vec<String> = reference.keys().cloned().collect();
        let mut methods = Vec::new();
        for (name, table) in &file.accuracies {
            methods.push((
                name.clone(),
                of_tasks(&tasks, table).map_err(|(at, why)| (at, format!("{}: {why}", shown(name))))?,
            ));
        }
        Ok(Self { reference: reference.values().map(|v| *v.get_ref()).collect(), tasks, methods })
    }
}

/// A method's accuracies in the order of the tasks.
fn of_tasks(tasks: &[String], table: &Spanned<Named>) -> Result<Vec<f64>, (usize, String)> {
    let named = table.get_ref();
    if let Some((task, value)) = named.iter().find(|(task, _)| !tasks.contains(task)) {
        return Err((value.span().start, format!("[reference] has no '{}'", shown(task))));
    }
    let of_task = |task: &String| {
        let missing = || (table.span().start, format!("'{}' is missing", shown(task)));
        let value = named.get(task).ok_or_else(missing)?;
        let percent = *value.get_ref();
        let right = (0.0..=100.0).contains(&percent);
        right.then_some(percent).ok_or_else(|| (value.span().start, format!("{percent} is no percentage")))
    };
    tasks.iter().map(of_task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_250_points_and_nobody_more_than_1000() {
        assert_eq!(points(80.0, 80.0), 250.0);
        assert_eq!((points(80.0, 100.0), points(80.0, 60.0), points(80.0, 10.0)), (1000.0, 0.0, 0.0));
        assert_eq!(score(&[80.0, 50.0], &[80.0, 50.0]), 500.0);
    }

    #[test]
    fn a_file_has_every_task_of_every_method() {
        let file = "[reference]\nb = 80\na = 50.5\n[accuracies.\"my own\"]\na = 60\nb = 90\n";
        let read = Accuracies::parse(file).unwrap();
        assert_eq!((read.tasks.join(" "), read.reference), ("a b".into(), vec![50.5, 80.0]));
        assert_eq!(read.methods, [("my own".to_string(), vec![60.0, 90.0])]);
        let refused = |from: &str, to: &str| {
            let (at, why) = Accuracies::parse(&file.replace(from, to)).unwrap_err();
            format!("{} {why}", file[..at.min(file.len())].matches('\n').count() + 1)
        };
        assert_eq!(refused("a = 60\n", ""), "4 my own: 'a' is missing");
        assert_eq!(refused("a = 60", "c = 60"), "5 my own: [reference] has no 'c'");
        assert_eq!(refused("b = 90", "b = 101"), "6 my own: 101 is no percentage");
        assert!(refused("b = 80", "b = 100").contains("below 100"));
        assert!(refused("b = 80", "b = \"x\"").starts_with("2 invalid type"));
        assert!(refused("[reference]", "[references]").contains("unknown field"));
    }
}
