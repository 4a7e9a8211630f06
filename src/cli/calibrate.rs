//! `trunkline calibrate`.

use super::Failure;
use super::output;
use crate::device;
use crate::experiment::calibrate::{Effort, measure, model_name};
use crate::hw::check::check_text;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct Calibrate {
    /// The adapter device to measure: auto, gpu, cpu, or part of a name from `trunkline devices`
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,
    /// The hardware model file to write (.toml)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Name of the model [default: the file's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Calibrate {
    pub fn execute(&self) -> Result<(), Failure> {
        output::check(&self.out)?;
        let mut device = device::open(&self.device)?;
        let found = measure(device.as_mut(), Effort::default())?;
        let stem = self.out.file_stem().and_then(|stem| stem.to_str()).map(ToString::to_string);
        let name = self.name.clone().or(stem).unwrap_or_else(|| model_name(&found.device));
        let text = found.to_toml(&name);
        let report = check_text(&self.out.display().to_string(), &text)?;
        output::write_whole(&self.out, text.as_bytes())?;
        let (name, out) = (&found.device.name, self.out.display());
        output::print(&format!("measured {name} into {out}: {} figures\n", report.known_figures))
    }
}
