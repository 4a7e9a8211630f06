//! Execution: a trunk sequencer and an adapter device as two threads, joined by a counted bus.
//!
//! The run does what the plan says and reports what it did. At its end the observed ledger must
//! equal the predicted one, on every run and not only in tests.

mod adapter_side;
mod bus;
mod lesson;
mod registers;
mod rerun;
mod training;
mod trunk_side;
mod trunk_training;
mod worker;

use crate::device::{Device, DeviceError};
use crate::graph::{EdgeId, GraphError};
use crate::ledger::{Difference, Ledger};
use crate::plan::program::{self, Program, TapInCodes};
use crate::plan::tally::tally;
use crate::plan::tap::Tap;
use crate::scheme::Placed;
use crate::trunk::TrunkProgram;
use crate::units::Phase;
use adapter_side::AdapterSide;
pub use adapter_side::Sent;
pub use registers::load_registers;
pub use rerun::Recompute;
use std::collections::HashMap;
use thiserror::Error;
pub use training::{State, StepOutcome, TrainSettings, Trainer, TrainingMemory, logits};
pub use trunk_side::Source;
use trunk_side::TrunkSide;

#[derive(Debug, Error)]
pub enum RunError {
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("{0}")]
    Input(String),
    #[error("cannot start {threads} threads: {why}")]
    Threads { threads: usize, why: String },
    /// Never the cause: the other side has that.
    #[error("the other side of the bus stopped")]
    OtherSideStopped,
    #[error("the adapter device ran {did} kernels, the plan has {asked}")]
    DeviceCalls { asked: u64, did: u64 },
    #[error(transparent)]
    Trunk(#[from] crate::trunk::TrunkError),
    #[error("scheme '{scheme}' has nothing that trains on the way to the loss")]
    NothingTrains { scheme: String },
    #[error("the trunk's codes changed during the run: the trunk must be frozen")]
    TrunkChanged,
    #[error("the task belongs to another trunk, or to another calibration of it")]
    OtherTrunk,
    #[error("the {side} kept {held_b} bytes for the backward pass, the plan has {planned_b}")]
    HeldNotAsPlanned { side: &'static str, planned_b: u64, held_b: u64 },
    #[error("the run did not do what its plan predicts: {}", .0.iter().map(describe).collect::<Vec<_>>().join("; "))]
    NotAsPredicted(Vec<Difference>),
}

fn describe(d: &Difference) -> String {
    format!("{:?} of {:?} at {:?}: predicted {}, observed {}", d.event, d.phase, d.place, d.predicted, d.observed)
}

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub images: usize,
    /// Images handled at a time, fewer where more would not fit; never changes a result.
    pub micro_batch: usize,
    /// Micro-batches in flight.
    pub slots: usize,
    /// Worker threads; 0 for one per core. Never changes a result.
    pub threads: usize,
    /// Keep every code that enters the trunk, for a comparison with another device.
    pub record: bool,
}

/// A placed graph made ready to run.
pub struct Prepared<'a> {
    pub placed: &'a Placed,
    pub trunk: &'a TrunkProgram,
    pub taps: &'a [Tap],
}

/// What a run gave.
pub struct Outcome {
    /// Of one image, and of a task switch.
    pub predicted: Ledger,
    /// Of the whole run.
    pub observed: Ledger,
    /// The graph's output for each image, real values.
    pub outputs: Vec<Vec<f32>>,
    /// Recorded codes by image-ordered micro-batch and tap, if asked for.
    pub sent: Option<HashMap<(usize, usize), Sent>>,
}

/// Runs `settings.images` images from `source` through the trunk and the adapter device.
pub fn run(
    prepared: &Prepared,
    device: &mut dyn Device,
    source: &Source,
    settings: &Settings,
) -> Result<Outcome, RunError> {
    let graph = &prepared.placed.graph;
    let taps: Vec<Tap> = prepared.taps.iter().filter(|t| t.phase == Phase::Forward).cloned().collect();
    let frozen = prepared.trunk.checksum();
    let pool = thread_pool(settings.threads)?;
    let one = program::lower(graph, 1, &taps, &tap_ins(prepared))?;
    let trunk_bytes: u64 = prepared.trunk.steps.iter().map(|s| s.output_elements().0).sum();
    let most = fitting_micro_batch(&one, trunk_bytes, device.max_binding_bytes(), settings.slots.max(1));
    let micro_batch = settings.micro_batch.clamp(1, most).min(settings.images.max(1));
    let bounds = bounds(settings.images, micro_batch);
    let batches: Vec<usize> = bounds.windows(2).map(|w| w[1] - w[0]).collect();
    let program = program::lower(graph, micro_batch, &taps, &tap_ins(prepared))?;
    let slots = settings.slots.clamp(1, batches.len().max(1));

    let mut trunk = TrunkSide::new(graph, prepared.trunk, &taps, source, &bounds, &pool, None);
    device.prepare(&program.buffers, slots)?;
    let programs = vec![&program; batches.len()];
    let adapter = AdapterSide::new(graph, programs, &taps, device, slots, &batches, &pool);
    let mut adapter = adapter.recording(settings.record);
    let mut observed = bus::switch_task(prepared.trunk, prepared.placed);
    observed.merge(&bus::run(&mut trunk, &mut adapter, &taps, batches.len(), slots)?);
    let asked = program.calls() * batches.len() as u64;
    observed.merge(&trunk.ledger);
    observed.merge(&adapter.ledger);

    let outputs = outputs(prepared, &trunk, &mut adapter, &batches);
    let sent = adapter.sent.take();
    let did = device.counts().calls;
    if did != asked {
        return Err(RunError::DeviceCalls { asked, did });
    }
    if prepared.trunk.checksum() != frozen {
        return Err(RunError::TrunkChanged);
    }
    let predicted = tally(graph, prepared.taps);
    check(&predicted, &observed, settings.images)?;
    Ok(Outcome { predicted, observed, outputs, sent })
}

/// Memory that all maps of the micro-batches in flight may take, on either side.
const MAPS_BYTES: u64 = 1 << 30;

/// The largest micro-batch whose buffers a device can bind and whose maps stay in bounds. Its size
/// never changes a result, so it is fitted rather than refused; a single image that does not fit
/// is the device's to refuse.
fn fitting_micro_batch(one_image: &Program, trunk_bytes: u64, max_binding_bytes: u64, slots: usize) -> usize {
    let maps = one_image.buffers.iter().filter(|b| b.shared().is_none()).map(|b| 4 * b.words as u64);
    let largest = maps.clone().max().unwrap_or(0).max(1);
    let together = maps.sum::<u64>().max(trunk_bytes).max(1) * slots as u64;
    (max_binding_bytes / largest).min(MAPS_BYTES / together).max(1) as usize
}

/// The micro-batches: first image of each, and the end of the last.
fn bounds(images: usize, micro_batch: usize) -> Vec<usize> {
    let starts = (0..images).step_by(micro_batch.max(1));
    starts.chain(std::iter::once(images)).collect()
}

fn thread_pool(threads: usize) -> Result<rayon::ThreadPool, RunError> {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
    builder.build().map_err(|e| RunError::Threads { threads, why: e.to_string() })
}

/// How the adapter device codes what enters the trunk, as the trunk's joins want it.
fn tap_ins(prepared: &Prepared) -> HashMap<EdgeId, TapInCodes> {
    let formats = prepared.trunk.tap_ins.iter();
    formats
        .map(|(&edge, f)| {
            (edge, TapInCodes { scales: f.scales.clone(), zero_point: f.zero_point, bits: u32::from(f.bits) })
        })
        .collect()
}

/// One vector per image, whichever side made the output.
fn outputs(prepared: &Prepared, trunk: &TrunkSide, adapter: &mut AdapterSide, batches: &[usize]) -> Vec<Vec<f32>> {
    let graph = &prepared.placed.graph;
    let elements = graph.shape(graph.output).elements().max(1);
    let quant = graph.edge(graph.output).quant;
    let mut images = Vec::new();
    for micro in 0..batches.len() {
        let made = std::mem::take(&mut adapter.outputs[micro]);
        let values: Vec<f32> = match quant {
            Some(q) if made.is_empty() => {
                trunk.outputs[micro].iter().map(|&c| (i32::from(c) - q.zero_point) as f32 * q.scale).collect()
            }
            _ => made,
        };
        images.extend(values.chunks(elements).map(<[f32]>::to_vec));
    }
    images
}

/// Predicted == observed, exactly.
fn check(predicted: &Ledger, observed: &Ledger, images: usize) -> Result<(), RunError> {
    let mut whole = Ledger::default();
    whole.merge_times(predicted, Phase::Forward, images as u64);
    whole.merge_times(predicted, Phase::Switch, 1);
    let differences = Ledger::differences(&whole, observed);
    if differences.is_empty() { Ok(()) } else { Err(RunError::NotAsPredicted(differences)) }
}
