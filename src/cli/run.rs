//! `trunkline run`: the main job.

use super::Failure;
use super::output::Output;
use super::values;
use crate::data::{self, Dataset, OpenOptions};
use crate::experiment::run::{CALIBRATION_IMAGES, Job, Settings, calibration_images, run};
use crate::experiment::trunk::{Trunk, Wanted};
use crate::hw::library;
use crate::plan::tap_format::TapFormat;
use crate::quant::Profile;
use crate::quantise::Calibration;
use crate::report;
use crate::scheme::{self, BatchNormMode, SchemeSpec, Sites};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

#[derive(Args)]
#[command(allow_negative_numbers = true)] // So that `--seed -1` is a wrong seed and not an unknown flag.
pub struct Run {
    /// The frozen network: a .tflite or .onnx file, or a network of the zoo such as resnet26
    #[arg(long, value_name = "FILE|ZOO", default_value = "resnet26", long_help = values::trunk_help())]
    trunk: String,
    /// How to adapt it: NAME[:key=value,…]
    #[arg(long, value_name = "SCHEME", default_value = "adaptive-attention", long_help = values::scheme_help())]
    scheme: SchemeSpec,
    /// Where the adapters sit [default: where the scheme's paper has them]
    #[arg(long, value_name = "SITES", long_help = values::sites_help())]
    sites: Option<Sites>,
    /// Batch norm per task: frozen (in silicon), registers (loadable), registers+stats (and measured on the trunk) or adapter-device [default: what the scheme's paper does]
    #[arg(long, value_name = "MODE")]
    batch_norm: Option<BatchNormMode>,
    /// Hardware to price it on: a system from `trunkline hw list`, or a .toml file
    #[arg(long, value_name = "FILE|NAME", default_value = "asic-h200-pcie")]
    system: String,
    /// Arithmetic of the trunk [default: the file format's own, tflite-ref for the zoo]
    #[arg(long, value_name = "PROFILE", value_parser = values::profile, long_help = values::profile_help("Arithmetic of the trunk [default: the file format's own, tflite-ref for the zoo]"))]
    profile: Option<Profile>,
    /// What to look at: synth:NAME, cifar10:DIR, cifar10-jpeg:DIR; repeat for several tasks
    #[arg(long, value_name = "SPEC", default_value = "synth:shapes", long_help = values::data_help())]
    data: Vec<String>,
    /// How many images of each data set [default: 16 of a procedural one, all of any other]
    #[arg(long, value_name = "N", value_parser = values::count)]
    batch: Option<usize>,
    /// Images handled at a time; changes speed and memory, never a result
    #[arg(long, value_name = "N", default_value = "8", value_parser = values::count)]
    micro_batch: usize,
    /// Go on without images that do not decode; they are counted and the first are named
    #[arg(long)]
    skip_bad: bool,
    /// How values enter the trunk: as codes of 8 or 16 bits (of 16 only into accumulators), or as f16 or f32 that it rounds
    #[arg(long, value_name = "FORMAT", default_value = "8")]
    tap_bits: TapFormat,
    /// How the scales of a float network are chosen: min-max, percentile[:P], mse
    #[arg(long, value_name = "METHOD", long_help = values::calibration_help())]
    calibration: Option<Calibration>,
    /// Adapter device: auto, gpu, cpu, null (only counts), or part of a name from `trunkline devices`
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Run a second time on this device and count the tap-in codes that differ
    #[arg(long, value_name = "DEVICE")]
    compare: Option<String>,
    /// Worker threads, 0 for one per core; changes speed, never a result
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::threads)]
    threads: usize,
    /// Seed of everything random: weights of the zoo, fresh adapters and heads, procedural images
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::seed)]
    seed: u64,
    /// Height and width of the input of a zoo network
    #[arg(long, value_name = "H", value_parser = values::count)]
    input: Option<usize>,
    /// Also report measured wall time, which is not reproducible
    #[arg(long)]
    measured: bool,
    #[command(flatten)]
    output: Output,
}

/// Images of a procedural data set that are run unless told otherwise.
const SYNTHETIC_IMAGES: usize = 16;

impl Run {
    pub fn execute(&self) -> Result<(), Failure> {
        // What fails quickly goes before what takes long.
        self.output.check()?;
        if self.threads > 0 {
            // Decoding and calibration keep to the number too. Only the first setting counts, and
            // there is none before.
            rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global()?;
        }
        let system = library::load_system(&self.system)?;
        // The trunk's input size decides how images come; their classes decide its head.
        let bare = Trunk::open(&self.trunk, Wanted { input: self.input, classes: None, seed: self.seed })?;
        let shape = bare.graph.shape(bare.graph.input);
        let mut tasks = self.tasks([shape.h, shape.w])?;
        let calibration = calibration_images(&tasks);
        for (task, spec) in tasks.iter_mut().zip(&self.data) {
            task.truncate(self.images(spec).unwrap_or(usize::MAX));
        }
        let classes = tasks.iter().map(|t| t.classes.len()).max();
        let trunk = Trunk::open(&self.trunk, Wanted { input: self.input, classes, seed: self.seed })?;
        let mut trunk = trunk.with_profile(self.profile.clone())?;
        if let Some(how) = self.calibration {
            if trunk.is_calibrated() {
                return Err(Failure::Usage(format!(
                    "--calibration {how}: '{}' comes with its own scales; calibration is for float networks",
                    self.trunk
                )));
            }
            trunk.calibration = how;
        }
        let images: usize = tasks.iter().map(Dataset::len).sum();
        let progress = progress(images * (1 + usize::from(self.compare.is_some())));
        let job = Job {
            trunk,
            request: scheme::Request {
                scheme: self.scheme.clone(),
                sites: self.sites.clone(),
                batch_norm: self.batch_norm,
                seed: self.seed,
            },
            tasks,
            calibration,
            system: &system,
        };
        let settings = Settings {
            tap_in_bits: self.tap_bits,
            micro_batch: self.micro_batch,
            threads: self.threads,
            device: self.device.clone(),
            compare: self.compare.clone(),
            measured: self.measured,
        };
        let report = run(job, &settings, &|n| progress.inc(n as u64))?;
        progress.finish_and_clear();
        let json = serde_json::to_value(&report)?;
        self.output.write(&report::run::sections(&report), &json, std::slice::from_ref(&json))
    }
}

impl Run {
    /// How many images of a data set run; all if there is no number.
    fn images(&self, spec: &str) -> Option<usize> {
        self.batch.or(spec.starts_with("synth:").then_some(SYNTHETIC_IMAGES))
    }

    /// The data sets, with at least as many images as calibration takes.
    fn tasks(&self, size: [usize; 2]) -> Result<Vec<Dataset>, Failure> {
        let open = |spec: &String| {
            let limit = self.images(spec).map(|n| n.max(CALIBRATION_IMAGES));
            let mut set = data::subset(spec, &OpenOptions { limit, seed: self.seed, size: Some(size) })?;
            set.samples.skip_bad |= self.skip_bad;
            set.load(Some(size))
        };
        Ok(self.data.iter().map(open).collect::<Result<_, _>>()?)
    }
}

/// A live line on a terminal, nothing elsewhere.
fn progress(images: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(images as u64), ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("{pos}/{len} images  {per_sec}  {eta} left");
    bar.with_style(style.expect("a valid template"))
}
