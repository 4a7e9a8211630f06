//! `trunkline hw list|show|check|scalesim`.

use super::Failure;
use super::output::Output;
use super::scalesim::Scalesim;
use crate::hw::check::check;
use crate::hw::library;
use crate::report::render::Section;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
pub struct Hw {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The built-in hardware models
    List(List),
    /// Every figure of a model, with unit, interval, confidence and source
    Show(Show),
    /// Whether a file is a sound hardware model, and what it does not know
    Check(Check),
    /// A SCALE-Sim topology on a systolic array: cycles, utilisation and SRAM accesses by layer
    Scalesim(Scalesim),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct Show {
    /// A name from `trunkline hw list`, or a file
    #[arg(value_name = "NAME|FILE")]
    model: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct Check {
    /// The file to check (.toml)
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Hw {
    pub fn execute(&self) -> Result<(), Failure> {
        match &self.command {
            Command::List(c) => c.execute(),
            Command::Show(c) => c.execute(),
            Command::Check(c) => c.execute(),
            Command::Scalesim(c) => c.execute(),
        }
    }
}

impl List {
    fn execute(&self) -> Result<(), Failure> {
        let mut section = Section::new("hardware models", &["kind", "name", "also as NAME-…"]);
        let entries = library::list();
        for entry in &entries {
            let widths: Vec<String> = library::widths(entry).iter().map(|n| format!("x{n}")).collect();
            section.row([entry.kind.to_string(), entry.name.to_string(), widths.join(" ")]);
        }
        section.note("`trunkline hw show NAME` has every figure with its source");
        let rows: Vec<_> = entries.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        self.output.write(&[section], &json!({ "schema": "trunkline/hw-list/1", "models": rows }), &rows)
    }
}

impl Show {
    fn execute(&self) -> Result<(), Failure> {
        let model = library::find(&self.model)?;
        let sheet = &model.sheet;
        let columns = ["model", "figure", "value", "unit", "low", "high", "confidence", "source", "note"];
        let mut section = Section::new(&format!("{} {} ({})", sheet.kind, sheet.name, sheet.file), &columns);
        let rows = model.rows();
        // Sources are long: the table has their numbers, and they stand below it.
        let mut sources: Vec<&str> = Vec::new();
        for row in &rows {
            let number = |v: Option<f64>| v.map_or("unknown".into(), |v| v.to_string());
            section.row([
                row.model.clone(),
                row.key.clone(),
                number(row.value),
                row.unit.into(),
                number(row.lo),
                number(row.hi),
                row.conf.map_or("-".into(), |c| c.to_string()),
                row.source.as_deref().map_or(String::new(), |text| numbered(&mut sources, text)),
                row.note.clone().unwrap_or_default(),
            ]);
        }
        sheet.facts.iter().for_each(|(key, value)| section.note(format!("{key} = {value}")));
        sources.iter().enumerate().for_each(|(i, text)| section.note(format!("[{}] {text}", i + 1)));
        let figures: Vec<_> = rows.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let json = json!({ "schema": "trunkline/hw/1", "sheet": sheet, "figures": figures });
        self.output.write(&[section], &json, &figures)
    }
}

/// The number of a source, which it gets where it is first named.
fn numbered<'a>(sources: &mut Vec<&'a str>, text: &'a str) -> String {
    let at = sources.iter().position(|known| *known == text).unwrap_or_else(|| {
        sources.push(text);
        sources.len() - 1
    });
    format!("[{}]", at + 1)
}

impl Check {
    fn execute(&self) -> Result<(), Failure> {
        let carried = |entry: &library::Entry| self.file.to_str() == Some(entry.name);
        if !self.file.exists() && library::list().iter().any(carried) {
            let name = self.file.display();
            let why = format!("'{name}' is no file but a built-in model; see it with `trunkline hw show {name}`");
            return Err(Failure::Usage(why));
        }
        let report = check(&self.file)?;
        let mut section = Section::new(&format!("{} {}: sound", report.kind, report.name), &[]);
        section.note(format!("{} figures known, {} unknown", report.known_figures, report.unknown.len()));
        report.unknown.iter().for_each(|key| section.note(format!("unknown: {key}")));
        report.unused_sources.iter().for_each(|key| section.note(format!("source '{key}' is used by no figure")));
        report.notes.iter().for_each(|n| section.note(n.clone()));
        let json = serde_json::to_value(&report)?;
        self.output.write(&[section], &json, std::slice::from_ref(&json))
    }
}
