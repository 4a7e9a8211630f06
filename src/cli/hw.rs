//! `trunkline hw list|show|check`.

use super::Failure;
use super::output::Output;
use crate::hw::{HwFile, Kind, library, unit};
use crate::report::render::Section;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

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
    /// The file to check
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
        }
    }
}

impl List {
    fn execute(&self) -> Result<(), Failure> {
        let mut section = Section::new("hardware models", &["kind", "name", "about"]);
        let mut rows = Vec::new();
        for kind in Kind::ALL {
            for name in library::list(kind) {
                let file = library::load(kind, &name)?;
                let about = file.text("about").unwrap_or_default().to_string();
                rows.push(json!({ "kind": kind.name(), "name": name, "about": about }));
                section.row([kind.name().to_string(), name, about]);
            }
        }
        self.output.write(&[section], &json!({ "schema": "trunkline/hw-list/1", "models": rows }), &rows)
    }
}

impl Show {
    fn execute(&self) -> Result<(), Failure> {
        let file = self.find()?;
        let columns = ["figure", "value", "unit", "low", "high", "confidence", "source", "note"];
        let mut section = Section::new(&format!("{} {} ({})", file.kind.name(), file.name, file.origin), &columns);
        let mut rows = Vec::new();
        for (key, figure) in &file.figures {
            let known = figure.value.as_ref();
            let number = |f: fn(&crate::hw::Known) -> f64| known.map_or("unknown".into(), |k| f(k).to_string());
            let confidence = known.map_or("-", |k| k.confidence.name());
            let source = known.and_then(|k| file.sources.get(&k.source)).map_or("-", String::as_str);
            section.row([
                key.clone(),
                number(|k| k.v),
                unit(key).into(),
                number(|k| k.lo),
                number(|k| k.hi),
                confidence.into(),
                known.map_or("-".into(), |k| k.source.clone()),
                figure.note.clone(),
            ]);
            rows.push(json!({
                "figure": key, "value": known.map(|k| k.v), "unit": unit(key), "low": known.map(|k| k.lo),
                "high": known.map(|k| k.hi), "confidence": known.map(|k| k.confidence), "source": source, "note": figure.note,
            }));
        }
        for (key, setting) in &file.settings {
            section.note(format!("{key} = {}", setting_text(setting)));
        }
        file.sources.iter().for_each(|(key, text)| section.note(format!("source {key}: {text}")));
        let settings: serde_json::Map<String, Value> =
            file.settings.iter().map(|(k, v)| (k.clone(), Value::from(setting_text(v)))).collect();
        let json = json!({
            "schema": "trunkline/hw/1", "kind": file.kind.name(), "name": file.name, "settings": settings, "figures": rows,
        });
        self.output.write(&[section], &json, &rows)
    }

    /// A file, or the built-in model of that name, of whatever kind.
    fn find(&self) -> Result<HwFile, Failure> {
        let path = Path::new(&self.model);
        if self.model.ends_with(".toml") || path.exists() {
            return Ok(library::load_any(path)?);
        }
        match Kind::ALL.into_iter().find(|&k| library::list(k).contains(&self.model)) {
            Some(kind) => Ok(library::load(kind, &self.model)?),
            None => {
                let known: Vec<String> = Kind::ALL.into_iter().flat_map(library::list).collect();
                Err(Failure::Failed(format!("no hardware model '{}'; there are {}", self.model, known.join(", "))))
            }
        }
    }
}

fn setting_text(setting: &crate::hw::Setting) -> String {
    match setting {
        crate::hw::Setting::Text(t) => t.clone(),
        crate::hw::Setting::Whole(n) => n.to_string(),
        crate::hw::Setting::Flag(b) => b.to_string(),
    }
}

impl Check {
    fn execute(&self) -> Result<(), Failure> {
        let file = library::load_any(&self.file)?;
        if file.kind == Kind::System {
            // A system is sound if its parts are and can be timed.
            let system = library::system(file.clone(), self.file.parent())?;
            crate::hw::trunk_time::TrunkTime::new(&system.trunk)?;
        }
        let (unused, unknown) = file.loose_ends();
        let title = format!("{} {}: sound", file.kind.name(), file.name);
        let mut section = Section::new(&title, &[]);
        section.note(format!("{} figures, of which {} unknown", file.figures.len(), unknown.len()));
        unknown.iter().for_each(|key| section.note(format!("unknown: {key}")));
        unused.iter().for_each(|key| section.note(format!("source '{key}' is used by no figure")));
        let json = json!({
            "schema": "trunkline/hw-check/1", "kind": file.kind.name(), "name": file.name,
            "figures": file.figures.len(), "unknown": unknown, "unused_sources": unused,
        });
        self.output.write(&[section], &json, std::slice::from_ref(&json))
    }
}
