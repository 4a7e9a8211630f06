//! Seconds of training steps, one JSON line each, for `benches/peers/train.py`: ResNet-26 at 64×64 with
//! frozen batch norms, random weights and one batch of procedural images.
//!
//! `train_peer --scheme parallel:init=zero --grad int16 --batch 32 --steps 5`; the first step warms up and is not told.

use std::time::Instant;
use trunkline::data::{self, OpenOptions};
use trunkline::device;
use trunkline::experiment::input;
use trunkline::experiment::train::prepared;
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::hw::library::load_system;
use trunkline::plan::program::{Optimiser, WeightDecay};
use trunkline::plan::tap_format::TapFormat;
use trunkline::run::{Prepared, Recompute, TrainSettings, Trainer};
use trunkline::scheme::{BatchNormMode, Request, SchemeSpec};
use trunkline::trunk::backward::ErrorFormat;

type Failure = Box<dyn std::error::Error>;

/// The value of a flag, or what it is otherwise.
fn flag(name: &str, otherwise: &str) -> String {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.nth(1).unwrap_or_else(|| otherwise.into())
}

/// Processor time of this process so far, where the system tells.
fn cpu_seconds() -> Option<f64> {
    const TICKS_PER_S: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}

fn main() -> Result<(), Failure> {
    let (batch, steps): (usize, usize) = (flag("--batch", "32").parse()?, flag("--steps", "5").parse()?);
    let mut trunk = Trunk::open("resnet26", Wanted { input: Some(64), classes: Some(10), seed: 0 })?;
    let set = data::open("synth:shapes", &OpenOptions { limit: Some(batch), seed: 0, size: Some([64, 64]) })?;
    let shape = trunk.graph.shape(trunk.graph.input);
    trunk.calibrate(&input::reals(&set.images, shape, trunk.preprocess)?)?;
    let scheme = SchemeSpec(flag("--scheme", "parallel:init=zero"));
    let request = Request { scheme, sites: None, batch_norm: Some(BatchNormMode::Frozen), seed: 0 };
    let (placed, program, taps) = prepared(&trunk, &request, &load_system("asic-h200-pcie")?, TapFormat::Int16)?;
    let settings = TrainSettings {
        micro_batch: flag("--micro-batch", "8").parse()?,
        slots: 2,
        threads: flag("--threads", "1").parse()?,
        errors: ErrorFormat::of(flag("--grad", "int16").parse()?),
        optimiser: Optimiser::SGD,
        decay: WeightDecay::default(),
        clip: None,
        smoothing: 0.0,
        recompute: Recompute::None,
    };
    let prepared = Prepared { placed: &placed, trunk: &program, taps: &taps };
    let mut trainer = Trainer::new(prepared, device::open(&flag("--device", "cpu"))?, settings)?;
    let codes = input::codes(&set.images, shape, trunk.preprocess, placed.graph.edge(placed.graph.input).quant)?;
    let labels = set.labels.ok_or("procedural images have labels")?;
    let indices: Vec<u32> = (0..batch as u32).collect();
    for step in 0..=steps {
        let (started, before) = (Instant::now(), cpu_seconds());
        trainer.step(&|from, to| Ok(codes.slice(from, to)), &indices, &labels, 1e-4)?;
        let (seconds, after) = (started.elapsed().as_secs_f64(), cpu_seconds());
        if step > 0 {
            let cpu = before.zip(after).map_or(seconds, |(before, after)| after - before);
            println!("{{\"seconds\":{seconds},\"cpu_seconds\":{cpu}}}");
        }
    }
    Ok(())
}
