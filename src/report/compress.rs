//! What compressing adapters saved, and what it cost.

use super::render::{Section, grouped};
use crate::adapter::Filters;
use crate::experiment::compress::{Measured, Size};
use serde::Serialize;
use std::path::PathBuf;

/// Version of the report.
pub const SCHEMA: &str = "trunkline/compress/1";

/// An adapter before and after.
#[derive(Clone, Debug, Serialize)]
pub struct Task {
    pub name: String,
    pub out: PathBuf,
    /// What accuracy was measured on.
    pub data: Option<String>,
    /// Parameters of its 1x1 matrices.
    pub size: Size,
    pub before: Measured,
    pub after: Measured,
}

/// Parameters of all adapters together, shared ones once, four bytes each.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Total {
    pub parameters_before: u64,
    pub parameters_after: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Of the parameters after, those of β that all share.
    pub shared_parameters: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub schema: &'static str,
    pub rank: String,
    pub joint: bool,
    pub total: Total,
    pub tasks: Vec<Task>,
}

impl Report {
    pub fn new(rank: Filters, joint: bool, shared_parameters: u64, tasks: Vec<Task>) -> Self {
        let parameters_before: u64 = tasks.iter().map(|t| t.size.before).sum();
        let whole: u64 = tasks.iter().map(|t| t.size.after).sum();
        let again = shared_parameters * (tasks.len() as u64).saturating_sub(1);
        let parameters_after = whole - again;
        let total = Total {
            parameters_before,
            parameters_after,
            bytes_before: 4 * parameters_before,
            bytes_after: 4 * parameters_after,
            shared_parameters,
        };
        Self { schema: SCHEMA, rank: rank.to_string(), joint, total, tasks }
    }
}

/// A row for each adapter and one for all.
pub fn sections(report: &Report) -> Vec<Section> {
    let columns =
        ["adapter", "parameters", "after", "error", "elements crossing", "after", "accuracy", "after", "written to"];
    let mut section = Section::new(&format!("1x1 adapters at rank {}", report.rank), &columns);
    let percent = |accuracy: Option<f64>| accuracy.map_or("-".into(), |v| format!("{:.2} %", 100.0 * v));
    for task in &report.tasks {
        section.row([
            task.name.clone(),
            grouped(task.size.before),
            grouped(task.size.after),
            format!("{:.2} %", 100.0 * task.size.relative_error),
            grouped(task.before.connections_unfiltered),
            grouped(task.after.connections_unfiltered),
            percent(task.before.accuracy),
            percent(task.after.accuracy),
            task.out.display().to_string(),
        ]);
    }
    let Total { parameters_before, parameters_after, bytes_before, bytes_after, shared_parameters } = report.total;
    section.note(format!(
        "together {} parameters, {} bytes; after {} parameters, {} bytes",
        grouped(parameters_before),
        grouped(bytes_before),
        grouped(parameters_after),
        grouped(bytes_after)
    ));
    if report.joint {
        let shared = grouped(shared_parameters);
        section.note(format!("β is shared and frozen, {shared} parameters; train --adapter DIR trains a task's γ on"));
    }
    vec![section]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_counts_once() {
        let counted = Measured { connections: 1, connections_unfiltered: 1, images: None, accuracy: None, loss: None };
        let size = Size { before: 100, after: 70, relative_error: 0.5 };
        let task = Task { name: "a".into(), out: "a".into(), data: None, size, before: counted, after: counted };
        let report = Report::new(Filters::ChannelsOver(2), true, 40, vec![task.clone(), task.clone(), task]);
        let Total { parameters_before, parameters_after, bytes_after, .. } = report.total;
        assert_eq!((parameters_before, parameters_after, bytes_after), (300, 40 + 3 * 30, 520));
        assert_eq!(report.rank, "c/2");
    }
}
