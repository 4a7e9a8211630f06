//! The folder of a training as a finding: what it learned from its metrics, what it costs counted anew.
//!
//! Counting anew needs the trunk that it was trained on. Where that is gone or has other classes than the
//! adapter knows, the finding has its accuracy and says why it has nothing else.

use super::detail::request;
use super::{Finding, FindingsError};
use crate::experiment::sweep::{Costs, system_sha256};
use crate::experiment::train::adapter_file::CONFIG;
use crate::experiment::train::file::{self, FileError, shown};
use crate::experiment::train::metrics::JSON_LINES;
use crate::experiment::train::run_folder::{TASKS, checkpoints, plain};
use crate::experiment::trunk::Trunk;
use crate::hw::library;
use crate::plan::tap::TapPrecision;
use crate::plan::tap_format::TapFormat;
use crate::quant::error_code::GradFormat;
use crate::scheme::{self, BatchNormMode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;
use std::str::FromStr;

pub const ARGUMENTS: &str = "args.json";
/// Written by us: a few lines, and what an epoch says for each of very many.
const MAX_SMALL_BYTES: u64 = 1 << 26;
const MAX_METRICS_BYTES: u64 = 1 << 32;

/// What counting needs of an adapter's file; the rest is for those who load it.
#[derive(Deserialize)]
struct Classes {
    classes: Vec<String>,
}

/// The flags of a run.
struct Flags<'a> {
    path: &'a Path,
    all: Map<String, Value>,
}

impl Flags<'_> {
    fn wrong(&self, flag: &str, why: impl ToString) -> FileError {
        FileError::malformed(self.path, format!("arguments.{flag}"), shown(&why.to_string()))
    }
    fn find(&self, flag: &str) -> Result<Option<&str>, FileError> {
        match self.all.get(flag) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(self.wrong(flag, format!("{value} should be a text"))),
        }
    }
    fn text(&self, flag: &str) -> Result<&str, FileError> {
        self.find(flag)?.ok_or_else(|| self.wrong(flag, "is missing; `trunkline train` writes it"))
    }
    fn parsed<T: FromStr<Err: ToString>>(&self, flag: &str) -> Result<Option<T>, FileError> {
        self.find(flag)?.map(|text| text.parse().map_err(|e: T::Err| self.wrong(flag, e.to_string()))).transpose()
    }
}

/// The findings of a run, one for each of its tasks, and what there was.
pub fn read(folder: &Path) -> Result<(Vec<Finding>, String), FindingsError> {
    let path = folder.join(ARGUMENTS);
    let stored: Value = file::from_json(&file::read(&path, MAX_SMALL_BYTES)?, &path)?;
    let all = stored.get("arguments").and_then(Value::as_object).cloned();
    let right = "is no list of flags; `trunkline train` writes one (a training of a sweep is in the sweep's records)";
    let all = all.ok_or_else(|| FileError::malformed(&path, "arguments", right))?;
    let flags = Flags { path: &path, all };
    let Some(tasks) = flags.find("tasks")? else {
        let one = finding(&flags, folder, flags.text("data")?)?;
        return Ok((vec![one], "a training".into()));
    };
    let (mut findings, mut taken) = (Vec::new(), Vec::new());
    for spec in tasks.split(';') {
        let names = std::iter::once(plain(spec)).chain((2..).map(|n| format!("{}-{n}", plain(spec))));
        let name = names.into_iter().find(|name| !taken.contains(name)).unwrap_or_default();
        findings.push(finding(&flags, &folder.join(TASKS).join(&name), spec)?);
        taken.push(name);
    }
    let said = format!("a training of {} tasks", findings.len());
    Ok((findings, said))
}

/// Adds findings; those that differ from another in their seed only are that one's.
pub fn add(all: &mut Vec<Finding>, runs: Vec<Finding>) {
    let costs_alone =
        |f: &Finding| Finding { accuracies: vec![], train_wall_s: vec![], failed: 0, trunk_seed: 0, ..f.clone() };
    for run in runs {
        match all.iter_mut().find(|known| costs_alone(known) == costs_alone(&run)) {
            Some(known) => {
                known.accuracies.extend(run.accuracies);
                known.failed += run.failed;
            }
            None => all.push(run),
        }
    }
}

fn finding(flags: &Flags, folder: &Path, data: &str) -> Result<Finding, FindingsError> {
    let mut finding = Finding {
        trunk: flags.text("trunk")?.into(),
        trunk_input: flags.parsed("input")?,
        trunk_seed: flags.parsed("seed")?.unwrap_or(0),
        scheme: flags.text("scheme")?.into(),
        sites: flags.find("sites")?.map(String::from),
        batch_norm: flags.parsed::<BatchNormMode>("batch-norm")?,
        tap_bits: flags.parsed::<TapFormat>("tap-bits")?.unwrap_or_default(),
        grad: grad(flags)?,
        data: Some(data.into()),
        training: Some(recipe(flags)?),
        system: flags.text("system")?.into(),
        system_sha256: None,
        counted: None,
        modelled: None,
        accuracies: vec![],
        train_wall_s: vec![],
        failed: 0,
        error: None,
    };
    // What is said first is wrong first: the flags, then what was measured.
    let accuracy = last_accuracy(&folder.join(JSON_LINES))?;
    finding.accuracies.extend(accuracy);
    finding.failed = u64::from(accuracy.is_none());
    finding.error = accuracy.is_none().then(|| "it was not measured on validation images".into());
    if let Err(why) = count(&mut finding, folder)? {
        finding.error = Some(why);
    }
    Ok(finding)
}

fn grad(flags: &Flags) -> Result<GradFormat, FileError> {
    let Some(word) = flags.find("grad")? else { return Ok(GradFormat::default()) };
    serde_json::from_value(word.into()).map_err(|e| flags.wrong("grad", e))
}

/// As a sweep says it.
fn recipe(flags: &Flags) -> Result<String, FileError> {
    let of = |flag| flags.find(flag).map(|text| text.unwrap_or("?"));
    let (epochs, batch, optimizer) = (of("epochs")?, of("batch")?, of("optimizer")?);
    Ok(format!("{epochs} epochs, batch {batch}, {optimizer} {}, {}", of("lr")?, of("schedule")?))
}

/// Counts what was trained, or says why it cannot be counted here.
fn count(finding: &mut Finding, folder: &Path) -> Result<Result<(), String>, FindingsError> {
    let path = checkpoints(folder).join("last").join(CONFIG);
    if !path.is_file() {
        return Ok(Err("not counted: it has no checkpoint".into()));
    }
    let config: Classes = file::from_json(&file::read(&path, MAX_SMALL_BYTES)?, &path)?;
    let mut counted = || -> Result<(), String> {
        let trunk = Trunk::open(&finding.trunk, finding.wanted()).map_err(|e| e.to_string())?;
        let trunk = trunk.with_fresh_head(config.classes.len(), finding.trunk_seed).map_err(|e| e.to_string())?;
        let system = library::load_system(&finding.system).map_err(|e| e.to_string())?;
        let placed = scheme::place(&trunk.graph, &request(finding)?).map_err(|e| e.to_string())?;
        let precision = TapPrecision::on(&system, finding.tap_bits);
        let costs = Costs::new(&placed, precision, finding.grad).map_err(|e| e.to_string())?;
        finding.sites = placed.sites.as_ref().map(ToString::to_string);
        finding.batch_norm = Some(placed.batch_norm);
        finding.system_sha256 = Some(system_sha256(&system));
        finding.modelled = Some(costs.on(&system));
        finding.counted = Some(costs.counted);
        Ok(())
    };
    Ok(counted().map_err(|why| format!("not counted: {why}")))
}

/// What the last epoch that was measured came to. A line that was cut off is not there.
fn last_accuracy(path: &Path) -> Result<Option<f64>, FileError> {
    let bytes = file::read(path, MAX_METRICS_BYTES)?;
    let mut accuracy = None;
    let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(&[][..], |end| &bytes[..end]);
    for (i, line) in whole.split(|&b| b == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let wrong = |why: String| FileError::malformed(path, format!("line {}", i + 1), shown(&why));
        let row: Map<String, Value> = serde_json::from_slice(line).map_err(|e| wrong(e.to_string()))?;
        if let Some(value) = row.get("val/acc") {
            let known = value.as_f64().filter(|a| (0.0..=1.0).contains(a));
            accuracy = Some(known.ok_or_else(|| wrong(format!("val/acc {value} is no fraction from 0 to 1")))?);
        }
    }
    Ok(accuracy)
}
