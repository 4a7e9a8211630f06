//! `trunkline pretrain`: a trunk of one's own, trained from random weights and frozen.

use super::Failure;
use super::progress::{Told, interruption};
use super::values;
use crate::data::mixture;
use crate::data::{Dataset, OpenOptions};
use crate::experiment::pretrain::{PretrainJob, PretrainSettings, Pretrained, pretrain};
use crate::experiment::train::run_folder::RunFolder;
use crate::experiment::train::schedule::Schedule;
use crate::experiment::train::session::SessionSettings;
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
    /// How often every image is seen
    #[arg(long, value_name = "N", default_value = "10", value_parser = values::count)]
    epochs: usize,
    /// Images of a step, over which batch norms take their statistics
    #[arg(long, value_name = "N", default_value = "32", value_parser = values::count)]
    batch: usize,
    /// sgd[:momentum=M,nesterov], adam[:beta1=B,beta2=B,epsilon=E] or adamw[:…]
    #[arg(long, value_name = "OPTIMIZER", default_value = "adam", value_parser = values::optimiser)]
    optimizer: String,
    /// Learning rate that the schedule starts from
    #[arg(long, value_name = "RATE", default_value = "0.003", value_parser = values::positive)]
    lr: f64,
    /// How the rate changes: constant, step[:at=F+F+…,gamma=G], cosine[:warmup=F]
    #[arg(long, value_name = "SCHEDULE", default_value = "cosine", long_help = values::schedule_help())]
    schedule: Schedule,
    /// Weight decay
    #[arg(long, value_name = "DECAY", default_value = "0", value_parser = values::weight_decay)]
    weight_decay: String,
    /// Part of the label that is spread over all classes, from 0 to below 1
    #[arg(long, value_name = "F", default_value = "0", value_parser = values::below_one)]
    label_smoothing: f64,
    /// Scale gradients down to this norm where theirs is larger
    #[arg(long, value_name = "NORM", value_parser = values::positive)]
    clip: Option<f64>,
    /// How many training images fix the scales of the frozen trunk
    #[arg(long, value_name = "N", default_value = "128", value_parser = values::count)]
    calibration_images: usize,
    /// Seed of everything random: weights, order of images, procedural images
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::seed)]
    seed: u64,
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
        let trunk = Trunk::open(&self.trunk, Wanted { input: Some(self.input), classes: None, seed: self.seed })?;
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
        Ok(mixture::open(&self.data, &OpenOptions { limit: None, seed: self.seed, size: Some(size) })?)
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
        flag("epochs", &self.epochs);
        flag("batch", &self.batch);
        flag("optimizer", &self.optimizer);
        flag("lr", &self.lr);
        flag("schedule", &self.schedule);
        flag("weight-decay", &self.weight_decay);
        flag("label-smoothing", &self.label_smoothing);
        self.clip.iter().for_each(|norm| flag("clip", norm));
        flag("calibration-images", &self.calibration_images);
        flag("seed", &self.seed);
        flag("device", &self.device);
        line
    }

    fn settings(&self) -> Result<PretrainSettings, Failure> {
        Ok(PretrainSettings {
            session: SessionSettings {
                epochs: self.epochs as u64,
                batch: self.batch,
                seed: self.seed,
                rate: self.lr,
                schedule: self.schedule.clone(),
                save_every: None,
            },
            optimiser: self.optimizer.parse().map_err(Failure::Usage)?,
            weight_decay: self.weight_decay.parse().map_err(Failure::Usage)?,
            label_smoothing: self.label_smoothing as f32,
            clip: self.clip.map(|norm| norm as f32),
            threads: self.threads,
            device: self.device.clone(),
            calibration_images: self.calibration_images,
        })
    }
}
