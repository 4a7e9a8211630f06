//! `trunkline train`: adapters trained through the frozen trunk, in a folder of their own.

use super::Failure;
use super::learning::{Kind, Learning};
use super::progress::{Told, interruption};
use super::values;
use crate::data::{self, OpenOptions, Subset};
use crate::experiment::adapters::request;
use crate::experiment::eval::{EvalError, trunk_of};
use crate::experiment::loading::Loading;
use crate::experiment::train::adapter_file::Adapter;
use crate::experiment::train::run_folder::{RunFolder, plain};
use crate::experiment::train::session::Finished;
use crate::experiment::train::tasks::{Task, train_tasks};
use crate::experiment::train::{TrainJob, TrainSettings, learning_device, train};
use crate::experiment::trunk::{Trunk, Wanted};
use crate::hw::{System, library};
use crate::plan::tap_format::TapFormat;
use crate::quant::Profile;
use crate::quant::error_code::GradFormat;
use crate::quantise::Calibration;
use crate::report;
use crate::report::render::Section;
use crate::run::Recompute;
use crate::scheme::{self, BatchNormMode, SchemeSpec, Sites};
use crate::trunk::backward::{ErrorFormat, ErrorRule, ExponentMode};
use clap::{ArgAction, Args, Parser, ValueEnum};
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
    #[arg(long, value_name = "RUN", conflicts_with_all = ["Flags", "Learning", "out"])]
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
    /// Batch norm per task: frozen (in silicon), registers (loadable), registers+stats (and measured on the trunk) or adapter-device [default: what the scheme's paper does]
    #[arg(long, value_name = "MODE")]
    batch_norm: Option<BatchNormMode>,
    /// Train on from this adapter, a folder of one or of a run: its scheme, sites, batch norm and tap bits, its values
    #[arg(long, value_name = "DIR", conflicts_with_all = ["scheme", "sites", "batch_norm", "tap_bits", "tasks", "input", "calibration"])]
    adapter: Option<PathBuf>,
    /// What to learn: a data set with labels
    #[arg(long, value_name = "SPEC", default_value = "synth:shapes", long_help = values::data_help())]
    data: String,
    /// Several data sets instead, separated by semicolons: an adapter for each on one trunk, which they share in turns
    #[arg(long, value_name = "SPEC;SPEC;…", value_delimiter = ';', conflicts_with = "data", long_help = values::tasks_help())]
    tasks: Vec<String>,
    /// What to measure it on after every epoch; with --tasks one for each, separated by semicolons, nothing between two for none
    /// [default: of a procedural set, 200 images of another seed]
    #[arg(long, value_name = "SPEC[;SPEC…]", value_delimiter = ';', long_help = values::data_help())]
    val: Vec<String>,
    /// What is drawn for every image in every epoch: none, auto (what is usual for the data set), or a recipe
    #[arg(long, value_name = "RECIPE", default_value = NO_AUGMENTATION, value_parser = values::augmentation, long_help = values::augment_help())]
    augment: String,
    /// Go on without images that do not decode; they are counted and the first are named
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    skip_bad: bool,
    #[command(flatten)]
    learning: Learning,
    /// Images handled at a time; changes speed and memory, never a result (a whole batch where batch norms go by its statistics)
    #[arg(long, value_name = "N", default_value = "8", value_parser = values::count)]
    micro_batch: usize,
    /// What the trunk computes again in the backward pass instead of keeping: none, masks (bits, positions and codes,
    /// from the image and what entered); changes memory and time, never a result
    #[arg(long, value_name = "WHAT", default_value = "none", value_parser = values::word::<Recompute>)]
    recompute: Recompute,
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

const NO_AUGMENTATION: &str = "none";

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
            let start = self.flags.start()?;
            let scheme = start.as_ref().map_or(&self.flags.scheme.0, |adapter| &adapter.config.scheme);
            let name = format!("{}-{scheme}-{}", self.flags.trunk, self.flags.specs().join("+"));
            let settings = self.flags.settings(self.threads, start.as_ref())?;
            let tasks = self.flags.tasks(&system, start)?;
            let folder = RunFolder::create(self.out.as_deref(), &name, &self.flags.stored())?;
            return self.train(&self.flags, &settings, tasks, &folder);
        };
        let (folder, stored) = RunFolder::reopen(run)?;
        let refused = |why| Failure::Failed(format!("{}: {why}", run.join("args.json").display()));
        let flags = Flags::from_stored(&stored).map_err(refused)?;
        let system = library::load_system(&flags.system)?;
        let start = flags.start()?;
        let settings = flags.settings(self.threads, start.as_ref())?;
        self.train(&flags, &settings, flags.tasks(&system, start)?, &folder)
    }

    fn train(
        &self,
        flags: &Flags,
        settings: &TrainSettings,
        mut tasks: Vec<Task>,
        folder: &RunFolder,
    ) -> Result<(), Failure> {
        let mut told = Told::new(self.quiet, interruption());
        let started = Instant::now();
        let (mut sections, mut json, stopped_after, loadings);
        if flags.tasks.is_empty() {
            let report = train(tasks.swap_remove(0).job, settings, folder, &mut told)?;
            let Finished { stopped, progress } = report.finished;
            stopped_after = stopped.then_some(progress.step);
            (sections, json) = (report::training::step(&report.step), serde_json::to_value(&report.step)?);
            loadings = vec![(String::new(), report.loading)];
        } else {
            let report = train_tasks(&tasks, settings, folder, &mut told)?;
            stopped_after = report.stopped.then(|| report.tasks.iter().map(|t| t.steps).sum());
            (sections, json) = (report::tasks::sections(&report), serde_json::to_value(&report)?);
            loadings = report.tasks.into_iter().map(|task| (task.name, task.loading)).collect();
        }
        let images = told.images();
        drop(told);
        for (of, loading) in &loadings {
            self.tell_loading(of, loading, &mut sections, &mut json)?;
        }
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
        if let Some(step) = stopped_after {
            eprintln!("stopped after step {step}; go on with `trunkline train --resume {run}`");
        } else if !self.quiet {
            eprintln!("the run is in {run}");
        }
        Ok(())
    }

    /// Images that were passed over, and how long the trunk waited for the others.
    /// Of several tasks each has a place under its name.
    fn tell_loading(
        &self,
        task: &str,
        loading: &Loading,
        sections: &mut [Section],
        json: &mut Value,
    ) -> Result<(), Failure> {
        let several = !task.is_empty();
        let json = if several { &mut json["loading"][task] } else { json };
        let label = if several { format!("{task}: ") } else { String::new() };
        let mut told = vec![];
        for (of, broken) in [("data", &loading.broken), ("val", &loading.broken_validation)] {
            if !broken.is_empty() {
                json["broken"][of] = serde_json::to_value(broken)?;
                told.extend(report::loading::broken(broken).into_iter().map(|line| format!("{label}{of}: {line}")));
            }
        }
        let waiting = &loading.waiting;
        if self.measured {
            json["measured_loading"] = serde_json::to_value(waiting)?;
            told.push(format!("{label}{}", report::loading::waiting(waiting)));
        }
        told.iter().for_each(|line| eprintln!("{line}"));
        if let (Some(note), false) = (waiting.note(), self.quiet || self.measured) {
            eprintln!("{label}{note}");
        }
        let Some(first) = sections.first_mut() else { return Ok(()) };
        told.into_iter().for_each(|line| first.note(line));
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
        let several = !self.tasks.is_empty();
        let mut all = vec![
            ("trunk", Some(self.trunk.clone())),
            // Of an adapter that is trained on, scheme and bits are its own.
            ("scheme", self.adapter.is_none().then(|| self.scheme.to_string())),
            ("adapter", self.adapter.as_ref().map(|path| path.display().to_string())),
            ("sites", text(&self.sites)),
            ("batch-norm", self.batch_norm.as_ref().and_then(word)),
            ("data", (!several).then(|| self.data.clone())),
            ("tasks", several.then(|| self.tasks.join(";"))),
            ("val", (!self.val.is_empty()).then(|| self.val.join(";"))),
            ("augment", (self.augment != NO_AUGMENTATION).then(|| self.augment.clone())),
            ("skip-bad", self.skip_bad.then(|| "true".into())),
        ];
        all.extend(self.learning.given(Kind::Adapters));
        all.extend([
            ("micro-batch", Some(self.micro_batch.to_string())),
            ("recompute", word(&self.recompute)),
            ("grad", word(&self.grad)),
            ("grad-rounding", word(&self.grad_rounding)),
            ("grad-exponent", word(&self.grad_exponent)),
            ("tap-bits", self.adapter.is_none().then(|| self.tap_bits.to_string())),
            ("device", Some(self.device.clone())),
            ("system", Some(self.system.clone())),
            ("calibration", text(&self.calibration)),
            ("profile", text(&self.profile)),
            ("input", text(&self.input)),
            ("save-every", text(&self.save_every)),
            ("seed", Some(self.learning.seed.to_string())),
        ]);
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
        let makes = |flag: &str| !["micro-batch", "recompute", "save-every"].contains(&flag);
        let given = self.given().into_iter().filter(|(flag, _)| makes(flag));
        given.fold("trunkline train".into(), |line, (flag, value)| format!("{line} --{flag} {value}"))
    }

    fn settings(&self, threads: usize, start: Option<&Adapter>) -> Result<TrainSettings, Failure> {
        let chosen = self.learning.chosen(Kind::Adapters, self.save_every)?;
        Ok(TrainSettings {
            session: chosen.session,
            optimiser: chosen.optimiser,
            weight_decay: chosen.weight_decay,
            label_smoothing: chosen.label_smoothing,
            clip: chosen.clip,
            errors: ErrorFormat {
                format: self.grad,
                rule: self.grad_rounding.rule(self.learning.seed),
                exponent: self.grad_exponent,
            },
            tap_in_bits: start.map_or(self.tap_bits, |adapter| adapter.config.tap_in_bits),
            micro_batch: self.micro_batch,
            recompute: self.recompute,
            threads,
            device: self.device.clone(),
        })
    }

    /// What is to be learnt.
    fn specs(&self) -> &[String] {
        if self.tasks.is_empty() { std::slice::from_ref(&self.data) } else { &self.tasks }
    }

    /// The adapter that is trained on. Its seed built its trunk, where that is random, so it is this training's.
    fn start(&self) -> Result<Option<Adapter>, Failure> {
        let Some(folder) = &self.adapter else { return Ok(None) };
        let adapter = Adapter::open(folder).map_err(EvalError::from)?;
        let (has, given) = (adapter.config.training.seed, self.learning.seed);
        if has != given {
            return Err(Failure::Usage(format!("--seed {given}: '{}' goes on with --seed {has}", folder.display())));
        }
        Ok(Some(adapter))
    }

    /// The trunk of an adapter that is trained on, if its classes are those of the data.
    fn trunk_of(&self, adapter: &Adapter, data: &Subset) -> Result<Trunk, Failure> {
        let (has, wants) = (adapter.config.classes.len(), data.classes.len());
        if has != wants {
            let folder = adapter.folder.display();
            return Err(Failure::Usage(format!(
                "--adapter '{folder}' knows {has} classes, '{}' has {wants}",
                data.name
            )));
        }
        Ok(trunk_of(&self.trunk, self.profile.clone(), &adapter.config)?)
    }

    /// A task for each data set, named after it.
    fn tasks<'a>(&self, system: &'a System, start: Option<Adapter>) -> Result<Vec<Task<'a>>, Failure> {
        let (specs, seed) = (self.specs(), self.learning.seed);
        if !self.val.is_empty() && self.val.len() != specs.len() {
            let (has, wants) = (self.val.len(), specs.len());
            return Err(Failure::Usage(format!("--val: {has} data sets for {wants} to learn; separate them with ';'")));
        }
        // The trunk's input size decides how images come; their classes decide its head.
        let bare = Trunk::open(&self.trunk, Wanted { input: self.input_size(start.as_ref()), classes: None, seed })?;
        let shape = bare.graph.shape(bare.graph.input);
        let (mut tasks, mut shared): (Vec<Task>, Option<Trunk>) = (vec![], None);
        for (i, spec) in specs.iter().enumerate() {
            let mut data = self.labelled(spec, None, seed, [shape.h, shape.w])?;
            data.augmentation = values::recipe(&self.augment, data.augmentation);
            let mut validation = self.validation(spec, self.val.get(i), [shape.h, shape.w])?;
            // Measured as it is learnt, but for what is drawn.
            validation.iter_mut().for_each(|set| set.augmentation = data.augmentation.evaluation());
            // A task of its own: whatever the trunk's classifier knew is not asked for.
            let fresh = |trunk: &Trunk| trunk.clone().with_fresh_head(data.classes.len(), seed);
            // The first task's images fix the scales, and then they are the trunk's.
            let trunk = match (&start, &shared) {
                (Some(adapter), _) => self.trunk_of(adapter, &data)?,
                (None, None) => self.calibrated(fresh(&bare)?)?,
                (None, Some(shared)) => fresh(shared)?,
            };
            shared.get_or_insert_with(|| trunk.clone());
            let chosen = || scheme::Request {
                scheme: self.scheme.clone(),
                sites: self.sites.clone(),
                batch_norm: self.batch_norm,
                seed,
            };
            let request = start.as_ref().map_or_else(|| Ok(chosen()), |adapter| request(&adapter.config))?;
            let start = start.clone();
            let job = TrainJob { trunk, request, start, data, validation, system, command: self.command() };
            let taken = |name: &String| tasks.iter().any(|task| task.name == *name);
            let names = std::iter::once(plain(spec)).chain((2..).map(|n| format!("{}-{n}", plain(spec))));
            let name = names.into_iter().find(|name| !taken(name)).unwrap_or_default();
            tasks.push(Task { name, job });
        }
        Ok(tasks)
    }

    /// Height and width that a network of the zoo is built for: those that an adapter was trained at.
    fn input_size(&self, start: Option<&Adapter>) -> Option<usize> {
        let is_zoo = crate::model::zoo::find(self.trunk.split(':').next().unwrap_or_default()).is_some();
        start.filter(|_| is_zoo).map(|adapter| adapter.config.input.size[0]).or(self.input)
    }

    /// The trunk under the arithmetic that is asked for, with scales.
    fn calibrated(&self, trunk: Trunk) -> Result<Trunk, Failure> {
        let mut trunk = trunk.with_profile(self.profile.clone())?;
        if let (Some(how), true) = (self.calibration, trunk.is_calibrated()) {
            return Err(Failure::Usage(format!("--calibration {how}: '{}' comes with its own scales", self.trunk)));
        }
        trunk.calibration = self.calibration.unwrap_or_default();
        if !trunk.is_calibrated() {
            trunk.calibrate_over(&self.specs()[0], CALIBRATION_IMAGES, self.learning.seed)?;
        }
        Ok(trunk)
    }

    fn validation(&self, data: &str, val: Option<&String>, size: [usize; 2]) -> Result<Option<Subset>, Failure> {
        let seed = self.learning.seed;
        let (spec, limit, seed) = match val {
            Some(spec) if spec.is_empty() => return Ok(None),
            Some(spec) => (spec.as_str(), None, seed),
            // A spec that has a seed would give the training images again.
            None if data.starts_with("synth:") && !data.contains("seed=") && !data.contains("count=") => {
                (data, Some(SYNTHETIC_VALIDATION), seed.wrapping_add(1))
            }
            None => return Ok(None),
        };
        self.labelled(spec, limit, seed, size).map(Some)
    }

    fn labelled(&self, spec: &str, limit: Option<usize>, seed: u64, size: [usize; 2]) -> Result<Subset, Failure> {
        let mut set = data::subset(spec, &OpenOptions { limit, seed, size: Some(size) })?;
        set.samples.skip_bad |= self.skip_bad;
        if !set.is_labelled() {
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
        let lines: [&[&str]; 4] = [
            &[],
            &[
                "--trunk=resnet8",
                "--sites=early",
                "--batch-norm=registers",
                "--val=synth:gratings",
                "--augment=pad-crop",
                "--skip-bad=true",
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
            &["--tasks=synth:shapes:count=9,noise=0.1;synth:hues", "--val=synth:shapes;"],
            &["--adapter=runs/a", "--data=synth:hues"],
        ];
        for line in lines {
            let flags = flags(line);
            let back = Flags::from_stored(&flags.stored()).unwrap();
            assert_eq!(back.given(), flags.given());
            assert!(line.iter().all(|flag| flags.given().iter().any(|(f, v)| format!("--{f}={v}") == **flag)));
        }
        assert_eq!(
            (flags(&[]).learning.rate(Kind::Adapters), flags(&["--optimizer=adamw"]).learning.rate(Kind::Adapters)),
            (0.02, 0.001)
        );
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
