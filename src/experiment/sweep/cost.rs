//! What a placed trunk costs: counted once, then priced on any number of systems.

use super::record::{Counted, Modelled, TapRow, TrainingCounts};
use crate::experiment::training_account::{Traffic, training_account};
use crate::graph::GraphError;
use crate::graph::gradient::Gradients;
use crate::hw::System;
use crate::plan::backward;
use crate::plan::macs::{self, MacRule};
use crate::plan::prepared::Prepared;
use crate::plan::tap::{Tap, TapPrecision, taps};
use crate::plan::{connections, params};
use crate::price;
use crate::quant::error_code::GradFormat;
use crate::scheme::Placed;
use crate::units::Phase;
use std::collections::BTreeSet;

/// A placed trunk under one tap precision: its counts, and its tasks without their times.
pub struct Costs {
    pub counted: Counted,
    pub taps: Vec<TapRow>,
    prepared: Prepared,
}

impl Costs {
    pub fn new(placed: &Placed, precision: TapPrecision, grad: GradFormat) -> Result<Self, GraphError> {
        let graph = &placed.graph;
        let forward = taps(placed, precision)?;
        let sites: BTreeSet<&str> = graph.nodes.iter().filter_map(|n| n.site.as_deref()).collect();
        let switch_bytes = forward.iter().filter(|t| t.phase == Phase::Switch).map(|t| t.bytes).sum();
        let counted = Counted {
            classes: graph.shape(graph.output).elements() as u64,
            adapted_sites: sites.len() as u64,
            params: params::count(placed),
            macs: macs::count(graph, MacRule::Conv),
            connections: connections::count(placed, &forward),
            forward: Traffic::of(&forward, Phase::Forward),
            switch_bytes,
            training: training(placed, &forward, grad),
        };
        let backward = Gradients::of(graph).map(|g| backward::taps(placed, &g, grad)).unwrap_or_default();
        let rows = forward.iter().chain(&backward).map(row).collect();
        Ok(Self { counted, taps: rows, prepared: Prepared::forward(graph, &forward)? })
    }

    /// One image on a system.
    pub fn on(&self, system: &System) -> Modelled {
        let timed = self.prepared.on(system, 1).time();
        let energy = price::price(&timed.activity, system);
        let unknown: BTreeSet<&String> = timed.unknown.iter().chain(&energy.unknown).collect();
        Modelled {
            latency_ps: timed.time.latency_ps,
            exposed_link_ps: timed.time.exposed_link_ps,
            throughput_per_s: timed.time.throughput_per_s,
            bottleneck: timed.time.bottleneck,
            time_lower_bound: timed.time.lower_bound,
            link_wire_bytes: timed.link.wire_bytes,
            energy_pj: energy.total_pj.v,
            energy_low_pj: energy.total_pj.lo,
            energy_high_pj: energy.total_pj.hi,
            energy_lower_bound: energy.lower_bound,
            energy_confidence: energy.confidence.to_string(),
            energy_trunk_pj: energy.trunk_pj.v,
            energy_adapter_pj: energy.adapter_pj.v,
            energy_host_pj: energy.host_pj.v,
            energy_link_pj: energy.link_pj.v,
            energy_memory_pj: energy.memory_pj.v,
            energy_idle_pj: energy.idle_pj.v,
            unknown_figures: unknown.len() as u64,
        }
    }
}

/// What a training step counts, if the network can be trained.
fn training(placed: &Placed, forward: &[Tap], grad: GradFormat) -> Option<TrainingCounts> {
    let account = training_account(placed, forward, grad).ok()?;
    Some(TrainingCounts {
        macs_backward: account.macs_backward,
        backward: account.backward,
        update: account.update,
        kept_published_b: account.kept_published_b,
        kept_adapter_b: account.kept_adapter_b,
        kept_trunk_b: account.kept_trunk_b,
        trainable_b: account.trainable_b,
        gradients_b: account.gradients_b,
        momentum_b: account.momentum_b,
    })
}

fn row(tap: &Tap) -> TapRow {
    TapRow {
        name: tap.name.clone(),
        direction: tap.direction,
        phase: tap.phase,
        elements: tap.elements,
        bits: tap.bits,
        bytes: tap.bytes,
    }
}
