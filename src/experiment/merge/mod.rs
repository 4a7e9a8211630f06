//! A trained adapter folded into a new trunk: its convolutions into the weights, its batch norms into the
//! registers, its classifier into silicon; and what rounding the new weights changed.
//!
//! Refused: adapters that are no linear function of what their convolution reads or makes, an adapter of
//! another trunk. The frozen trunk is read and never written; its checksum is the same afterwards.

use super::adapters::{Adapters, Speed};
use super::eval::{EvalError, EvalSettings};
use super::input::{self, InputError};
use super::run::ExperimentError;
use super::train::adapter_file::Adapter;
use super::trunk::{Trunk, TrunkError};
use super::trunk_file::CalibrateError;
use crate::data::Subset;
use crate::device;
use crate::graph::structure::Structure;
use crate::graph::{EdgeId, Graph, GraphError, ParamValue};
use crate::hw::System;
use crate::model::hex;
use crate::quant::MapRule;
use crate::quantise::{self, Calibration, fixed_codes};
use crate::run::Prepared;
use crate::scheme::fuse::fused;
use crate::tensor::Tensor;
use crate::trunk::prepare;
use crate::units::HardwareDomain;
use serde::Serialize;
use thiserror::Error;

mod changes;

pub use changes::{Difference, LayerChange};

/// Version of the report.
pub const SCHEMA: &str = "trunkline/merge/1";

#[derive(Debug, Error)]
pub enum MergeError {
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    #[error("adapter '{adapter}' of scheme '{scheme}' cannot be folded into weights: {why}")]
    NotLinear { adapter: String, scheme: String, why: Box<GraphError> },
    #[error("the frozen trunk's codes were {before} before merging and are {after} now: it must not change")]
    Touched { before: String, after: String },
}

impl From<ExperimentError> for MergeError {
    fn from(error: ExperimentError) -> Self {
        Self::Eval(error.into())
    }
}

/// An adapter, its trunk, and images.
pub struct MergeJob<'a> {
    pub trunk: Trunk,
    pub adapter: Adapter,
    /// What the two networks are compared on.
    pub data: Subset,
    /// What fixes the codes of the classifier, which the frozen trunk did not have.
    pub calibration: Subset,
    pub calibration_images: usize,
    pub system: &'a System,
    /// The command, for the new trunk's file.
    pub command: String,
}

/// The report of a merge.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MergeReport {
    pub schema: &'static str,
    pub trunk: String,
    pub adapter: String,
    pub scheme: String,
    /// Of the frozen trunk, the same before and after.
    pub frozen_sha256: String,
    pub merged_sha256: String,
    /// Weight codes of the layers that both have, and how many of them differ.
    pub codes: u64,
    pub changed_codes: u64,
    pub layers: Vec<LayerChange>,
    pub difference: Difference,
}

/// Folds an adapter into a new trunk and compares the two on images.
pub fn merge(job: MergeJob, settings: &EvalSettings) -> Result<(Trunk, MergeReport), MergeError> {
    let mut adapters = Adapters::new(job.trunk.clone(), job.system);
    adapters.load("merge", &job.adapter, settings.force)?;
    adapters.set("merge")?;
    let frozen_sha256 = adapters.trunk_sha256().to_string();
    let prepared = adapters.prepared()?;
    let logits = prepared.placed.graph.output;
    let name = prepared.placed.graph.edge(logits).name.clone();
    let merged = merged(&job, &prepared)?;
    let program = prepare(&merged.graph, &merged.profile, 8).map_err(ExperimentError::from)?;
    let layers = changes::layers(prepared.trunk, &program);

    let mut device = device::open(&settings.device).map_err(ExperimentError::from)?;
    let speed = Speed { micro_batch: settings.micro_batch, threads: settings.threads };
    let apart = adapters.outputs(&job.data, device.as_mut(), speed)?;
    let logits =
        merged.graph.edges.iter().position(|e| e.name == name).map_or(merged.graph.output, |i| EdgeId(i as u32));
    let together = changes::outputs(&merged, &program, logits, &job.data, settings)?;
    let label = |i: usize| job.data.samples.label(i);

    // Placing the adapter anew on the trunk that is here gives the silicon that there was.
    let mut again = Adapters::new(job.trunk.clone(), job.system);
    again.load("merge", &job.adapter, settings.force)?;
    if again.trunk_sha256() != frozen_sha256 {
        return Err(MergeError::Touched { before: frozen_sha256, after: again.trunk_sha256().into() });
    }
    let report = MergeReport {
        schema: SCHEMA,
        trunk: job.trunk.name.clone(),
        adapter: job.adapter.folder.display().to_string(),
        scheme: job.adapter.config.scheme.clone(),
        frozen_sha256,
        merged_sha256: hex(&program.checksum()),
        codes: layers.iter().map(|l| l.codes).sum(),
        changed_codes: layers.iter().map(|l| l.changed_codes).sum(),
        layers,
        difference: Difference::of(&job.data.name, &apart, &together, label),
    };
    Ok((merged, report))
}

/// The new trunk: float where weights are new, with the codes that its maps had.
fn merged(job: &MergeJob, prepared: &Prepared) -> Result<Trunk, MergeError> {
    let mut placed = prepared.placed.graph.clone();
    if !prepared.placed.structure.head.is_empty() {
        // Running ends at the logits; the network goes on to what its classifier ends with.
        placed.output = job.trunk.graph.output;
    }
    let mut graph = fused(&placed).map_err(|why| MergeError::NotLinear {
        adapter: job.adapter.folder.display().to_string(),
        scheme: job.adapter.config.scheme.clone(),
        why: Box::new(why),
    })?;
    graph.nodes.iter_mut().for_each(|node| node.domain = HardwareDomain::Trunk);
    graph.params.iter_mut().for_each(|param| param.trainable = false);
    let shape = graph.shape(graph.input);
    let images = job.calibration.spread(job.calibration_images, [shape.h, shape.w]).map_err(ExperimentError::from)?;
    let reals = input::reals(&images, shape, job.trunk.preprocess);
    let reals = reals.map_err(|e: InputError| ExperimentError::from(e))?;
    code_head(&mut graph, &reals, job.trunk.calibration, job.trunk.profile.maps())
        .map_err(|e| ExperimentError::from(TrunkError::from(e)))?;
    let mut trunk = Trunk { graph, name: format!("{}-merged", job.trunk.name), ..job.trunk.clone() };
    trunk.provenance.recipe = Some(job.command.clone());
    trunk.notes.push(format!(
        "adapter '{}' trained on {} is folded into its weights; codes of its classifier from {} images of {}",
        job.adapter.config.scheme, job.adapter.config.training.data, reals.batch, job.calibration.name
    ));
    Ok(trunk)
}

/// Gives the classifier codes from what is seen on `images`, and new weights the means of what they
/// multiply, as calibration does. Other maps keep their codes: the adapter was trained with them.
fn code_head(
    graph: &mut Graph,
    images: &Tensor<f32>,
    how: Calibration,
    rule: MapRule,
) -> Result<(), quantise::QuantiseError> {
    let mut seen = graph.clone();
    quantise::calibrate(&mut seen, images, how, rule)?;
    let head = Structure::find(graph)?.head;
    for id in graph.order()? {
        let node = graph.node(id);
        if !head.contains(&id) {
            continue;
        }
        let (output, input) = (node.output, graph.edge(node.inputs[0]).quant);
        let quant = fixed_codes(&node.op, input, rule).or(seen.edge(output).quant);
        graph.edge_mut(output).quant = quant;
    }
    for (param, seen) in graph.params.iter_mut().zip(seen.params) {
        if param.input_means.is_empty() && matches!(param.value, ParamValue::F32(_)) {
            param.input_means = seen.input_means;
        }
    }
    Ok(())
}
