//! What if: one calibrated float trunk under a grid of arithmetics.
//!
//! The float network runs once; every arithmetic of the grid then prepares the trunk anew and runs
//! the same images. Reported are the answers (top-1 where the data have labels, agreement with the
//! float network's top-1), per layer the ratio of signal to quantisation noise against the float
//! map, and what overflowed or saturated. A network whose source has only codes is taken as the
//! values that they stand for. Refused are images that the trunk cannot take and widths that no
//! engine has.

use super::input::{self, InputError};
use super::run::CALIBRATION_IMAGES;
use super::trunk::{Trunk, TrunkError};
use crate::data::Dataset;
use crate::graph::{EdgeId, Graph, GraphError};
use crate::quant::{Profile, ProfileError};
use crate::quantise::QuantiseError;
use crate::trunk::{TrunkError as PrepareError, prepare};
use float::FloatPass;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use thiserror::Error;

mod float;
mod grid;
mod measure;
mod recode;

pub use grid::{Grid, Point, word};
pub use measure::LayerRow;

#[derive(Debug, Error)]
pub enum SweepError {
    #[error(transparent)]
    Trunk(#[from] TrunkError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error("nothing to sweep over: the data set has no image")]
    NoImages,
}

/// What one arithmetic gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    #[serde(flatten)]
    pub point: Point,
    pub profile: String,
    /// Fraction of images whose largest output is their label's.
    pub top1: Option<f64>,
    /// Fraction of images whose largest output is the float network's.
    pub float_agreement: f64,
    /// Of the last layer, over all its values.
    pub output_sqnr_db: Option<f64>,
    /// Of the layer with the least.
    pub least_sqnr_db: Option<f64>,
    pub least_sqnr_layer: Option<String>,
    pub overflows: u64,
    pub saturations: u64,
    pub layers: Vec<LayerRow>,
}

/// The report of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sweep {
    pub schema: String,
    pub trunk: String,
    pub data: String,
    pub images: usize,
    /// Images over which layers are compared with their float maps.
    pub compared_images: usize,
    /// Of the float network.
    pub float_top1: Option<f64>,
    /// Arithmetics that were asked for.
    pub points: usize,
    /// Those that were finished, in the grid's order.
    pub rows: Vec<Row>,
    pub notes: Vec<String>,
}

/// Version of the report.
pub const SCHEMA: &str = "trunkline/quant-sweep/1";

/// Where a sweep is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Float,
    /// The arithmetic at work, counted from 0.
    Point(usize),
}

/// How a sweep is watched and ended.
pub struct Watch<'a> {
    /// Told of images as they are done.
    pub progress: &'a mut dyn FnMut(Stage, usize),
    /// Once set, the sweep ends with the arithmetics that are finished.
    pub stop: &'a AtomicBool,
}

/// Sweeps a trunk over a grid. A trunk without scales gets them from the first images.
pub fn sweep(mut trunk: Trunk, data: &Dataset, grid: &Grid, watch: &mut Watch) -> Result<Sweep, SweepError> {
    if data.is_empty() {
        return Err(SweepError::NoImages);
    }
    let points = grid.points();
    // A width that no engine has is refused before the work.
    let profiles: Vec<Profile> = points.iter().map(Point::profile).collect::<Result<_, _>>()?;
    let shape = trunk.graph.shape(trunk.graph.input);
    let reals = input::reals(&data.images, shape, trunk.preprocess)?;
    if !trunk.is_calibrated() {
        trunk.calibrate(&reals.slice(0, reals.batch.min(CALIBRATION_IMAGES)))?;
    }
    if float::dequantised(&mut trunk.graph) {
        trunk.notes.push("float weights are the values that the source's codes stand for".into());
    }
    let steps = prepare(&trunk.graph, &trunk.profile, 8)?.steps;
    let edges: Vec<EdgeId> = steps.iter().map(|s| s.output).collect();
    let float = float::pass(&trunk.graph, &reals, &edges, watch.stop, &mut |n| (watch.progress)(Stage::Float, n))?;
    drop(reals);
    let labels = labels(data, &trunk.graph, &mut trunk.notes);
    let mut report = Sweep {
        schema: SCHEMA.into(),
        trunk: trunk.name.clone(),
        data: data.name.clone(),
        images: data.len(),
        compared_images: float.compared,
        float_top1: labels.filter(|_| float.outputs.len() == data.len()).map(|l| share(&float_answers(&float), l)),
        points: points.len(),
        rows: vec![],
        notes: vec![],
    };
    for (i, (point, profile)) in points.iter().zip(&profiles).enumerate() {
        let mut progress = |n| (watch.progress)(Stage::Point(i), n);
        let variant = Variant { trunk: &trunk, point: *point, profile, data, float: &float };
        match variant.measured(labels, watch.stop, &mut progress)? {
            Some(row) => report.rows.push(row),
            None => break,
        }
    }
    report.notes = trunk.notes;
    Ok(report)
}

/// One arithmetic at work.
struct Variant<'a> {
    trunk: &'a Trunk,
    point: Point,
    profile: &'a Profile,
    data: &'a Dataset,
    float: &'a FloatPass,
}

/// Images in flight.
const MICRO_BATCH: usize = 8;

impl Variant<'_> {
    /// The row, or nothing if it was stopped.
    fn measured(
        &self,
        labels: Option<&[u32]>,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Option<Row>, SweepError> {
        let mut graph: Graph = self.trunk.graph.clone();
        recode::recode(&mut graph, self.trunk.profile.maps(), self.profile.maps())?;
        let program = prepare(&graph, self.profile, 8)?;
        let (shape, quant) = (graph.shape(graph.input), graph.edge(graph.input).quant);
        let mut tally = measure::Tally::new(&program, &graph, self.float);
        let images = &self.data.images;
        for (micro, batch) in images.chunks(MICRO_BATCH).enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let codes = input::codes(batch, shape, self.trunk.preprocess, quant)?;
            tally.run(&program, codes, micro * MICRO_BATCH);
            progress(batch.len());
        }
        let answers = tally.answers();
        let layers = tally.layers(&program);
        let least = layers.iter().filter_map(|l| l.sqnr_db.map(|db| (db, l))).min_by(|a, b| a.0.total_cmp(&b.0));
        let output = program.steps.iter().position(|s| s.output == graph.output);
        Ok(Some(Row {
            point: self.point,
            profile: self.profile.to_string(),
            top1: labels.map(|l| share(&answers, l)),
            float_agreement: share(&answers, &float_answers(self.float)),
            output_sqnr_db: output.and_then(|i| layers[i].sqnr_db),
            least_sqnr_db: least.map(|(db, _)| db),
            least_sqnr_layer: least.map(|(_, l)| l.layer.clone()),
            overflows: layers.iter().map(|l| l.overflows).sum(),
            saturations: layers.iter().map(|l| l.saturations).sum(),
            layers,
        }))
    }
}

/// The labels, if the network answers with classes of this data set.
fn labels<'a>(data: &'a Dataset, graph: &Graph, notes: &mut Vec<String>) -> Option<&'a [u32]> {
    let answers = graph.shape(graph.output).elements();
    let labels = data.labels.as_deref()?;
    if answers == data.classes.len() {
        return Some(labels);
    }
    notes.push(format!(
        "no top-1: the network has {answers} outputs, {} has {} classes",
        data.name,
        data.classes.len()
    ));
    None
}

fn float_answers(float: &FloatPass) -> Vec<u32> {
    float.outputs.iter().map(|o| measure::arg_max(o, f32::total_cmp)).collect()
}

/// The fraction of answers that are as wanted.
fn share(answers: &[u32], wanted: &[u32]) -> f64 {
    let same = answers.iter().zip(wanted).filter(|(a, w)| a == w).count();
    same as f64 / answers.len().max(1) as f64
}
