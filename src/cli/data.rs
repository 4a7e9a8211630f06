//! `trunkline data`: what is in a data set, or which there are without any file.

use super::Failure;
use super::output::{self, Output};
use super::values;
use crate::data::split::Split;
use crate::data::summary::{SplitSummary, Summary, summary};
use crate::data::{self, OpenOptions, Statistics, sheet, synth};
use crate::report;
use crate::report::render::{Section, grouped};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Data {
    /// The data set, KIND:PATH or only PATH; without one, the procedural families are listed
    #[arg(value_name = "SPEC", long_help = values::data_help())]
    spec: Option<String>,
    /// Write a contact sheet: the first images of every class
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// The split of the contact sheet [default: the spec's, or the first that has images]
    #[arg(long, value_name = "SPLIT", value_parser = values::word::<Split>)]
    split: Option<Split>,
    /// Go on without images that do not decode; they are counted and the first are named
    #[arg(long)]
    skip_bad: bool,
    /// Seed of procedural images whose spec has none
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::seed)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

impl Data {
    pub fn execute(&self) -> Result<(), Failure> {
        self.output.check()?;
        let Some(spec) = &self.spec else { return self.list() };
        if let Some(path) = &self.sheet {
            output::check(path)?;
        }
        let mut set = data::catalogue(spec, &OpenOptions { seed: self.seed, ..OpenOptions::default() })?;
        if self.skip_bad {
            set.skip_bad(true);
        }
        let summary = summary(&set)?;
        if let Some(path) = &self.sheet {
            let split = self.split.unwrap_or(set.first_split());
            output::write_whole(path, &sheet::png(&set[split], &mut Default::default())?)?;
        }
        let mut json = serde_json::to_value(&summary)?;
        json["schema"] = "trunkline/data/1".into();
        json["spec"] = spec.as_str().into();
        self.output.write(&sections(&summary), &json, std::slice::from_ref(&json))
    }

    fn list(&self) -> Result<(), Failure> {
        let mut section = Section::new("procedural families", &["spec", "channels", "neighbour %", "what"]);
        let mut rows = vec![];
        for family in synth::FAMILIES {
            let (spec, colour) = (format!("synth:{}", family.name), if family.channels == 1 { "grey" } else { "RGB" });
            section.row([spec.as_str(), colour, &family.neighbour_percent.to_string(), family.about]);
            rows.push(json!({
                "spec": spec,
                "channels": family.channels,
                "neighbour_percent": family.neighbour_percent,
                "about": family.about,
                "classes": family.classes,
            }));
        }
        section.note(
            "ten classes each; neighbour %: test images whose nearest of 1,000 training images is of their class",
        );
        section.note("`trunkline data --help` lists the other kinds of data");
        let json = json!({ "schema": "trunkline/data-list/1", "families": rows });
        self.output.write(&[section], &json, &rows)
    }
}

fn sections(summary: &Summary) -> Vec<Section> {
    let columns = ["split", "images", "per class", "without label", "height", "width", "grey"];
    let mut section = Section::new(&format!("{}: {} classes", summary.name, summary.classes.len()), &columns);
    for split in &summary.splits {
        section.row(row(split));
    }
    if let Some(statistics) = &summary.statistics {
        section.note(told("mean and deviation by channel", statistics));
    }
    if let Some(published) = &summary.published {
        section.note(told("published", published));
    }
    section.note(format!("classes: {}", few(&summary.classes)));
    report::loading::broken(&summary.broken).into_iter().for_each(|line| section.note(line));
    vec![section]
}

fn row(split: &SplitSummary) -> [String; 7] {
    let range = |range: Option<[usize; 2]>| match range {
        Some([a, b]) if a == b => a.to_string(),
        Some([a, b]) => format!("{a} to {b}"),
        None => "-".into(),
    };
    let least_most = split.per_class.iter().min().zip(split.per_class.iter().max());
    [
        split.split.to_string(),
        grouped(split.images as u64),
        range(least_most.map(|(&a, &b)| [a, b])),
        grouped(split.unlabelled as u64),
        range(split.height),
        range(split.width),
        grouped(split.grey as u64),
    ]
}

fn told(what: &str, statistics: &Statistics) -> String {
    let three = |values: [f32; 3]| values.map(|v| format!("{v:.4}")).join(" ");
    format!("{what}: {} / {}", three(statistics.mean), three(statistics.std))
}

/// As many names as are read at a glance.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, …") } else { shown }
}
