//! `trunkline pretrain`: a trunk of one's own, trained from random weights and frozen.

use super::Failure;
use super::learning::{Kind, Learning};
use super::progress::{Told, interruption};
use super::values;
use crate::data::mixture;
use crate::data::{Dataset, OpenOptions};
use crate::experiment::pretrain::{PretrainJob, PretrainSettings, Pretrained, pretrain};
use crate::experiment::train::run_folder::RunFolder;
use crate::experiment::trunk::{Trunk, Wanted};
use crate::hw::library;
use crate::model::trunk_file::{TrunkFile, check_place};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Pretrain {
    /// The network of the zoo to train
    #[arg(long, value_name = "ZOO", default_value = "resnet26:width=0.25", long_help = values::trunk_help())]
    trunk: String,
    /// Height and width of its input
    #[arg(long, value_name = "H", default_value = "32", value_parser = values::count)]
    input: usize,
    /// What to train on: a data set with labels; repeat for a mixture, whose classes are those of all sets
    #[arg(long, value_name = "SPEC", default_value = "synth:glyphs", long_help = values::data_help())]
    data: Vec<String>,
    #[command(flatten)]
    learning: Learning,
    /// How many training images fix the scales of the frozen trunk
    #[arg(long, value_name = "N", default_value = "128", value_parser = values::count)]
    calibration_images: usize,
    /// Device that trains: auto, gpu, cpu, or part of a name from `trunkline devices`; hashes are those of cpu
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
    /// Worker threads, 0 for one per core; changes speed, never a result
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::threads)]
    threads: usize,
    /// Say nothing on the way
    #[arg(long)]
    quiet: bool,
    /// The trunk file to write (.safetensors); what goes on is kept beside it in the folder NAME.run,
    /// from which a training that was stopped goes on when it is asked for again
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// Prices the steps for the metrics; changes no value.
const SYSTEM: &str = "asic-h200-pcie";

impl Pretrain {
    pub fn execute(&self) -> Result<(), Failure> {
        if !TrunkFile::is_named_by(&self.out) {
            let out = self.out.display();
            return Err(Failure::Usage(format!("--out '{out}': a trunk file's name ends in .safetensors")));
        }
        check_place(&self.out, self.force)?;
        if self.threads > 0 {
            rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global()?;
        }
        let trunk =
            Trunk::open(&self.trunk, Wanted { input: Some(self.input), classes: None, seed: self.learning.seed })?;
        let shape = trunk.graph.shape(trunk.graph.input);
        let (data, validation) = self.images([shape.h, shape.w])?;
        let (system, settings) = (library::load_system(SYSTEM)?, self.settings()?);
        let job = PretrainJob {
            name: format!("{}-pretrained", trunk.graph.name),
            trunk,
            data,
            validation,
            system: &system,
            data_spec: self.data.join(" + "),
            recipe: self.recipe(),
        };
        let folder = self.folder()?;
        let mut told = Told::new(self.quiet, interruption());
        let done = pretrain(job, &settings, &folder, &mut told)?;
        drop(told);
        self.end(&done, &folder)
    }

    fn images(&self, size: [usize; 2]) -> Result<(Dataset, Option<Dataset>), Failure> {
        Ok(mixture::open(&self.data, &OpenOptions { limit: None, seed: self.learning.seed, size: Some(size) })?)
    }

    fn end(&self, done: &Pretrained, folder: &RunFolder) -> Result<(), Failure> {
        let run = folder.path().display();
        let Some(trunk) = &done.trunk else {
            eprintln!("stopped after step {}; the same command goes on from {run}", done.progress.step);
            return Ok(());
        };
        let file = trunk.to_file()?;
        file.write(&self.out, self.force)?;
        if !self.quiet {
            if let Some(frozen) = &done.frozen {
                let percent = 100.0 * frozen.accuracy;
                eprintln!("frozen to codes: val loss {:.4}  val acc {percent:.2} %", frozen.loss);
            }
            eprintln!("trunk sha256 {}", file.trunk_sha256);
            eprintln!("the trunk is in {}, its training in {run}", self.out.display());
        }
        Ok(())
    }

    /// The folder of this very training, or a new one.
    fn folder(&self) -> Result<RunFolder, Failure> {
        let path = self.out.with_extension("run");
        let arguments = json!({ "schema": "trunkline/pretrain-args/1", "command": self.recipe() });
        if path.exists() {
            let (folder, stored) = RunFolder::reopen(&path)?;
            if stored == arguments {
                return Ok(folder);
            }
        }
        Ok(RunFolder::create(Some(&path), "", &arguments)?)
    }

    /// The command without what changes speed or place only.
    fn recipe(&self) -> String {
        let mut line = format!("trunkline pretrain --trunk {} --input {}", self.trunk, self.input);
        let mut flag = |name: &str, value: &dyn std::fmt::Display| line += &format!(" --{name} {value}");
        self.data.iter().for_each(|spec| flag("data", spec));
        let learning = self.learning.given(Kind::WholeNetwork).into_iter();
        learning.for_each(|(name, value)| value.iter().for_each(|value| flag(name, value)));
        flag("calibration-images", &self.calibration_images);
        flag("seed", &self.learning.seed);
        flag("device", &self.device);
        line
    }

    fn settings(&self) -> Result<PretrainSettings, Failure> {
        let chosen = self.learning.chosen(Kind::WholeNetwork, None)?;
        Ok(PretrainSettings {
            session: chosen.session,
            optimiser: chosen.optimiser,
            weight_decay: chosen.weight_decay,
            label_smoothing: chosen.label_smoothing,
            clip: chosen.clip,
            threads: self.threads,
            device: self.device.clone(),
            calibration_images: self.calibration_images,
        })
    }
}
