//! Adapters of several tasks on one trunk, swapped while the program runs.
//!
//! The trunk is prepared once. Setting an adapter writes its registers, counted and held to the prediction;
//! its other values go to the adapter device with the next run. Refused: an adapter of another trunk or
//! profile (unless forced), of another scheme, sites, batch norm mode or precision than those beside it.

use super::eval::EvalError;
use super::loading::in_order;
use super::run::{ExperimentError, SLOTS};
use super::train::adapter_file::{Adapter, AdapterConfig};
use super::train::chip::{Measured, evaluate, outputs, states_of, with_values};
use super::train::prepared;
use super::trunk::Trunk;
use crate::data::Subset;
use crate::data::loader::Loader;
use crate::device::Device;
use crate::graph::gradient::Gradients;
use crate::hw::System;
use crate::ledger::Ledger;
use crate::model::hex;
use crate::plan::switch::Load;
use crate::plan::tap::Tap;
use crate::run::{self, Prepared, RunError, load_registers, logits};
use crate::scheme::{Placed, Request, SchemeSpec};
use crate::trunk::TrunkProgram;
use std::collections::BTreeMap;

/// A trunk and the adapters that were loaded for it.
pub struct Adapters<'a> {
    trunk: Trunk,
    system: &'a System,
    chip: Option<Chip>,
    loaded: BTreeMap<String, Loaded>,
    active: Option<String>,
}

/// How a run is cut, which changes its speed and no result.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    pub micro_batch: usize,
    /// 0 for one per core.
    pub threads: usize,
}

impl Speed {
    fn settings(self) -> run::Settings {
        let Self { micro_batch, threads } = self;
        run::Settings { images: 0, micro_batch, slots: SLOTS, threads, record: false }
    }
}

/// The prepared trunk, and what every adapter on it must share.
struct Chip {
    program: TrunkProgram,
    /// Before any task's registers were loaded.
    sha256: String,
    kind: String,
}

struct Loaded {
    placed: Placed,
    taps: Vec<Tap>,
}

/// What adapters that share a prepared trunk have in common.
fn kind(config: &AdapterConfig) -> String {
    let sites = config.sites.as_deref().unwrap_or("its own sites");
    let AdapterConfig { scheme, batch_norm, tap_in_bits, .. } = config;
    format!("{scheme} at {sites}, batch norm {batch_norm}, {tap_in_bits} bits in")
}

/// What an adapter's configuration asks of a trunk.
pub fn request(config: &AdapterConfig) -> Result<Request, EvalError> {
    let refused = |why| EvalError::Config { why };
    Ok(Request {
        scheme: SchemeSpec(config.scheme.clone()),
        sites: config.sites.as_deref().map(str::parse).transpose().map_err(refused)?,
        batch_norm: Some(config.batch_norm.parse().map_err(refused)?),
        seed: config.training.seed,
    })
}

fn loader(prepared: &Prepared, data: &Subset, how: Speed) -> Result<Loader, ExperimentError> {
    let graph = &prepared.placed.graph;
    Ok(in_order(data, graph.shape(graph.input), how.micro_batch, how.threads)?)
}

impl<'a> Adapters<'a> {
    /// No adapter yet; the trunk has its scales.
    pub fn new(trunk: Trunk, system: &'a System) -> Self {
        Self { trunk, system, chip: None, loaded: BTreeMap::new(), active: None }
    }

    /// Loads an adapter under a name, in the place of what had it.
    pub fn load(&mut self, name: &str, adapter: &Adapter, force: bool) -> Result<(), EvalError> {
        let config = &adapter.config;
        let request = request(config)?;
        let trunk = self.trunk.clone().with_fresh_head(config.classes.len(), config.training.seed);
        let trunk = trunk.map_err(ExperimentError::from)?;
        let (placed, program, taps) = prepared(&trunk, &request, self.system, config.tap_in_bits)?;
        let sha256 = hex(&program.checksum());
        adapter.check_trunk(&sha256, &trunk.profile.to_string(), force)?;
        let chip = self.chip.get_or_insert_with(|| Chip { program, sha256, kind: kind(config) });
        if chip.kind != kind(config) {
            return Err(EvalError::OtherKind { name: name.into(), has: kind(config), wants: chip.kind.clone() });
        }
        let values: Vec<_> = adapter.values.values().cloned().collect();
        let states = states_of(&placed.graph, &values, &[])?;
        let placed = with_values(&placed, &logits(&placed.graph), &states);
        self.loaded.insert(name.into(), Loaded { placed, taps });
        self.active = self.active.take().filter(|active| active != name);
        Ok(())
    }

    /// The names under which there are adapters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.loaded.keys().map(String::as_str)
    }

    /// Forgets an adapter.
    pub fn remove(&mut self, name: &str) -> Result<(), EvalError> {
        self.loaded.remove(name).ok_or_else(|| self.unknown(name))?;
        self.active = self.active.take().filter(|active| active != name);
        Ok(())
    }

    /// Makes an adapter the one that runs, and gives what crossed into the trunk for it.
    pub fn set(&mut self, name: &str) -> Result<Ledger, EvalError> {
        let (Some(chip), Some(Loaded { placed, .. })) = (&mut self.chip, self.loaded.get(name)) else {
            return Err(self.unknown(name));
        };
        let gradients = Gradients::of(&placed.graph).map_err(ExperimentError::from)?;
        let predicted = Load::of(placed, &gradients, 0).into_trunk().tally();
        let observed = load_registers(placed, &mut chip.program).map_err(ExperimentError::from)?;
        let differences = Ledger::differences(&predicted, &observed);
        if !differences.is_empty() {
            return Err(ExperimentError::from(RunError::NotAsPredicted(differences)).into());
        }
        self.active = Some(name.into());
        Ok(observed)
    }

    /// What the adapter that is set makes of images.
    pub fn outputs(&self, data: &Subset, device: &mut dyn Device, how: Speed) -> Result<Vec<Vec<f32>>, EvalError> {
        let prepared = self.prepared()?;
        let images = loader(&prepared, data, how)?;
        let found = outputs(&prepared, &images, self.trunk.preprocess, device, &how.settings());
        Ok(found.map_err(ExperimentError::from)?)
    }

    /// How it does on labelled ones, what it takes them for, and which of them do not decode.
    pub fn evaluate(&self, data: &Subset, device: &mut dyn Device, how: Speed) -> Result<Measured, EvalError> {
        let prepared = self.prepared()?;
        let images = loader(&prepared, data, how)?;
        let found = evaluate(&prepared, &images, self.trunk.preprocess, device, &how.settings());
        Ok(found.map_err(ExperimentError::from)?)
    }

    /// The adapter that is set, on its trunk.
    pub fn prepared(&self) -> Result<Prepared<'_>, EvalError> {
        let active = self.active.as_ref().and_then(|name| self.loaded.get(name));
        match (&self.chip, active) {
            (Some(chip), Some(Loaded { placed, taps })) => Ok(Prepared { placed, trunk: &chip.program, taps }),
            _ => Err(EvalError::NoneSet),
        }
    }

    /// Of the trunk as it was prepared.
    pub fn trunk_sha256(&self) -> &str {
        self.chip.as_ref().map_or("", |chip| &chip.sha256)
    }

    fn unknown(&self, name: &str) -> EvalError {
        let known: Vec<&str> = self.names().collect();
        EvalError::NoAdapter { name: name.into(), known: known.join(", ") }
    }
}
