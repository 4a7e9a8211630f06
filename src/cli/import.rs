//! `trunkline import`: a model, calibrated and frozen, as our own trunk file.

use super::Failure;
use super::output::{Format, Output};
use super::values;
use crate::experiment::run::CALIBRATION_IMAGES;
use crate::experiment::trunk::{Trunk, Wanted};
use crate::model::trunk_file::{Layer, TrunkFile, check_place};
use crate::model::zoo;
use crate::quant::Profile;
use crate::quantise::Calibration;
use crate::report::render::{Section, grouped};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Import {
    /// The model: a .tflite or .onnx file, a trunk file, or a network of the zoo
    #[arg(value_name = "FILE|ZOO", long_help = values::trunk_help())]
    trunk: String,
    /// The trunk file to write (.safetensors), whole or not at all
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Images that fix the scales of a float model: a data spec as of `run --data`, or random
    /// [default: synth:shapes for the zoo; a float file needs to be told]
    #[arg(long, value_name = "SPEC|random", long_help = values::calibrate_help())]
    calibrate: Option<String>,
    /// How the scales of a float model are chosen from them [default: min-max]
    #[arg(long, value_name = "HOW", long_help = values::calibration_help())]
    calibration: Option<Calibration>,
    /// How many images fix the scales
    #[arg(long, value_name = "N", default_value_t = CALIBRATION_IMAGES, value_parser = values::count)]
    calibration_images: usize,
    /// The trunk's arithmetic [default: what the file's format stands for]
    #[arg(long, value_name = "PROFILE", value_parser = values::profile, long_help = values::profile_help("The trunk's arithmetic [default: what the file's format stands for]"))]
    profile: Option<Profile>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Seed of everything random: weights of the zoo, calibration images
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::seed)]
    seed: u64,
    /// Height and width of the input of a zoo network
    #[arg(long, value_name = "H", value_parser = values::count)]
    input: Option<usize>,
    /// The form of the report
    #[arg(long, value_enum, default_value = "table", value_name = "FORM")]
    format: Format,
}

/// What calibrates a network of the zoo, as it does in `trunkline run`.
const ZOO_CALIBRATION: &str = "synth:shapes";

impl Import {
    pub fn execute(&self) -> Result<(), Failure> {
        if !TrunkFile::is_named_by(&self.out) {
            let out = self.out.display();
            return Err(Failure::Usage(format!("--out '{out}': a trunk file's name ends in .safetensors")));
        }
        check_place(&self.out, self.force)?;
        let trunk = Trunk::open(&self.trunk, Wanted { input: self.input, classes: None, seed: self.seed })?;
        // An arithmetic decides what calibration may choose.
        let mut trunk = trunk.with_profile(self.profile.clone())?;
        self.calibrate(&mut trunk)?;
        let file = trunk.to_file()?;
        file.write(&self.out, self.force)?;
        self.report(&file)
    }

    fn calibrate(&self, trunk: &mut Trunk) -> Result<(), Failure> {
        let is_zoo = zoo::find(self.trunk.split(':').next().unwrap_or_default()).is_some();
        if let (Some(how), true) = (self.calibration, trunk.is_calibrated()) {
            return Err(Failure::Usage(format!("--calibration {how}: '{}' has its scales already", self.trunk)));
        }
        trunk.calibration = self.calibration.unwrap_or_default();
        match (&self.calibrate, trunk.is_calibrated()) {
            (None, true) => Ok(()),
            (Some(_), true) => {
                Err(Failure::Usage(format!("--calibrate: '{}' has its scales already; leave the flag out", self.trunk)))
            }
            (None, false) if !is_zoo => Err(Failure::Usage(format!(
                "'{}' is a float model: say what fixes its scales, as in --calibrate cifar10:DIR, synth:shapes or random",
                self.trunk
            ))),
            (spec, false) => {
                let spec = spec.as_deref().unwrap_or(ZOO_CALIBRATION);
                Ok(trunk.calibrate_on(spec, self.calibration_images, self.seed)?)
            }
        }
    }

    fn report(&self, file: &TrunkFile) -> Result<(), Failure> {
        let bytes = std::fs::metadata(&self.out).map_or(0, |m| m.len());
        let codes = |layer: &Layer| layer.weights.as_ref().map_or(0, |w| w.codes.len() as u64);
        let weights: u64 = file.layers.values().map(codes).sum();
        let out = self.out.display().to_string();
        let json = json!({
            "schema": "trunkline/import/1",
            "trunk": file.name,
            "out": out,
            "bytes": bytes,
            "trunk_sha256": file.trunk_sha256,
            "profile": file.profile.to_string(),
            "provenance": file.provenance,
            "layers": file.layers.len(),
            "weight_codes": weights,
            "notes": file.notes,
        });
        let mut section = Section::new(&format!("{} → {out}", file.name), &["layers", "weight codes", "bytes"]);
        section.row([file.layers.len().to_string(), grouped(weights), grouped(bytes)]);
        section.note(format!("trunk sha256 {}, arithmetic {}", file.trunk_sha256, file.profile));
        file.notes.iter().for_each(|note| section.note(note));
        let output = Output { format: self.format, out: None };
        output.write(&[section], &json, std::slice::from_ref(&json))
    }
}
