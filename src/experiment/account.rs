//! What a placed trunk costs on a system, counted without executing: one row of a report.

use super::training_account::TrainingAccount;
use super::trunk::Trunk;
use crate::graph::GraphError;
use crate::hw::System;
use crate::hw::timing::layers;
use crate::plan::connections::{self, Connections};
use crate::plan::macs::{self, MacCounts, MacRule};
use crate::plan::params::{self, ParamCounts};
use crate::plan::schedule::{self, LinkUse, Time};
use crate::plan::tap::{Tap, TapPrecision, taps};
use crate::plan::tap_format::TapFormat;
use crate::price::area::{Network, area};
use crate::price::{self, Activity, EnergyReport};
use crate::scheme::{self, BatchNormMode, Placed, Request, SchemeError};
use crate::tensor::Shape;
use serde::Serialize;
use std::collections::BTreeSet;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum AccountError {
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Energy of one image by part, in picojoule; `low` and `high` bound the known part of the total.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EnergyPj {
    pub trunk: f64,
    pub adapter: f64,
    pub host: f64,
    pub link: f64,
    pub memory: f64,
    pub idle: f64,
    pub total: f64,
    pub low: f64,
    pub high: f64,
    /// Whether figures are missing, so that every sum is at least this.
    pub lower_bound: bool,
    /// The parts that miss a figure.
    pub lower_bound_parts: Vec<String>,
}

/// Silicon of the trunk, in mm²; of a chip whose weights are wires that of this network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AreaMm2 {
    pub logic: f64,
    pub memory: f64,
    pub total: f64,
    pub low: f64,
    pub high: f64,
    pub lower_bound: bool,
}

/// One row: everything per image, nothing measured, nothing that depends on how it was executed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Account {
    pub schema: String,
    pub trunk: String,
    pub scheme: String,
    pub sites: String,
    pub batch_norm: BatchNormMode,
    pub input: Shape,
    pub classes: usize,
    pub system: String,
    pub profile: String,
    pub tap_in_bits: TapFormat,
    pub mac_rule: MacRule,
    pub params: ParamCounts,
    pub macs: MacCounts,
    pub connections: Connections,
    pub taps: Vec<Tap>,
    /// A training step, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingAccount>,
    pub link: LinkUse,
    /// Physical wires of the link; `None` where nobody says.
    pub link_wires: Option<u64>,
    pub time: Time,
    pub energy_pj: EnergyPj,
    pub trunk_area_mm2: AreaMm2,
    /// The worst confidence that the energy rests on.
    pub confidence: String,
    /// Figures that time or energy would need and nobody knows.
    pub unknown: Vec<String>,
    pub notes: Vec<String>,
}

/// Version of the rows of `account` and `run`.
pub const SCHEMA: &str = "trunkline/report/1";

/// Places `request` on a trunk and counts one image of it on `system`.
pub fn account(
    trunk: &Trunk,
    request: &Request,
    system: &System,
    tap_in_bits: TapFormat,
    rule: MacRule,
) -> Result<(Account, Placed), AccountError> {
    let placed = scheme::place(&trunk.graph, request)?;
    let row = count(trunk, &placed, system, tap_in_bits, rule)?;
    Ok((row, placed))
}

/// Counts one image of a placed trunk on `system`.
pub fn count(
    trunk: &Trunk,
    placed: &Placed,
    system: &System,
    tap_in_bits: TapFormat,
    rule: MacRule,
) -> Result<Account, AccountError> {
    let taps = taps(placed, TapPrecision::on(system, tap_in_bits))?;
    let timed = schedule::time(&placed.graph, &taps, system)?;
    let energy = price::price(&timed.activity, system);
    let unknown: BTreeSet<String> = timed.unknown.iter().chain(&energy.unknown).cloned().collect();
    let notes = trunk.notes.iter().chain(&energy.notes).cloned().chain(other_arithmetic(trunk, system)).collect();
    Ok(Account {
        schema: SCHEMA.into(),
        trunk: trunk.name.clone(),
        scheme: placed.scheme.to_string(),
        sites: placed.sites.as_ref().map_or("none".into(), ToString::to_string),
        batch_norm: placed.batch_norm,
        input: placed.graph.shape(placed.graph.input),
        classes: placed.graph.shape(placed.graph.output).elements(),
        system: system.name.clone(),
        profile: trunk.profile.name().into(),
        tap_in_bits,
        mac_rule: rule,
        params: params::count(placed),
        macs: macs::count(&placed.graph, rule),
        connections: connections::count(placed, &taps),
        taps,
        training: None,
        link: timed.link,
        link_wires: system.link.phy.wires.value().map(|n| n as u64),
        time: timed.time,
        confidence: energy.confidence.to_string(),
        energy_pj: energy_pj(&energy),
        trunk_area_mm2: trunk_area(placed, &timed.activity, system),
        unknown: unknown.into_iter().collect(),
        notes,
    })
}

/// A warning where the model's arithmetic is not the one that the chip is said to have.
fn other_arithmetic(trunk: &Trunk, system: &System) -> Option<String> {
    let chip = system.trunk.arith.profile.as_deref().filter(|p| *p != trunk.profile.name())?;
    let (model, name) = (trunk.profile.name(), &system.trunk.name);
    Some(format!("codes are computed as {model}, the model's arithmetic; {name} is said to compute {chip}"))
}

fn trunk_area(placed: &Placed, activity: &Activity, system: &System) -> AreaMm2 {
    let nonzero_weights = layers::nonzero_weights(&placed.graph);
    let area = area(Network { nonzero_weights, line_buffer_b: activity.line_buffer_b }, &system.trunk);
    AreaMm2 {
        logic: area.logic_mm2.v,
        memory: area.memory_mm2.v,
        total: area.total_mm2.v,
        low: area.total_mm2.lo,
        high: area.total_mm2.hi,
        lower_bound: area.lower_bound,
    }
}

fn energy_pj(energy: &EnergyReport) -> EnergyPj {
    let parts = [
        ("trunk", &energy.trunk_pj),
        ("adapter", &energy.adapter_pj),
        ("host", &energy.host_pj),
        ("link", &energy.link_pj),
        ("memory", &energy.memory_pj),
        ("idle", &energy.idle_pj),
    ];
    let short = parts.iter().filter(|(_, e)| e.is_lower_bound()).map(|(name, _)| (*name).to_string()).collect();
    EnergyPj {
        trunk: energy.trunk_pj.v,
        adapter: energy.adapter_pj.v,
        host: energy.host_pj.v,
        link: energy.link_pj.v,
        memory: energy.memory_pj.v,
        idle: energy.idle_pj.v,
        total: energy.total_pj.v,
        low: energy.total_pj.lo,
        high: energy.total_pj.hi,
        lower_bound: energy.lower_bound,
        lower_bound_parts: short,
    }
}
