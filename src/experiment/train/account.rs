//! A training step as every step is asserted to run: its ledger by map and node, what it holds, and
//! what it costs on the modelled hardware.

use crate::experiment::training_account::Traffic;
use crate::graph::{GraphError, NodeId};
use crate::hw::System;
use crate::ledger::{Event, Place};
use crate::plan::backward;
use crate::plan::macs::MacCounts;
use crate::plan::prepared::Prepared;
use crate::plan::tap::Tap;
use crate::plan::training::{Batch, StepTime};
use crate::price;
use crate::run::{Trainer, TrainingMemory};
use crate::scheme::Placed;
use crate::units::Phase;
use serde::Serialize;

/// A step, and an epoch of such steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepAccount {
    pub schema: &'static str,
    pub scheme: String,
    pub device: String,
    pub system: String,
    pub images_per_step: usize,
    pub images_per_epoch: usize,
    pub steps_per_epoch: usize,
    /// Per image.
    pub macs_forward: MacCounts,
    pub macs_backward: MacCounts,
    pub forward: Traffic,
    pub backward: Traffic,
    /// Once per step.
    pub update: Traffic,
    /// Payload of all steps of an epoch, out of the trunk and into it.
    pub epoch_tap_out_bytes: u64,
    pub epoch_tap_in_bytes: u64,
    pub memory: TrainingMemory,
    /// Modelled.
    pub time: StepTime,
    /// Modelled; a lower bound where a figure is unknown.
    pub energy_pj_per_image: f64,
    pub energy_is_lower_bound: bool,
}

impl StepAccount {
    pub fn new(
        trainer: &Trainer,
        placed: &Placed,
        system: &System,
        batch: usize,
        images: usize,
    ) -> Result<Self, GraphError> {
        let graph = trainer.graph();
        let forward: Vec<Tap> = trainer.taps().iter().filter(|t| t.phase == Phase::Forward).cloned().collect();
        let errors = backward::taps(placed, trainer.gradients(), trainer.format());
        let memory = trainer.memory();
        let step = batch.min(images).max(1);
        let cut = Batch {
            micro_batches: step.div_ceil(memory.micro_batch),
            images: memory.micro_batch as u64,
            in_flight: memory.slots,
        };
        let again: Vec<NodeId> = trainer.again().into_iter().map(|(node, _)| node).collect();
        let costed = Prepared::step(graph, &forward, trainer.gradients(), &errors, &again)?.on(system, cut.images);
        let energy = price::price(&costed.activity, system);
        let one = trainer.predicted();
        let macs = |phase| {
            let mut counts = MacCounts::default();
            for id in graph.node_ids() {
                counts.add(graph.node(id).domain, one.get(phase, Place::Node(id), Event::Macs));
            }
            counts
        };
        let update = Traffic::of(&errors, Phase::Update);
        let steps = images.div_ceil(step);
        let [out, into] = trainer.bytes(images);
        // `bytes` counts one step's update; an epoch has one for every step.
        let more = (steps as u64).saturating_sub(1);
        Ok(Self {
            schema: "trunkline/train/1",
            scheme: placed.scheme.to_string(),
            device: trainer.device().name.clone(),
            system: system.name.clone(),
            images_per_step: step,
            images_per_epoch: images,
            steps_per_epoch: steps,
            macs_forward: macs(Phase::Forward),
            macs_backward: macs(Phase::Backward),
            forward: Traffic::of(&forward, Phase::Forward),
            backward: Traffic::of(&errors, Phase::Backward),
            update,
            epoch_tap_out_bytes: out + more * update.tap_out_bytes,
            epoch_tap_in_bytes: into + more * update.tap_in_bytes,
            memory,
            time: costed.train(cut),
            energy_pj_per_image: energy.total_pj.v,
            energy_is_lower_bound: energy.lower_bound,
        })
    }
}
