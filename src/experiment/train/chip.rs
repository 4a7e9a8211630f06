//! The learner that sessions train: adapters on the adapter device, through a trunk on the chip.

use super::learner::{Learner, StepAt, StepOutcome};
use super::snapshot::{Array, Evaluation, Held};
use crate::data::Broken;
use crate::data::loader::{Loader, Waiting};
use crate::device::Device;
use crate::experiment::input::{self, Preprocess};
use crate::experiment::loading::{Feed, InOrder, Loading};
use crate::experiment::run::{ExperimentError, SLOTS, arg_max};
use crate::graph::{Graph, Param, ParamKind, ParamValue};
use crate::ledger::{DataEvent, Ledger, Place};
use crate::plan::tap::Tap;
use crate::run::{self, Prepared, RunError, State, Trainer};
use crate::scheme::Placed;
use crate::tensor::Tensor;
use crate::trunk::TrunkProgram;
use crate::units::{HardwareDomain, Phase};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A placed trunk with the data that it learns and is measured on.
pub struct ChipLearner<'a> {
    pub trainer: Trainer<'a>,
    pub placed: &'a Placed,
    pub taps: &'a [Tap],
    pub data: Feed,
    pub validation: Option<Loader>,
    /// Of the validation set, as of its last evaluation.
    pub broken_validation: Broken,
    /// How long this sitting's steps took.
    pub stepping: Duration,
    pub preprocess: Preprocess,
    /// Runs the validation set; the trainer's holds what trains.
    pub evaluator: Box<dyn Device>,
    pub threads: usize,
    /// Modelled, of one image of a training step.
    pub energy_pj: Option<f64>,
}

/// The input codes of images.
fn codes(graph: &Graph, how: Preprocess, pixels: &Tensor<u8>) -> Result<Tensor<i8>, RunError> {
    let quant = graph.edge(graph.input).quant;
    input::codes_of(pixels, how, quant).map_err(|e| RunError::Input(e.to_string()))
}

/// A placed graph with other values of its parameters, ending at the trainer's logits.
pub fn with_values(placed: &Placed, logits: &Graph, states: &[State]) -> Placed {
    let mut placed = placed.clone();
    placed.graph.output = logits.output;
    for state in states {
        placed.graph.params[state.param.index()].value = ParamValue::F32(state.value.clone());
    }
    placed
}

/// What a placed graph makes of a set.
pub fn outputs(
    prepared: &Prepared,
    set: &Loader,
    how: Preprocess,
    device: &mut dyn Device,
    settings: &run::Settings,
) -> Result<Vec<Vec<f32>>, RunError> {
    Ok(made(prepared, set, how, device, settings)?.outputs)
}

/// What came out; of the images that are blank, because they do not decode, it means nothing.
struct Made {
    outputs: Vec<Vec<f32>>,
    blank: Vec<usize>,
    broken: Broken,
}

fn made(
    prepared: &Prepared,
    set: &Loader,
    how: Preprocess,
    device: &mut dyn Device,
    settings: &run::Settings,
) -> Result<Made, RunError> {
    let images = InOrder::start(set);
    let source = |from: usize, to: usize| {
        let pixels = images.pixels(from, to).map_err(|e| RunError::Input(e.to_string()))?;
        codes(&prepared.placed.graph, how, &pixels)
    };
    let settings = run::Settings { images: images.images(), ..*settings };
    let outputs = run::run(prepared, device, &source, &settings)?.outputs;
    let (blank, broken) = images.finish();
    Ok(Made { outputs, blank, broken })
}

/// What an evaluation gave.
pub struct Measured {
    /// Over the images that have a label.
    pub evaluation: Evaluation,
    /// The class of every image; none of one that does not decode.
    pub predictions: Vec<Option<usize>>,
    pub broken: Broken,
}

/// How a placed graph does on a set, and which of its images do not decode: they count for
/// nothing.
pub fn evaluate(
    prepared: &Prepared,
    set: &Loader,
    how: Preprocess,
    device: &mut dyn Device,
    settings: &run::Settings,
) -> Result<Measured, RunError> {
    let Made { outputs, blank, broken } = made(prepared, set, how, device, settings)?;
    let (mut loss, mut hits, mut labelled, mut predictions) = (0.0, 0u64, 0u64, vec![]);
    for (index, logits) in outputs.iter().enumerate() {
        let sound = blank.binary_search(&index).is_err();
        predictions.push(sound.then(|| arg_max(logits)));
        let Some(label) = set.samples().label(index).filter(|_| sound) else { continue };
        loss += cross_entropy(logits, label as usize);
        hits += u64::from(arg_max(logits) == label as usize);
        labelled += 1;
    }
    let of = labelled.max(1) as f64;
    let evaluation = Evaluation { loss: loss / of, accuracy: hits as f64 / of, images: labelled };
    Ok(Measured { evaluation, predictions, broken })
}

fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&v| f64::from(v - largest).exp()).sum();
    logits.get(label).map_or(f64::NAN, |&own| sum.ln() - f64::from(own - largest))
}

impl ChipLearner<'_> {
    /// How loading went so far.
    pub fn loading(&self) -> Loading {
        let (waited_s, elapsed_s) = (self.data.waited().as_secs_f64(), self.stepping.as_secs_f64());
        Loading {
            waiting: Waiting { waited_s, elapsed_s },
            broken: self.data.broken().clone(),
            broken_validation: self.broken_validation.clone(),
        }
    }

    /// Takes trunk and devices over from the task that has them; gives what crossed.
    pub fn take_over(&mut self, from: &mut Self) -> Result<Ledger, ExperimentError> {
        std::mem::swap(&mut self.evaluator, &mut from.evaluator);
        Ok(self.trainer.take_over(&mut from.trainer)?)
    }

    fn states(&mut self) -> Result<Vec<State>, ExperimentError> {
        Ok(self.trainer.state()?)
    }

    /// The placed graph and the trunk as they are now.
    fn now(&mut self) -> Result<(Placed, TrunkProgram), ExperimentError> {
        let states = self.states()?;
        Ok((with_values(self.placed, self.trainer.graph(), &states), self.trainer.trunk().clone()))
    }

    /// Weights of the adapters that do not train: they are not the trunk's, so a checkpoint has them too.
    fn fixed(&self) -> Vec<Array> {
        let graph = &self.placed.graph;
        let own = graph.nodes.iter().filter(|n| n.site.is_some() && n.domain == HardwareDomain::Adapter);
        let params = own.flat_map(|n| &n.params).map(|&p| graph.param(p));
        let fixed = params.filter(|p| !p.trainable && p.kind == ParamKind::Weight);
        let array = |p: &Param| Array { name: p.name.clone(), dims: p.dims.clone(), values: p.value.to_f32() };
        fixed.map(array).collect()
    }

    /// Codes that a join or a tap-in cut, by name.
    fn saturations(&self, observed: &Ledger) -> Vec<(String, u64)> {
        let graph = self.trainer.graph();
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for (phase, place, n) in observed.data_counts(DataEvent::Saturations) {
            let name = match place {
                Place::Node(node) if phase == Phase::Forward => graph.node(node).name.clone(),
                Place::Node(node) => format!("{}.error", graph.node(node).name),
                Place::Tap(edge, _) => graph.edge(edge).name.clone(),
                Place::Registers | Place::Parameters => continue,
            };
            *found.entry(name).or_default() += n;
        }
        found.into_iter().collect()
    }
}

impl Learner for ChipLearner<'_> {
    type Error = ExperimentError;

    fn images(&self) -> usize {
        self.data.images()
    }

    fn step(&mut self, at: StepAt, indices: &[usize]) -> Result<StepOutcome, ExperimentError> {
        let started = Instant::now();
        let batch = self.data.batch(at.step)?;
        let count = batch.indices.len();
        assert_eq!(count + batch.broken.len(), indices.len(), "the loader and the session count batches alike");
        if count == 0 {
            // None of them decodes: there is nothing to learn.
            return Ok(StepOutcome::default());
        }
        let images: Vec<u32> = batch.indices.iter().map(|&i| i as u32).collect();
        let (graph, how) = (&self.placed.graph, self.preprocess);
        let source = |from: usize, to: usize| codes(graph, how, &batch.pixels.slice(from, to));
        let outcome = self.trainer.step(&source, &images, &batch.labels, at.rate)?;
        self.stepping += started.elapsed();
        let memory = self.trainer.memory();
        let [bytes_down, bytes_up] = self.trainer.bytes(count);
        let kept_b = memory.trunk_kept_b * (memory.micro_batch * memory.slots) as u64;
        Ok(StepOutcome {
            loss_sum: outcome.loss,
            hits: outcome.hits,
            images: count as u64,
            bytes_down,
            bytes_up,
            energy_pj: self.energy_pj.map(|e| e * count as f64),
            peak_bytes: memory.adapter_maps_b + memory.adapter_state_b + kept_b,
            saturations: self.saturations(&outcome.observed),
        })
    }

    fn evaluate(&mut self) -> Result<Option<Evaluation>, ExperimentError> {
        self.trainer.check_frozen()?;
        let Some(set) = self.validation.clone() else { return Ok(None) };
        let (placed, trunk) = self.now()?;
        let prepared = Prepared { placed: &placed, trunk: &trunk, taps: self.taps };
        let settings = run::Settings {
            images: set.samples().len(),
            micro_batch: self.trainer.micro_batch(),
            slots: SLOTS,
            threads: self.threads,
            record: false,
        };
        let found = evaluate(&prepared, &set, self.preprocess, self.evaluator.as_mut(), &settings)?;
        self.broken_validation = found.broken;
        Ok(Some(found.evaluation))
    }

    fn snapshot(&mut self) -> Result<Held, ExperimentError> {
        let states = self.states()?;
        let graph = self.trainer.graph();
        let array = |s: &State| {
            let param = graph.param(s.param);
            Array { name: param.name.clone(), dims: param.dims.clone(), values: s.value.clone() }
        };
        let moments = states.iter().filter(|s| !s.moments.is_empty());
        let moments = moments.map(|s| (graph.param(s.param).name.clone(), s.moments.clone()));
        let exponents = self.trainer.exponents.entries().map(|(key, e)| (key.to_string(), e));
        let fixed = self.fixed();
        Ok(Held {
            values: states.iter().map(array).chain(fixed).collect(),
            moments: moments.collect(),
            exponents: exponents.collect(),
        })
    }

    fn restore(&mut self, held: &Held, step: u64) -> Result<(), ExperimentError> {
        let states = states_of(self.trainer.graph(), &held.values, &held.moments)?;
        for fixed in self.fixed() {
            if held.values.iter().any(|a| a.name == fixed.name && *a != fixed) {
                let why =
                    format!("array '{}' of the checkpoint is of another adapter than the one begun with", fixed.name);
                return Err(RunError::Input(why).into());
            }
        }
        self.trainer.set_state(&states)?;
        self.trainer.step = step;
        let exponents = held.exponents.iter().filter_map(|(key, &e)| Some((key.parse().ok()?, e)));
        self.trainer.exponents = exponents.collect();
        Ok(())
    }
}

/// Named arrays as states of a graph's parameters. Refuses names and sizes that the graph has not.
pub fn states_of(
    graph: &Graph,
    values: &[Array],
    moments: &[(String, Vec<Vec<f32>>)],
) -> Result<Vec<State>, ExperimentError> {
    let refused = |name: &str, why: String| {
        ExperimentError::from(RunError::Input(format!("array '{name}' of the checkpoint {why}")))
    };
    values
        .iter()
        .map(|array| {
            // A classifier that was replaced has left its arrays behind, which no node reads.
            let mut read = graph.nodes.iter().flat_map(|n| &n.params);
            let found = read.find(|&&p| graph.param(p).name == array.name).map(|p| p.index());
            let index = found.ok_or_else(|| refused(&array.name, "is no parameter of this network".into()))?;
            let wants = &graph.params[index].dims;
            if *wants != array.dims {
                return Err(refused(&array.name, format!("has dimensions {:?}, here it has {wants:?}", array.dims)));
            }
            let own = moments.iter().find(|(name, _)| *name == array.name).map(|(_, m)| m.clone());
            let own = own.unwrap_or_default();
            if own.iter().any(|m| m.len() != array.values.len()) {
                return Err(refused(&array.name, "has optimiser buffers of another size".into()));
            }
            Ok(State { param: crate::graph::ParamId(index as u32), value: array.values.clone(), moments: own })
        })
        .collect()
}
