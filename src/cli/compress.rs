//! `trunkline compress`: trained 1x1 adapters as two factors of small rank.

use super::Failure;
use super::measuring::Measuring;
use super::output::{Format, Output};
use super::values;
use crate::adapter::Filters;
use crate::data::Subset;
use crate::experiment::compress::{Measured, compress, measure};
use crate::experiment::eval::EvalError;
use crate::experiment::train::adapter_file::{self, Adapter};
use crate::experiment::trunk::Trunk;
use crate::hw::{System, library};
use crate::report::compress::{Report, Task, sections};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Compress {
    /// The adapters' folders, or runs, of which the best checkpoints are taken
    #[arg(value_name = "ADAPTER", required = true)]
    adapters: Vec<PathBuf>,
    /// Channels between the two factors: N, or c/N of the channels at an adapter's narrower side
    #[arg(long, value_name = "N|c/N")]
    rank: Filters,
    /// One β for all adapters, frozen; each keeps a γ, which `trunkline train --adapter` trains on
    #[arg(long)]
    joint: bool,
    /// The folder to write the adapter to; of several, one folder each in it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The frozen network that they were trained on
    #[arg(long, value_name = "FILE|ZOO", default_value = values::TRAINED_TRUNK, long_help = values::trunk_help())]
    trunk: String,
    /// What to measure accuracy on, before and after: a data set for each adapter, separated by semicolons [default: nothing]
    #[arg(long, value_name = "SPEC[;SPEC…]", value_delimiter = ';', long_help = values::data_help())]
    data: Vec<String>,
    /// The first so many images of each [default: all]
    #[arg(long, value_name = "N", value_parser = values::count)]
    batch: Option<usize>,
    #[command(flatten)]
    measuring: Measuring,
    /// The form of the report
    #[arg(long, value_enum, default_value = "table", value_name = "FORM")]
    format: Format,
}

/// What crosses is the same on every system; nothing here is priced.
const SYSTEM: &str = "asic-h200-pcie";

impl Compress {
    pub fn execute(&self) -> Result<(), Failure> {
        let (has, wants) = (self.data.len(), self.adapters.len());
        if has != 0 && has != wants {
            return Err(Failure::Usage(format!(
                "--data: {has} data sets for {wants} adapters; separate them with ';'"
            )));
        }
        if self.out.exists() {
            return Err(Failure::Failed(format!("--out '{}' is there already", self.out.display())));
        }
        self.measuring.keep_to_threads()?;
        let system = library::load_system(SYSTEM)?;
        let opened = self.adapters.iter().map(|path| Ok(Adapter::open(path).map_err(EvalError::from)?));
        let before = opened.collect::<Result<Vec<_>, Failure>>()?;
        let compressed = compress(&before, self.rank, self.joint)?;
        let names = names(&self.adapters);
        let mut tasks = vec![];
        for (i, (old, new)) in before.iter().zip(&compressed.adapters).enumerate() {
            let trunk = self.measuring.trunk(&self.trunk, old)?;
            let data = self.data.get(i).map(|spec| self.labelled(spec, &trunk, old)).transpose()?;
            let of = |adapter: &Adapter| self.measured(&trunk, adapter, data.as_ref(), &system);
            let (was, is) = (of(old)?, of(new)?);
            let out = if before.len() == 1 { self.out.clone() } else { self.out.join(&names[i]) };
            let data = data.map(|set| set.name);
            let size = compressed.sizes[i];
            tasks.push(Task { name: names[i].clone(), out, data, size, before: was, after: is });
        }
        for (task, adapter) in tasks.iter().zip(&compressed.adapters) {
            write(&task.out, adapter)?;
        }
        let report = Report::new(self.rank, self.joint, compressed.shared, tasks);
        let json = serde_json::to_value(&report)?;
        let output = Output { format: self.format, out: None };
        output.write(&sections(&report), &json, std::slice::from_ref(&json))
    }

    fn labelled(&self, spec: &str, trunk: &Trunk, adapter: &Adapter) -> Result<Subset, Failure> {
        let data = self.measuring.images(spec, self.batch, trunk, adapter)?;
        if !data.is_labelled() {
            return Err(Failure::Usage(format!("data '{spec}' has no labels to compare with")));
        }
        Ok(data)
    }

    fn measured(
        &self,
        trunk: &Trunk,
        adapter: &Adapter,
        data: Option<&Subset>,
        system: &System,
    ) -> Result<Measured, EvalError> {
        measure(trunk, adapter, data, system, &self.measuring.settings(false))
    }
}

/// The adapter's two files in a folder that is made for them.
fn write(folder: &Path, adapter: &Adapter) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::Failed(format!("cannot write '{}': {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let values: Vec<_> = adapter.values.values().cloned().collect();
    adapter_file::write(folder, &adapter.config, &values)?;
    Ok(())
}

/// A name for each adapter: its folder's, with a number where several have it.
fn names(folders: &[PathBuf]) -> Vec<String> {
    let mut all: Vec<String> = vec![];
    for folder in folders {
        let own = folder.file_name().map_or("adapter".into(), |name| name.to_string_lossy().into_owned());
        let mut tried = std::iter::once(own.clone()).chain((2..).map(|n| format!("{own}-{n}")));
        all.extend(tried.find(|name| !all.contains(name)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_one_name_have_names_of_their_own() {
        let folders = ["a/best", "b/best", "best-2", "c"].map(PathBuf::from);
        assert_eq!(names(&folders), ["best", "best-2", "best-2-2", "c"]);
    }
}
