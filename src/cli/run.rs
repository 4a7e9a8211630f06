//! `trunkline run`: the main job.

use super::Failure;
use super::output::Output;
use crate::data::{self, OpenOptions};
use crate::experiment::run::{Job, Settings, run};
use crate::experiment::trunk::{Trunk, Wanted};
use crate::hw::library;
use crate::report;
use crate::scheme::{self, BatchNormMode, SchemeSpec, Sites};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

#[derive(Args)]
pub struct Run {
    /// A model file (.tflite), or a network of the zoo such as resnet26 or resnet26:width=0.25
    #[arg(long, value_name = "FILE|ZOO", default_value = "resnet26")]
    trunk: String,
    /// How to adapt it: NAME[:key=value,…]; `account --scheme all` lists the names
    #[arg(long, value_name = "SCHEME", default_value = "adaptive-attention")]
    scheme: SchemeSpec,
    /// Where the adapters sit: all, all-but-stem, early, mid, late, half, before-each-stage, after-each-stage, or a list
    #[arg(long, value_name = "SITES")]
    sites: Option<Sites>,
    /// Batch norm per task: frozen (in silicon) or registers (loadable) [default: what the scheme's paper does]
    #[arg(long, value_name = "MODE")]
    batch_norm: Option<BatchNormMode>,
    /// Hardware to price it on: a name from `trunkline hw list`, or a file
    #[arg(long, value_name = "FILE|NAME", default_value = "asic-h200-pcie")]
    system: String,
    /// What to look at: synth:NAME, cifar10:DIR, cifar10-jpeg:DIR; repeat for several tasks
    #[arg(long, value_name = "SPEC", default_value = "synth:shapes")]
    data: Vec<String>,
    /// How many images of each data set [default: 16 of a procedural one, all of any other]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Images handled at a time; changes speed and memory, never a result
    #[arg(long, value_name = "N", default_value = "8")]
    micro_batch: usize,
    /// Bits of a sum that enters a trunk accumulator: 8 or 16
    #[arg(long, value_name = "BITS", default_value = "8", value_parser = tap_bits)]
    tap_bits: u32,
    /// Adapter device: auto, gpu, cpu, null, or a name from `trunkline devices`
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Run a second time on this device and count the tap-in codes that differ
    #[arg(long, value_name = "DEVICE")]
    compare: Option<String>,
    /// Worker threads, 0 for one per core; changes speed, never a result
    #[arg(long, value_name = "N", default_value = "0")]
    threads: usize,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Height and width of the input of a zoo network
    #[arg(long, value_name = "H")]
    input: Option<usize>,
    /// Also report measured wall time, which is not reproducible
    #[arg(long)]
    measured: bool,
    #[command(flatten)]
    output: Output,
}

/// Images of a procedural data set that are run unless told otherwise.
const SYNTHETIC_IMAGES: usize = 16;
/// More threads than any machine has; beyond this it is a typing error.
const MOST_THREADS: usize = 1024;

/// Reads the bits of a tap-in.
pub fn tap_bits(text: &str) -> Result<u32, String> {
    match text {
        "8" => Ok(8),
        "16" => Ok(16),
        _ => Err("a tap-in has 8 or 16 bits".into()),
    }
}

impl std::str::FromStr for SchemeSpec {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(SchemeSpec(text.into()))
    }
}

impl Run {
    pub fn execute(&self) -> Result<(), Failure> {
        self.check()?;
        // The trunk's input size decides how images come; their classes decide its head.
        let bare = Trunk::open(&self.trunk, Wanted { input: self.input, classes: None, seed: self.seed })?;
        let shape = bare.graph.shape(bare.graph.input);
        let options = |spec: &str| OpenOptions {
            limit: self.batch.or(spec.starts_with("synth:").then_some(SYNTHETIC_IMAGES)),
            seed: self.seed,
            size: Some([shape.h, shape.w]),
        };
        let tasks = self.data.iter().map(|s| data::open(s, &options(s))).collect::<Result<Vec<_>, _>>()?;
        let classes = tasks.iter().map(|t| t.classes.len()).max();
        let trunk = Trunk::open(&self.trunk, Wanted { input: self.input, classes, seed: self.seed })?;
        let system = library::load_system(&self.system)?;
        let images: usize = tasks.iter().map(data::Dataset::len).sum();
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

    fn check(&self) -> Result<(), Failure> {
        let usage = |why: String| Err(Failure::Usage(why));
        if self.batch == Some(0) || self.micro_batch == 0 {
            return usage("--batch and --micro-batch must be at least 1".into());
        }
        if self.threads > MOST_THREADS {
            return usage(format!("--threads {} is more than {MOST_THREADS}", self.threads));
        }
        Ok(())
    }
}

/// A live line on a terminal, nothing elsewhere.
fn progress(images: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(images as u64), ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("{pos}/{len} images  {per_sec}  {eta} left");
    bar.with_style(style.expect("a valid template"))
}
