//! `trunkline merge`: a trained adapter folded into a new trunk file.

use super::Failure;
use super::measuring::Measuring;
use super::output::{Format, Output};
use super::values;
use crate::experiment::merge::{MergeJob, merge};
use crate::experiment::train::adapter_file::Adapter;
use crate::hw::library;
use crate::model::trunk_file::{TrunkFile, check_place};
use crate::report;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Merge {
    /// The adapter's folder, or a run, of which the best checkpoint is taken
    #[arg(value_name = "ADAPTER")]
    adapter: PathBuf,
    /// The frozen network that the adapter was trained on; it is read, never written
    #[arg(long, value_name = "FILE|ZOO", default_value = values::TRAINED_TRUNK, long_help = values::trunk_help())]
    trunk: String,
    /// The new trunk file (.safetensors), written whole or not at all
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What the network with its adapter and the new trunk are compared on
    #[arg(long, value_name = "SPEC", default_value = "synth:shapes", long_help = values::data_help())]
    data: String,
    /// The first so many images of it [default: all]
    #[arg(long, value_name = "N", value_parser = values::count)]
    batch: Option<usize>,
    /// Images that fix the codes of the classifier, which goes into the trunk too [default: those of --data]
    #[arg(long, value_name = "SPEC", long_help = values::data_help())]
    calibrate: Option<String>,
    /// How many of them, from all over the set
    #[arg(long, value_name = "N", default_value_t = CALIBRATION_IMAGES, value_parser = values::count)]
    calibration_images: usize,
    /// Replace the file if it is there; take an adapter of another trunk or profile all the same
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    measuring: Measuring,
    /// The form of the report
    #[arg(long, value_enum, default_value = "table", value_name = "FORM")]
    format: Format,
}

/// Few maps are coded anew, but their largest values are rare.
const CALIBRATION_IMAGES: usize = 64;

/// What crosses is the same on every system; the comparison is not priced.
const SYSTEM: &str = "asic-h200-pcie";

impl Merge {
    pub fn execute(&self) -> Result<(), Failure> {
        if !TrunkFile::is_named_by(&self.out) {
            let out = self.out.display();
            return Err(Failure::Usage(format!("--out '{out}': a trunk file's name ends in .safetensors")));
        }
        let same = |path: &std::path::Path| path.canonicalize().ok();
        if same(&self.out).is_some_and(|out| same(self.trunk.as_ref()) == Some(out)) {
            return Err(Failure::Usage(format!("--out '{}' is the frozen trunk, which stays", self.out.display())));
        }
        check_place(&self.out, self.force)?;
        self.measuring.keep_to_threads()?;
        let system = library::load_system(SYSTEM)?;
        let adapter = Adapter::open(&self.adapter).map_err(crate::experiment::eval::EvalError::from)?;
        let trunk = self.measuring.trunk(&self.trunk, &adapter)?;
        let open = |spec: &str, limit| self.measuring.images(spec, limit, &trunk, &adapter);
        let data = open(&self.data, self.batch)?;
        let calibration = self.calibrate.as_deref().map(|spec| open(spec, None)).transpose()?;
        let calibration = calibration.unwrap_or_else(|| data.clone());
        let settings = self.measuring.settings(self.force);
        let command = format!("trunkline merge {} --trunk {}", self.adapter.display(), self.trunk);
        let calibration_images = self.calibration_images;
        let job = MergeJob { trunk, adapter, data, calibration, calibration_images, system: &system, command };
        let (merged, report) = merge(job, &settings)?;
        merged.to_file()?.write(&self.out, self.force)?;
        let mut sections = report::merge::sections(&report);
        if let Some(section) = sections.first_mut() {
            section.note(format!("the new trunk is in {}", self.out.display()));
        }
        let json = serde_json::to_value(&report)?;
        let output = Output { format: self.format, out: None };
        output.write(&sections, &json, std::slice::from_ref(&json))
    }
}
