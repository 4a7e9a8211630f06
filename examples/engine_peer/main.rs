//! Our side of `benches/peers`: the engine as a process that is told when to run.
//!
//! ```text
//! engine_peer MODEL [--batch N] [--threads T]   # a model file, or a network of the zoo
//! engine_peer peak [--threads T]                # what the CPU could do at most
//! ```
//!
//! It prints one line of JSON when it is ready. Then, for every line on standard input (a number of
//! seconds), it runs for at least that long and prints how many batches it did in how many seconds.

use std::fmt::Display;
use std::io::{BufRead, Write};
use std::time::Instant;
use trunkline::data::{self, OpenOptions};
use trunkline::experiment::input::reals;
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::graph::EdgeId;
use trunkline::tensor::{Shape, Tensor};
use trunkline::trunk::{Executor, TrunkProgram, prepare};

mod peak;

/// What the command line asks for.
struct Asked {
    model: String,
    batch: usize,
    threads: usize,
}

impl Asked {
    fn read() -> Result<Self, String> {
        let usage = "usage: engine_peer MODEL|peak [--batch N] [--threads T]";
        let mut arguments = std::env::args().skip(1);
        let mut asked = Self { model: arguments.next().ok_or(usage)?, batch: 1, threads: 1 };
        while let Some(flag) = arguments.next() {
            let value = arguments.next().and_then(|v| v.parse().ok()).filter(|&n| (1..=1024).contains(&n));
            let value = value.ok_or_else(|| format!("{flag} should be a number from 1 to 1024; {usage}"))?;
            match flag.as_str() {
                "--batch" => asked.batch = value,
                "--threads" => asked.threads = value,
                _ => return Err(usage.into()),
            }
        }
        Ok(asked)
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// A model file as it is; a network of the zoo with random weights, scales from one procedural image.
fn program(model: &str) -> Result<(TrunkProgram, Shape, EdgeId), String> {
    let mut trunk = Trunk::open(model, Wanted { seed: 0, ..Wanted::default() }).map_err(text)?;
    let shape = trunk.graph.shape(trunk.graph.input);
    if !trunk.is_calibrated() {
        let options = OpenOptions { limit: Some(1), seed: 0, size: Some([shape.h, shape.w]) };
        let task = data::open("synth:shapes", &options).map_err(text)?;
        let images = reals(&task.images, shape, trunk.preprocess).map_err(text)?;
        trunk.calibrate(&images).map_err(text)?;
    }
    let program = prepare(&trunk.graph, &trunk.profile, 8).map_err(text)?;
    Ok((program, shape, trunk.graph.output))
}

fn images(shape: Shape, batch: usize) -> Tensor<i8> {
    let codes = (0..batch * shape.elements()).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as i8);
    Tensor::from_vec(batch, shape, codes.collect())
}

/// This process's memory, where the system says it.
fn resident_kb() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4)
}

/// Hands memory that loading has freed to the system, so that what is measured is inference.
fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(keep_bytes: usize) -> std::ffi::c_int;
        }
        // SAFETY: glibc's own, callable at any time.
        unsafe { malloc_trim(0) };
    }
}

/// Says that it is ready, then runs whenever it is told to, until standard input ends.
fn serve(ready: &serde_json::Value, mut once: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| writeln!(out, "{line}").and_then(|()| out.flush()).map_err(text);
    once()?;
    give_back();
    say(ready.to_string())?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(text)?;
        let seconds: f64 = line.trim().parse().map_err(|_| format!("'{line}' is not a number of seconds"))?;
        let (start, mut batches) = (Instant::now(), 0u64);
        while batches == 0 || start.elapsed().as_secs_f64() < seconds {
            once()?;
            batches += 1;
        }
        say(format!("{batches} {}", start.elapsed().as_secs_f64()))?;
    }
    Ok(())
}

fn main() -> Result<(), String> {
    let asked = Asked::read()?;
    let base_kb = resident_kb();
    if asked.model == "peak" {
        let macs = peak::MACS * asked.threads as u64;
        return serve(&serde_json::json!({ "macs": macs }), || peak::run(asked.threads));
    }
    let (program, shape, output) = program(&asked.model)?;
    let macs: u64 = program.steps.iter().map(|step| step.macs().0).sum();
    let input = images(shape, asked.batch);
    let ready = serde_json::json!({
        "macs": macs * asked.batch as u64,
        "profile": program.profile.name(),
        "base_kb": base_kb,
        "version": env!("CARGO_PKG_VERSION"),
    });
    // The thread that serves is one of the pool's, so that no batch waits for another to wake up.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(asked.threads).use_current_thread().build();
    pool.map_err(text)?.install(|| {
        let mut executor = Executor::new(&program, asked.batch, &[output]).map_err(text)?;
        serve(&ready, || executor.run(&input).map(drop).map_err(text))
    })
}
