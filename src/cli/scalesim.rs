//! `trunkline hw scalesim`: a SCALE-Sim topology on a systolic array.

use super::Failure;
use super::output::{Format, Output};
use super::values;
use crate::hw::scalesim::{Config, Report, Topology, run};
use crate::hw::timing::systolic::{Array, Dataflow, FoldMode};
use crate::report::render::{Section, grouped};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::path::PathBuf;

/// The forms of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Aligned text.
    #[value(alias = "table")]
    Text,
    /// Markdown.
    Md,
    /// A line per layer under SCALE-Sim's column names.
    Csv,
    /// `layers`, and `total_cycles_reported` over all of them.
    Json,
}

#[derive(Args)]
pub struct Scalesim {
    /// Layers in SCALE-Sim's CSV: convolutions, or matrix products under a header with M, N, K
    #[arg(long, value_name = "FILE")]
    topology: PathBuf,
    /// SCALE-Sim's configuration: gives rows, columns and dataflow where no flag does
    #[arg(long, value_name = "FILE.cfg")]
    config: Option<PathBuf>,
    /// Height of the array
    #[arg(long, value_name = "R", value_parser = values::side, required_unless_present = "config")]
    rows: Option<u64>,
    /// Width of the array
    #[arg(long, value_name = "C", value_parser = values::side, required_unless_present = "config")]
    cols: Option<u64>,
    /// What stays in the array: os (outputs), ws (weights), is (inputs)
    #[arg(long, value_name = "os|ws|is", value_parser = values::word::<Dataflow>, required_unless_present = "config")]
    dataflow: Option<Dataflow>,
    /// How folds follow each other: scalesim (as it reports), drain (as RTL takes), pipelined
    #[arg(long, value_name = "MODE", value_parser = values::word::<FoldMode>, default_value = "scalesim")]
    mode: FoldMode,
    /// The form of the report
    #[arg(long, value_enum, default_value = "text", value_name = "FORM")]
    format: Form,
    /// Write the report to a file instead of standard output, whole or not at all
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Scalesim {
    pub fn execute(&self) -> Result<(), Failure> {
        let config = self.config.as_deref().map(Config::open).transpose()?;
        let missing = || Failure::Usage("rows, cols and dataflow are needed, here or in a --config".into());
        let array = Array {
            rows: self.rows.or(config.map(|c| c.rows)).ok_or_else(missing)?,
            cols: self.cols.or(config.map(|c| c.cols)).ok_or_else(missing)?,
            dataflow: self.dataflow.or(config.map(|c| c.dataflow)).ok_or_else(missing)?,
            mode: self.mode,
        };
        let report = run(&Topology::open(&self.topology)?, &array);
        let format = match self.format {
            Form::Text => Format::Table,
            Form::Md => Format::Md,
            Form::Csv => Format::Csv,
            Form::Json => Format::Json,
        };
        let json = serde_json::to_value(&report)?;
        let rows: Vec<Value> = report.layers.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        Output { format, out: self.out.clone() }.write(&[section(&report, &rows)], &json, &rows)
    }
}

fn section(report: &Report, rows: &[Value]) -> Section {
    let columns: Vec<&str> =
        rows.first().and_then(Value::as_object).map_or_else(Vec::new, |row| row.keys().map(String::as_str).collect());
    let title = format!("{} on {}x{} {} ({})", report.topology, report.rows, report.cols, report.dataflow, report.mode);
    let mut section = Section::new(&title, &columns);
    let cell = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(n) if n.is_f64() => format!("{:.6}", n.as_f64().unwrap_or_default()),
        other => other.to_string(),
    };
    for row in rows.iter().filter_map(Value::as_object) {
        section.row(row.values().map(cell).collect::<Vec<_>>());
    }
    section.note(format!("total cycles reported: {}", grouped(report.total_cycles_reported)));
    section
}
