//! The papers' printed tables beside what our counters give.
//!
//! One file per table: it types in what the paper prints, and states the paper's counting
//! conventions as choices of our rules. The computed value always comes out of the counters.

use crate::graph::GraphError;
use crate::model::zoo::ZooError;
use crate::scheme::SchemeError;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

pub mod aswani_table3;
pub mod decathlon_score;
mod modules;
pub mod nettailor;
pub mod nettailor_table3;
pub mod rebuffi_table1;

/// A table, and what a reader should know about its conventions.
#[derive(Clone, Debug)]
pub struct Table {
    pub title: &'static str,
    pub cells: Vec<Cell>,
    pub notes: Vec<&'static str>,
}

#[derive(Debug, Error)]
pub enum PaperError {
    #[error(transparent)]
    Zoo(#[from] ZooError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Scheme(#[from] SchemeError),
}

/// How a computed value relates to the printed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// It rounds to the printed digits.
    Rounds,
    /// It truncates to them.
    Truncates,
    /// Printed inputs that are rounded as they are allow it.
    WithinRounding,
    Differs,
    /// The printed value is no count: it depends on training.
    NotCounted,
    /// Ours, with nothing printed to compare with.
    NotPrinted,
}

/// One cell of a table.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    pub row: String,
    pub column: String,
    pub printed: String,
    pub computed: Value,
    #[serde(rename = "match")]
    pub agreement: Match,
    /// For a count of connections: the same with nothing filtered out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfiltered: Option<u64>,
}

impl Cell {
    /// A printed cell that no counter gives.
    fn not_counted(row: &str, column: &str, printed: &str) -> Self {
        let (row, column, printed) = (row.into(), column.into(), printed.into());
        Self { row, column, printed, computed: Value::Null, agreement: Match::NotCounted, unfiltered: None }
    }

    /// A count that the table does not print.
    fn not_printed(row: &str, column: &str, computed: Value) -> Self {
        let (row, column, printed) = (row.into(), column.into(), String::new());
        Self { row, column, printed, computed, agreement: Match::NotPrinted, unfiltered: None }
    }
}

/// Compares `value`, in the unit of the table, with the printed digits.
fn compare(printed: &str, value: f64) -> Match {
    let decimals = printed.split_once('.').map_or(0, |(_, d)| d.len());
    let unit = 10f64.powi(decimals as i32);
    // A value on a decimal boundary must not fall below it for want of a last bit.
    let scaled = value * unit;
    let nudge = scaled.abs() * 1e-12;
    let shows = |x: f64| format!("{:.decimals$}", x / unit) == printed;
    if shows((scaled + nudge).round()) {
        Match::Rounds
    } else if shows((scaled + nudge).floor()) {
        Match::Truncates
    } else {
        Match::Differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_digits_decide() {
        assert_eq!(compare("10.28", 10.276_87), Match::Rounds);
        assert_eq!(compare("597", 597.568), Match::Truncates);
        assert_eq!(compare("5816", 5814.982), Match::Differs);
        assert_eq!(compare("0", 0.0), Match::Rounds);
        assert_eq!(compare("100.00", 100.0), Match::Rounds);
    }
}
