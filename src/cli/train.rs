//! `trunkline train`: adapters trained through the frozen trunk, in a folder of their own.

use super::Failure;
use super::progress::{Told, interruption};
use super::values;
use crate::data::{self, Dataset, OpenOptions};
use crate::experiment::train::run_folder::RunFolder;
use crate::experiment::train::schedule::Schedule;
use crate::experiment::train::session::SessionSettings;
use crate::experiment::train::{TrainJob, TrainSettings, learning_device, train};
use crate::experiment::trunk::{Trunk, Wanted};
use crate::hw::{System, library};
use crate::plan::tap_format::TapFormat;
use crate::quant::Profile;
use crate::quant::error_code::GradFormat;
use crate::quantise::Calibration;
use crate::report;
use crate::scheme::{self, BatchNormMode, SchemeSpec, Sites};
use crate::trunk::backward::{ErrorFormat, ErrorRule, ExponentMode};
use clap::{Args, Parser, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Instant;

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Train {
    #[command(flatten)]
    flags: Flags,
    /// Go on with the run in this folder, under the flags that it was begun with
    #[arg(long, value_name = "RUN", conflicts_with_all = ["Flags", "out"])]
    resume: Option<PathBuf>,
    /// The folder of the run, RUN-2 and so on if it is taken [default: runs/TRUNK-SCHEME-DATA]
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Worker threads, 0 for one per core; changes speed, never a result
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::threads)]
    threads: usize,
    /// Say nothing on the way
    #[arg(long)]
    quiet: bool,
    /// Also report measured wall time, which is not reproducible
    #[arg(long)]
    measured: bool,
}

/// What makes a training that training: kept in the run's `args.json`.
#[derive(Args)]
struct Flags {
    /// The frozen network: a .tflite or .onnx file, a trunk file, one that was trained here, or one of the zoo
    #[arg(long, value_name = "FILE|ZOO", default_value = values::TRAINED_TRUNK, long_help = values::trunk_help())]
    trunk: String,
    /// How to adapt it: NAME[:key=value,…]
    #[arg(long, value_name = "SCHEME", default_value = "parallel", long_help = values::scheme_help())]
    scheme: SchemeSpec,
    /// Where the adapters sit [default: where the scheme's paper has them]
    #[arg(long, value_name = "SITES", long_help = values::sites_help())]
    sites: Option<Sites>,
    /// Batch norm per task: frozen (in silicon), registers (loadable) or adapter-device [default: what the scheme's paper does]
    #[arg(long, value_name = "MODE")]
    batch_norm: Option<BatchNormMode>,
    /// What to learn: a data set with labels
    #[arg(long, value_name = "SPEC", default_value = "synth:shapes", long_help = values::data_help())]
    data: String,
    /// What to measure it on after every epoch [default: of a procedural set, 200 images of another seed]
    #[arg(long, value_name = "SPEC", long_help = values::data_help())]
    val: Option<String>,
    /// How often every image is seen
    #[arg(long, value_name = "N", default_value = "10", value_parser = values::count)]
    epochs: usize,
    /// Images of a step; the last step of an epoch takes what is left
    #[arg(long, value_name = "N", default_value = "32", value_parser = values::count)]
    batch: usize,
    /// Images handled at a time; changes speed and memory, never a result (a whole batch where batch norms go by its statistics)
    #[arg(long, value_name = "N", default_value = "8", value_parser = values::count)]
    micro_batch: usize,
    /// sgd[:momentum=M,nesterov], adam[:beta1=B,beta2=B,epsilon=E] or adamw[:…]
    #[arg(long, value_name = "OPTIMIZER", default_value = "sgd", value_parser = values::optimiser)]
    optimizer: String,
    /// Learning rate that the schedule starts from [default: 0.02 for sgd, 0.001 for others]
    #[arg(long, value_name = "RATE", value_parser = values::positive)]
    lr: Option<f64>,
    /// How the rate changes: constant, step[:at=F+F+…,gamma=G], cosine[:warmup=F]
    #[arg(long, value_name = "SCHEDULE", default_value_t = Schedule::Constant, long_help = values::schedule_help())]
    schedule: Schedule,
    /// Weight decay: D, or D,adapters=D[,sticky] with another one for adapters' weights
    #[arg(long, value_name = "DECAY", default_value = "0", value_parser = values::weight_decay)]
    weight_decay: String,
    /// Part of the label that is spread over all classes, from 0 to below 1
    #[arg(long, value_name = "F", default_value = "0", value_parser = values::below_one)]
    label_smoothing: f64,
    /// Scale gradients down to this norm where theirs is larger
    #[arg(long, value_name = "NORM", value_parser = values::positive)]
    clip: Option<f64>,
    /// Form of errors in the trunk and on the bus: f32, int16, int12, int8
    #[arg(long, value_name = "FORM", default_value = "int16")]
    grad: GradFormat,
    /// How bits of errors are dropped
    #[arg(long, value_name = "R", default_value = "nearest-even", value_enum)]
    grad_rounding: GradRounding,
    /// What fixes the exponent of an image's errors: dynamic (itself), delayed (the step before)
    #[arg(long, value_name = "E", default_value = "dynamic", value_parser = values::word::<ExponentMode>)]
    grad_exponent: ExponentMode,
    /// How values enter the trunk: as codes of 8 or 16 bits (of 16 only into accumulators; 8 are too coarse there to
    /// learn by small steps), or as f16 or f32 that it rounds
    #[arg(long, value_name = "FORMAT", default_value = "16")]
    tap_bits: TapFormat,
    /// Adapter device: auto, gpu, cpu, or part of a name from `trunkline devices`
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Hardware to price it on: a system from `trunkline hw list`, or a .toml file
    #[arg(long, value_name = "FILE|NAME", default_value = "asic-h200-pcie")]
    system: String,
    /// How the scales of a float network are chosen: min-max, percentile[:P], mse
    #[arg(long, value_name = "METHOD", long_help = values::calibration_help())]
    calibration: Option<Calibration>,
    /// Arithmetic of the trunk [default: the file format's own, tflite-ref for the zoo]
    #[arg(long, value_name = "PROFILE", value_parser = values::profile, long_help = values::profile_help("Arithmetic of the trunk [default: the file format's own, tflite-ref for the zoo]"))]
    profile: Option<Profile>,
    /// Height and width of the input of a zoo network
    #[arg(long, value_name = "H", value_parser = values::count)]
    input: Option<usize>,
    /// Also save after every so many steps, not only after every epoch
    #[arg(long, value_name = "STEPS", value_parser = values::count)]
    save_every: Option<usize>,
    /// Seed of everything random: fresh adapters and heads, order of images, zoo weights, procedural images
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::seed)]
    seed: u64,
}

/// How bits of errors are dropped.
#[derive(Clone, Copy, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum GradRounding {
    /// To the nearest, ties to even.
    NearestEven,
    /// Up or down by chance, which the seed fixes.
    Stochastic,
    /// The upper half of the dropped bits is compared with the lower.
    PseudoStochastic,
}

impl GradRounding {
    fn rule(self, seed: u64) -> ErrorRule {
        match self {
            Self::NearestEven => ErrorRule::NearestEven,
            Self::Stochastic => ErrorRule::Stochastic { seed },
            Self::PseudoStochastic => ErrorRule::PseudoStochastic,
        }
    }
}

/// Reads the flags of `args.json` as the command line does.
#[derive(Parser)]
#[command(allow_negative_numbers = true, no_binary_name = true)]
struct Stored {
    #[command(flatten)]
    flags: Flags,
}

/// Images, from all over the set, that fix the scales of a float trunk: adapters will move its maps
/// about, so more of them than a run takes.
const CALIBRATION_IMAGES: usize = 64;

/// Images that measure a training on a procedural set.
const SYNTHETIC_VALIDATION: usize = 200;

impl Train {
    pub fn execute(&self) -> Result<(), Failure> {
        if self.threads > 0 {
            // Decoding and calibration keep to the number too.
            rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global()?;
        }
        let Some(run) = &self.resume else {
            let system = library::load_system(&self.flags.system)?;
            // What fails quickly goes before there is a folder.
            learning_device(&self.flags.device)?;
            let job = self.flags.job(&system)?;
            let name = format!("{}-{}-{}", self.flags.trunk, self.flags.scheme, self.flags.data);
            let folder = RunFolder::create(self.out.as_deref(), &name, &self.flags.stored())?;
            return self.train(&self.flags, job, &folder);
        };
        let (folder, stored) = RunFolder::reopen(run)?;
        let refused = |why| Failure::Failed(format!("{}: {why}", run.join("args.json").display()));
        let flags = Flags::from_stored(&stored).map_err(refused)?;
        let system = library::load_system(&flags.system)?;
        let job = flags.job(&system)?;
        self.train(&flags, job, &folder)
    }

    fn train(&self, flags: &Flags, job: TrainJob, folder: &RunFolder) -> Result<(), Failure> {
        let settings = flags.settings(self.threads)?;
        let mut told = Told::new(self.quiet, interruption());
        let started = Instant::now();
        let report = train(job, &settings, folder, &mut told)?;
        let images = told.images();
        drop(told);
        let sections = report::training::step(&report.step);
        let mut json = serde_json::to_value(&report.step)?;
        if self.measured {
            // Of this sitting, validation included.
            let wall_s = started.elapsed().as_secs_f64();
            let images_per_s = images as f64 / wall_s.max(1e-9);
            json["measured"] = json!({ "images": images, "wall_s": wall_s, "images_per_s": images_per_s });
            eprintln!("measured: {images} images in {wall_s:.2} s, {images_per_s:.1} images/s");
        }
        let mut json = serde_json::to_string_pretty(&json)?;
        json.push('\n');
        folder.write("report.json", json.as_bytes())?;
        folder.write("report.md", report::render::markdown(&sections).as_bytes())?;
        let run = folder.path().display();
        if report.finished.stopped {
            let step = report.finished.progress.step;
            eprintln!("stopped after step {step}; go on with `trunkline train --resume {run}`");
        } else if !self.quiet {
            eprintln!("the run is in {run}");
        }
        Ok(())
    }
}

impl Flags {
    /// Every flag that has a value, as it would be written.
    fn given(&self) -> Vec<(&'static str, String)> {
        fn text<T: ToString>(value: &Option<T>) -> Option<String> {
            value.as_ref().map(T::to_string)
        }
        // A word of a closed list is written as it is serialised.
        fn word<T: serde::Serialize>(value: &T) -> Option<String> {
            serde_json::to_value(value).ok().and_then(|v| v.as_str().map(String::from))
        }
        let all = [
            ("trunk", Some(self.trunk.clone())),
            ("scheme", Some(self.scheme.to_string())),
            ("sites", text(&self.sites)),
            ("batch-norm", self.batch_norm.as_ref().and_then(word)),
            ("data", Some(self.data.clone())),
            ("val", self.val.clone()),
            ("epochs", Some(self.epochs.to_string())),
            ("batch", Some(self.batch.to_string())),
            ("micro-batch", Some(self.micro_batch.to_string())),
            ("optimizer", Some(self.optimizer.clone())),
            ("lr", Some(self.rate().to_string())),
            ("schedule", Some(self.schedule.to_string())),
            ("weight-decay", Some(self.weight_decay.clone())),
            ("label-smoothing", Some(self.label_smoothing.to_string())),
            ("clip", text(&self.clip)),
            ("grad", word(&self.grad)),
            ("grad-rounding", word(&self.grad_rounding)),
            ("grad-exponent", word(&self.grad_exponent)),
            ("tap-bits", Some(self.tap_bits.to_string())),
            ("device", Some(self.device.clone())),
            ("system", Some(self.system.clone())),
            ("calibration", text(&self.calibration)),
            ("profile", text(&self.profile)),
            ("input", text(&self.input)),
            ("save-every", text(&self.save_every)),
            ("seed", Some(self.seed.to_string())),
        ];
        all.into_iter().filter_map(|(flag, value)| Some((flag, value?))).collect()
    }

    fn stored(&self) -> Value {
        let arguments: Map<String, Value> = self.given().into_iter().map(|(f, v)| (f.into(), v.into())).collect();
        json!({ "schema": "trunkline/train-args/1", "arguments": arguments })
    }

    fn from_stored(stored: &Value) -> Result<Self, String> {
        let arguments = stored.get("arguments").and_then(Value::as_object).ok_or("has no 'arguments'")?;
        let written = |(flag, value): (&String, &Value)| {
            let value = value.as_str().ok_or_else(|| format!("argument '{flag}' should be a text"))?;
            Ok(format!("--{flag}={value}"))
        };
        let written = arguments.iter().map(written).collect::<Result<Vec<_>, String>>()?;
        let refused = |e: clap::Error| e.render().to_string().lines().next().unwrap_or_default().to_string();
        Ok(Stored::try_parse_from(written).map_err(refused)?.flags)
    }

    /// What an adapter's file says made it: nothing that changes speed only, or when it saves.
    fn command(&self) -> String {
        let makes = |flag: &str| !["micro-batch", "save-every"].contains(&flag);
        let given = self.given().into_iter().filter(|(flag, _)| makes(flag));
        given.fold("trunkline train".into(), |line, (flag, value)| format!("{line} --{flag} {value}"))
    }

    fn rate(&self) -> f64 {
        self.lr.unwrap_or(if self.optimizer.starts_with("sgd") { 0.02 } else { 0.001 })
    }

    fn settings(&self, threads: usize) -> Result<TrainSettings, Failure> {
        Ok(TrainSettings {
            session: SessionSettings {
                epochs: self.epochs as u64,
                batch: self.batch,
                seed: self.seed,
                rate: self.rate(),
                schedule: self.schedule.clone(),
                save_every: self.save_every.map(|n| n as u64),
            },
            optimiser: self.optimizer.parse().map_err(Failure::Usage)?,
            weight_decay: self.weight_decay.parse().map_err(Failure::Usage)?,
            label_smoothing: self.label_smoothing as f32,
            clip: self.clip.map(|norm| norm as f32),
            errors: ErrorFormat {
                format: self.grad,
                rule: self.grad_rounding.rule(self.seed),
                exponent: self.grad_exponent,
            },
            tap_in_bits: self.tap_bits,
            micro_batch: self.micro_batch,
            threads,
            device: self.device.clone(),
        })
    }

    fn job<'a>(&self, system: &'a System) -> Result<TrainJob<'a>, Failure> {
        // The trunk's input size decides how images come; their classes decide its head.
        let bare = Trunk::open(&self.trunk, Wanted { input: self.input, classes: None, seed: self.seed })?;
        let shape = bare.graph.shape(bare.graph.input);
        let data = self.labelled(&self.data, None, self.seed, [shape.h, shape.w])?;
        let validation = self.validation([shape.h, shape.w])?;
        // A task of its own: whatever the trunk's classifier knew is not asked for.
        let trunk = bare.with_fresh_head(data.classes.len(), self.seed)?;
        let mut trunk = trunk.with_profile(self.profile.clone())?;
        if let (Some(how), true) = (self.calibration, trunk.is_calibrated()) {
            return Err(Failure::Usage(format!("--calibration {how}: '{}' comes with its own scales", self.trunk)));
        }
        trunk.calibration = self.calibration.unwrap_or_default();
        if !trunk.is_calibrated() {
            trunk.calibrate_over(&self.data, CALIBRATION_IMAGES, self.seed)?;
        }
        let request = scheme::Request {
            scheme: self.scheme.clone(),
            sites: self.sites.clone(),
            batch_norm: self.batch_norm,
            seed: self.seed,
        };
        Ok(TrainJob { trunk, request, data, validation, system, command: self.command() })
    }

    fn validation(&self, size: [usize; 2]) -> Result<Option<Dataset>, Failure> {
        let (spec, limit, seed) = match &self.val {
            Some(spec) => (spec, None, self.seed),
            // A spec that has a seed would give the training images again.
            None if self.data.starts_with("synth:")
                && !self.data.contains("seed=")
                && !self.data.contains("count=") =>
            {
                (&self.data, Some(SYNTHETIC_VALIDATION), self.seed.wrapping_add(1))
            }
            None => return Ok(None),
        };
        self.labelled(spec, limit, seed, size).map(Some)
    }

    fn labelled(&self, spec: &str, limit: Option<usize>, seed: u64, size: [usize; 2]) -> Result<Dataset, Failure> {
        let set = data::open(spec, &OpenOptions { limit, seed, size: Some(size) })?;
        if set.labels.is_none() {
            return Err(Failure::Usage(format!("data '{spec}' has no labels to learn from")));
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &[&str]) -> Flags {
        Stored::try_parse_from(line).unwrap().flags
    }

    #[test]
    fn what_is_stored_comes_back() {
        let lines: [&[&str]; 2] = [
            &[],
            &[
                "--trunk=resnet8",
                "--sites=early",
                "--batch-norm=registers",
                "--val=synth:gratings",
                "--optimizer=adam",
                "--schedule=cosine:warmup=0.1",
                "--clip=0.5",
                "--grad=int8",
                "--grad-rounding=stochastic",
                "--calibration=mse",
                "--profile=gemmini",
                "--input=64",
                "--save-every=7",
                "--seed=18446744073709551615",
            ],
        ];
        for line in lines {
            let flags = flags(line);
            let back = Flags::from_stored(&flags.stored()).unwrap();
            assert_eq!(back.given(), flags.given());
            assert!(line.iter().all(|flag| flags.given().iter().any(|(f, v)| format!("--{f}={v}") == **flag)));
        }
        assert_eq!((flags(&[]).rate(), flags(&["--optimizer=adamw"]).rate()), (0.02, 0.001));
    }

    #[test]
    fn a_changed_args_file_is_refused() {
        let refusal = |stored: Value| Flags::from_stored(&stored).err().unwrap();
        assert!(refusal(json!([])).contains("arguments"));
        assert!(refusal(json!({"arguments": {"lr": 0.1}})).contains("should be a text"));
        assert!(refusal(json!({"arguments": {"lr": "-1"}})).contains("-1"));
        assert!(refusal(json!({"arguments": {"resume": "x"}})).contains("--resume"));
    }

    #[test]
    fn an_adapter_does_not_say_how_it_was_hurried() {
        let [a, b] = [&["--micro-batch=2", "--save-every=3"][..], &[]].map(|line| flags(line).command());
        assert_eq!(a, b);
        assert!(a.contains("--scheme parallel"), "{a}");
    }
}
