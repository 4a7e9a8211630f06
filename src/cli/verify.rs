//! `trunkline verify MODEL --golden FILE`.

use super::Failure;
use super::output::Output;
use super::values;
use crate::experiment::trunk::Trunk;
use crate::experiment::verify::{Verdict, verify};
use crate::quant::Profile;
use crate::report::render::{Section, grouped};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct Verify {
    /// The model file (.tflite)
    model: PathBuf,
    /// Recorded inputs and outputs (.npz); beside X.golden.npz, X.golden_layers.npz is used too
    #[arg(long, value_name = "FILE")]
    golden: PathBuf,
    /// Use this arithmetic instead of each recorded runtime's own
    #[arg(long, value_name = "PROFILE", value_parser = values::profile, long_help = values::profile_help("Use this arithmetic instead of each recorded runtime's own"))]
    profile: Option<Profile>,
    #[command(flatten)]
    output: Output,
}

impl Verify {
    pub fn execute(&self) -> Result<(), Failure> {
        self.output.check()?;
        let model = Trunk::import(&self.model)?;
        let verdicts = verify(&model, &self.golden, self.profile.as_ref())?;
        let json = serde_json::json!({ "schema": "trunkline/verify/1", "model": model.name, "verdicts": verdicts });
        let rows: Vec<_> = verdicts.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        self.output.write(&[section(&model.name, &verdicts)], &json, &rows)?;
        if verdicts.iter().all(|v| v.differing == 0) { Ok(()) } else { Err(Failure::Mismatch) }
    }
}

fn section(model: &str, verdicts: &[Verdict]) -> Section {
    let columns = ["reference", "profile", "inputs", "layers", "codes compared", "differing"];
    let mut section = Section::new(&format!("verify {model}"), &columns);
    for v in verdicts {
        section.row([
            v.reference.clone(),
            v.profile.clone(),
            v.inputs.to_string(),
            v.layers.to_string(),
            grouped(v.codes),
            grouped(v.differing),
        ]);
        match &v.first {
            None => section.note(format!("{}: every code equals the recorded one", v.reference)),
            Some(d) => section.note(format!(
                "{}: first difference at layer '{}' ({}), input {}, index {}: recorded {}, computed {}",
                v.reference, d.layer, d.array, d.input, d.index, d.recorded, d.computed
            )),
        }
    }
    section
}
