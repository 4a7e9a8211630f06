//! The main job: a trunk with its adapters on data, every crossing counted, predicted == observed.

use super::account::{Account, AccountError, count};
use super::events::{LayerEvents, layer_events};
use super::input::{self, InputError, Preprocess};
use super::trunk::{Trunk, TrunkError};
use crate::data::image::Image;
use crate::data::{Broken, DataError, Dataset};
use crate::device::{self, Device, DeviceError};
use crate::graph::{Graph, GraphError};
use crate::hw::System;
use crate::ledger::{DataEvent, Event, Ledger, Place};
use crate::model::hex;
use crate::model::trunk_file::Calibrated;
use crate::plan::macs::{MacCounts, MacRule};
use crate::plan::tap::{TapPrecision, taps};
use crate::plan::tap_format::TapFormat;
use crate::quant::{Arith, Profile, ProfileError};
use crate::run::{self, Outcome, Prepared, RunError};
use crate::scheme::{self, Request, SchemeError};
use crate::trunk::{TrunkError as PrepareError, TrunkProgram, prepare};
use crate::units::Phase;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::time::Instant;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum ExperimentError {
    #[error(transparent)]
    Trunk(#[from] TrunkError),
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("trunk '{chip}' cannot be run, only counted (`account`): {why}")]
    Arithmetic { chip: String, why: ProfileError },
    #[error(
        "arithmetic profile {profile} folds batch norms into the weights: there are no registers to load; \
         use --batch-norm frozen or another profile"
    )]
    NoRegisters { profile: String },
    #[error("nothing to run: no task has an image")]
    NoImages,
}

/// What to run on what.
pub struct Job<'a> {
    pub trunk: Trunk,
    pub request: Request,
    /// The visual domains, one after another on one trunk.
    pub tasks: Vec<Dataset>,
    /// What fixes the scales of a float trunk; if there are none, the first images of the tasks.
    pub calibration: Vec<Image>,
    pub system: &'a System,
}

/// How to run it. Of these only the precision and the device can change a result.
#[derive(Clone, Debug)]
pub struct Settings {
    pub tap_in_bits: TapFormat,
    pub micro_batch: usize,
    /// 0 for one per core.
    pub threads: usize,
    pub device: String,
    /// A second device whose tap-in codes are compared with the first's.
    pub compare: Option<String>,
    pub measured: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tap_in_bits: TapFormat::Int8,
            micro_batch: 8,
            threads: 0,
            device: "auto".into(),
            compare: None,
            measured: false,
        }
    }
}

/// Images that fix the scales of a float trunk.
pub const CALIBRATION_IMAGES: usize = 8;
/// Micro-batches in flight.
pub const SLOTS: usize = 2;

/// What the run of one visual domain gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VisualDomain {
    pub data: String,
    pub images: usize,
    /// As observed, over all its images.
    pub macs: MacCounts,
    /// Fraction of images whose largest output is their label's; `None` without labels or on a
    /// device that computes nothing.
    pub accuracy: Option<f64>,
    /// Images that were passed over because they do not decode.
    #[serde(skip_serializing_if = "Broken::is_empty")]
    pub broken: Broken,
}

/// Events that depend on the data, over all images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DataEvents {
    pub saturations: u64,
    pub overflows: u64,
    /// Values that were no number where they were to be coded.
    pub not_a_number: u64,
}

/// How a second device agreed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub device: String,
    pub tap_in_codes: u64,
    pub tap_in_codes_differing: u64,
    pub outputs_differing: u64,
    pub largest_output_difference: f64,
    pub same_ledger: bool,
}

/// Wall time of this machine; never reproducible, never beside modelled time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub wall_s: f64,
    pub images_per_s: f64,
    pub calibration_s: f64,
    pub threads: usize,
    pub micro_batch: usize,
}

/// The report of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunReport {
    #[serde(flatten)]
    pub account: Account,
    pub images: usize,
    pub device: String,
    pub device_kind: String,
    pub outputs_sha256: String,
    pub trunk_sha256: String,
    /// `None` for a model that came with its scales.
    pub calibration: Option<Calibrated>,
    /// Over the images of all labelled tasks.
    pub accuracy: Option<f64>,
    pub predicted_equals_observed: bool,
    pub visual_domains: Vec<VisualDomain>,
    pub data_events: DataEvents,
    pub layer_events: Vec<LayerEvents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

/// Runs a job. `progress` is told of images as they enter the trunk.
pub fn run(mut job: Job, settings: &Settings, progress: &(dyn Fn(usize) + Sync)) -> Result<RunReport, ExperimentError> {
    // A device that is not there is found out before anything is computed.
    let mut device = device::open(&settings.device)?;
    let mut second = settings.compare.as_ref().map(|name| device::open(name)).transpose()?;
    let started = Instant::now();
    if !job.trunk.is_calibrated() {
        calibrate(&mut job)?;
    }
    let calibration_s = started.elapsed().as_secs_f64();
    engine_runs(job.system, &job.trunk.profile)?;
    let placed = scheme::place(&job.trunk.graph, &job.request)?;
    placed.check_runs()?;
    if placed.batch_norm.loads_registers() && job.trunk.profile.folds_norms() {
        return Err(ExperimentError::NoRegisters { profile: job.trunk.profile.to_string() });
    }
    let account = count(&job.trunk, &placed, job.system, settings.tap_in_bits, MacRule::Conv)?;
    let bits = settings.tap_in_bits.code_bits();
    let trunk = prepare(&placed.graph, &job.trunk.profile, bits)?;
    let taps = taps(&placed, TapPrecision::on(job.system, settings.tap_in_bits))?;
    let prepared = Prepared { placed: &placed, trunk: &trunk, taps: &taps };

    let started = Instant::now();
    let first = run_tasks(&job, &prepared, device.as_mut(), settings, progress)?;
    let wall_s = started.elapsed().as_secs_f64();
    let comparison = match &mut second {
        None => None,
        Some(second) => {
            let outcomes = run_tasks(&job, &prepared, second.as_mut(), settings, progress)?;
            Some(compare(&second.info().name, &first, &outcomes))
        }
    };

    let info = device.info();
    let computes = info.kind != device::DeviceKind::Null;
    let visual_domains: Vec<VisualDomain> = job
        .tasks
        .iter()
        .zip(&first)
        .map(|(task, outcome)| visual_domain(task, outcome, &placed.graph, computes))
        .collect();
    let images = job.tasks.iter().map(Dataset::len).sum();
    let mut account = account;
    account.notes.extend(preparation_notes(&trunk));
    if !info.note.is_empty() {
        account.notes.push(format!("adapter device: {}", info.note));
    }
    Ok(RunReport {
        account,
        images,
        device: info.name.clone(),
        device_kind: info.kind.to_string(),
        outputs_sha256: outputs_sha256(&first),
        trunk_sha256: hex(&trunk.checksum()),
        calibration: job.trunk.provenance.calibration.clone(),
        accuracy: overall_accuracy(&visual_domains),
        predicted_equals_observed: true,
        visual_domains,
        data_events: data_events(&first),
        layer_events: layer_events(&trunk, &first, images),
        comparison,
        measured: settings.measured.then(|| Measured {
            wall_s,
            images_per_s: images as f64 / wall_s.max(1e-9),
            calibration_s,
            threads: settings.threads,
            micro_batch: settings.micro_batch,
        }),
    })
}

/// What preparing the trunk had to give up.
fn preparation_notes(trunk: &TrunkProgram) -> Option<String> {
    let biases: usize = trunk.steps.iter().map(|s| s.saturated_biases).sum();
    let constants: usize = trunk.steps.iter().map(|s| s.constant_channels).sum();
    let found = biases + constants > 0;
    found.then(|| format!("{biases} biases saturated at 32 bits; {constants} channels are constants"))
}

/// Refuses a chip whose widths are not those of int8 profiles. A profile with widths of its own was
/// asked for by name: it is a question about another chip, and the report says which arithmetic ran.
fn engine_runs(system: &System, profile: &Profile) -> Result<(), ExperimentError> {
    let (chip, has) = (&system.trunk, profile.arith());
    if has != Arith::INT8 {
        return Ok(());
    }
    let bits = |said: Option<u32>, otherwise: u8| said.map_or(otherwise, |b| b.min(255) as u8);
    let accumulator = bits(chip.arith.accumulator_bits, has.accumulator_bits);
    let weights = bits(chip.weight_bits(), has.weight_bits);
    let activations = bits(chip.activation_bits(), has.activation_bits);
    let refused = |why| ExperimentError::Arithmetic { chip: chip.name.clone(), why };
    profile.check_widths(accumulator, weights, activations).map_err(refused)
}

/// Fixes the scales of a float trunk.
fn calibrate(job: &mut Job) -> Result<(), ExperimentError> {
    if job.calibration.is_empty() {
        job.calibration = calibration_images(&job.tasks);
    }
    if job.calibration.is_empty() {
        return Err(ExperimentError::NoImages);
    }
    let shape = job.trunk.graph.shape(job.trunk.graph.input);
    let reals = input::reals(&job.calibration, shape, job.trunk.preprocess)?;
    let names: Vec<&str> = job.tasks.iter().map(|task| task.name.as_str()).collect();
    Ok(job.trunk.calibrate_from(&reals, &names.join(", "), job.request.seed)?)
}

/// The first images of data sets, in turn: what a float trunk's scales are fixed on. To be taken
/// before the sets are cut to the images that run, so that their number changes no scale.
pub fn calibration_images(tasks: &[Dataset]) -> Vec<Image> {
    let most = tasks.iter().map(Dataset::len).max().unwrap_or(0);
    let turns = (0..most).flat_map(|i| tasks.iter().filter_map(move |t| t.images.get(i)));
    turns.take(CALIBRATION_IMAGES).cloned().collect()
}

/// Runs the tasks one after another; each begins by loading its registers.
fn run_tasks(
    job: &Job,
    prepared: &Prepared,
    device: &mut dyn Device,
    settings: &Settings,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Outcome>, ExperimentError> {
    job.tasks.iter().map(|task| run_task(job, prepared, task, device, settings, progress)).collect()
}

fn run_task(
    job: &Job,
    prepared: &Prepared,
    task: &Dataset,
    device: &mut dyn Device,
    settings: &Settings,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Outcome, ExperimentError> {
    let graph = &prepared.placed.graph;
    let (shape, quant) = (graph.shape(graph.input), graph.edge(graph.input).quant);
    let how: Preprocess = job.trunk.preprocess;
    let source = |from: usize, to: usize| {
        progress(to - from);
        input::codes(&task.images[from..to], shape, how, quant).map_err(|e| RunError::Input(e.to_string()))
    };
    let settings = run::Settings {
        images: task.len(),
        micro_batch: settings.micro_batch,
        slots: SLOTS,
        threads: settings.threads,
        record: settings.compare.is_some(),
    };
    Ok(run::run(prepared, device, &source, &settings)?)
}

/// The class with the largest output; of equal ones the first, as numpy does.
pub fn arg_max(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if v.total_cmp(&values[best]).is_gt() {
            best = i;
        }
    }
    best
}

fn visual_domain(task: &Dataset, outcome: &Outcome, graph: &Graph, computes: bool) -> VisualDomain {
    let images = task.len();
    let accuracy = task.labels.as_ref().filter(|_| computes && images > 0).map(|labels| {
        let right = labels.iter().zip(&outcome.outputs).filter(|(l, o)| **l as usize == arg_max(o)).count();
        right as f64 / images as f64
    });
    let mut macs = MacCounts::default();
    for id in graph.node_ids() {
        macs.add(graph.node(id).domain, outcome.observed.get(Phase::Forward, Place::Node(id), Event::Macs));
    }
    VisualDomain { data: task.name.clone(), images, macs, accuracy, broken: task.broken.clone() }
}

fn overall_accuracy(domains: &[VisualDomain]) -> Option<f64> {
    let labelled: Vec<(f64, usize)> = domains.iter().filter_map(|d| d.accuracy.map(|a| (a, d.images))).collect();
    let images: usize = labelled.iter().map(|(_, n)| n).sum();
    (images > 0).then(|| labelled.iter().map(|(a, n)| a * *n as f64).sum::<f64>() / images as f64)
}

fn data_events(outcomes: &[Outcome]) -> DataEvents {
    let sum = |event| outcomes.iter().map(|o| o.observed.data_sum(event)).sum();
    DataEvents {
        saturations: sum(DataEvent::Saturations),
        overflows: sum(DataEvent::Overflows),
        not_a_number: sum(DataEvent::NotANumber),
    }
}

fn outputs_sha256(outcomes: &[Outcome]) -> String {
    let mut hash = Sha256::new();
    for value in outcomes.iter().flat_map(|o| &o.outputs).flatten() {
        hash.update(value.to_le_bytes());
    }
    hex(&hash.finalize())
}

/// How often two devices sent different codes to the trunk, and how far their outputs are apart.
fn compare(device: &str, first: &[Outcome], second: &[Outcome]) -> Comparison {
    let mut c = Comparison {
        device: device.into(),
        tap_in_codes: 0,
        tap_in_codes_differing: 0,
        outputs_differing: 0,
        largest_output_difference: 0.0,
        same_ledger: true,
    };
    for (a, b) in first.iter().zip(second) {
        c.same_ledger &= Ledger::differences(&a.observed, &b.observed).is_empty();
        let (Some(sent_a), Some(sent_b)) = (&a.sent, &b.sent) else { continue };
        for (key, codes) in sent_a {
            c.tap_in_codes += codes.codes();
            c.tap_in_codes_differing += codes.differing(&sent_b[key]);
        }
        for (x, y) in a.outputs.iter().flatten().zip(b.outputs.iter().flatten()) {
            c.outputs_differing += u64::from(x != y);
            c.largest_output_difference = c.largest_output_difference.max(f64::from((x - y).abs()));
        }
    }
    c
}
