//! `trunkline eval`: how an adapter does on data.

use super::Failure;
use super::measuring::Measuring;
use super::output::{self, Output};
use super::values;
use crate::experiment::eval::{EvalJob, eval};
use crate::experiment::train::adapter_file::Adapter;
use crate::hw::library;
use crate::report;
use crate::report::render::{Section, grouped};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Eval {
    /// The frozen network that the adapter was trained on
    #[arg(long, value_name = "FILE|ZOO", default_value = values::TRAINED_TRUNK, long_help = values::trunk_help())]
    trunk: String,
    /// The adapter's folder, or a run, of which the best checkpoint is taken
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    /// What to look at: a data set with labels
    #[arg(long, value_name = "SPEC", default_value = "synth:shapes", long_help = values::data_help())]
    data: String,
    /// The first so many images of it [default: all]
    #[arg(long, value_name = "N", value_parser = values::count)]
    batch: Option<usize>,
    /// Write what every image is taken for: a JSON list of image_id and category_id, as the Visual Decathlon's
    /// server takes them; images need no labels then
    #[arg(long, value_name = "FILE.json")]
    submission: Option<PathBuf>,
    /// Go on without images that do not decode; they are counted and the first are named
    #[arg(long)]
    skip_bad: bool,
    /// Hardware to price it on: a system from `trunkline hw list`, or a .toml file
    #[arg(long, value_name = "FILE|NAME", default_value = "asic-h200-pcie")]
    system: String,
    /// Load an adapter of another trunk or profile all the same
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    measuring: Measuring,
    #[command(flatten)]
    output: Output,
}

impl Eval {
    pub fn execute(&self) -> Result<(), Failure> {
        self.output.check()?;
        self.submission.as_deref().map_or(Ok(()), output::check)?;
        self.measuring.keep_to_threads()?;
        let system = library::load_system(&self.system)?;
        let adapter = Adapter::open(&self.adapter)?;
        let trunk = self.measuring.trunk(&self.trunk, &adapter)?;
        let mut data = self.measuring.images(&self.data, self.batch, &trunk, &adapter)?;
        data.samples.skip_bad |= self.skip_bad;
        if !data.is_labelled() && self.submission.is_none() {
            return Err(Failure::Usage(format!("data '{}' has no labels to compare with", self.data)));
        }
        let settings = self.measuring.settings(self.force);
        let report = eval(EvalJob { trunk, adapter, data, system: &system }, &settings)?;
        let json = serde_json::to_value(&report)?;
        let mut section = Section::new(&report.data, &["images", "loss", "accuracy"]);
        let accuracy = report.accuracy.map_or("-".into(), |accuracy| format!("{:.2} %", 100.0 * accuracy));
        let loss = report.loss.map_or("-".into(), |loss| format!("{loss:.4}"));
        section.row([grouped(report.images), loss, accuracy]);
        if let Some(path) = &self.submission {
            output::write_whole(path, serde_json::to_string(&report.submission)?.as_bytes())?;
            section.note(format!("{} predictions are in {}", grouped(report.submission.len() as u64), path.display()));
        }
        section.note(format!("adapter {}, trunk sha256 {}", report.adapter, report.trunk_sha256));
        report::loading::broken(&report.broken).into_iter().for_each(|line| section.note(line));
        self.output.write(&[section], &json, std::slice::from_ref(&json))
    }
}
