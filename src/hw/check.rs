//! Judges a hardware model: what it cites, what it leaves unknown, what looks physically odd.
//!
//! An error is something that cannot be read or used; a note is something to look at again.

use super::adapter::Adapter;
use super::confidence::Confidence;
use super::error::HwError;
use super::library;
use super::link::Link;
use super::memory::MemoryLevel;
use super::model::{Body, Model};
use super::schema::Kind;
use super::source::Source;
use super::system::System;
use super::trunk::{Trunk, TrunkKind};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// What a check of a file found; the file can be used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckReport {
    pub file: String,
    pub kind: Kind,
    pub name: String,
    /// Figures with a value, of the model and of what it names.
    pub known_figures: usize,
    pub used_sources: BTreeSet<String>,
    pub unused_sources: BTreeSet<String>,
    /// Figures declared unknown: a total that needs one is a lower bound.
    pub unknown: Vec<String>,
    pub worst_confidence: Option<Confidence>,
    pub notes: Vec<String>,
}

/// Checks a file on disk.
pub fn check(path: &Path) -> Result<CheckReport, HwError> {
    let source = Source::read(path)?;
    let mut report = check_model(&library::open(&source, None)?);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if stem != report.name {
        report.notes.push(format!("the file is named `{stem}`, the model `{}`", report.name));
    }
    Ok(report)
}

/// Checks a text that no file holds yet.
pub fn check_text(label: &str, text: &str) -> Result<CheckReport, HwError> {
    let source = Source { label: label.into(), path: None, text: text.into(), lanes: None };
    Ok(check_model(&library::open(&source, None)?))
}

/// Checks a model that was read.
pub fn check_model(model: &Model) -> CheckReport {
    let rows = model.rows();
    let known = rows.iter().filter(|row| row.value.is_some());
    let sheet = &model.sheet;
    CheckReport {
        file: sheet.file.clone(),
        kind: sheet.kind,
        name: sheet.name.clone(),
        known_figures: known.clone().count(),
        used_sources: sheet.sources.keys().filter(|key| !sheet.unused_sources.contains(*key)).cloned().collect(),
        unused_sources: sheet.unused_sources.clone(),
        unknown: rows.iter().filter(|r| r.value.is_none()).map(|r| format!("{}: {}", r.model, r.key)).collect(),
        worst_confidence: known.filter_map(|row| row.conf).max(),
        notes: notes(&model.body),
    }
}

fn notes(body: &Body) -> Vec<String> {
    match body {
        Body::Trunk(trunk) => trunk_notes(trunk),
        Body::Adapter(adapter) => adapter_notes(adapter),
        Body::Link(link) => link_notes(link),
        Body::Memory(_) | Body::Table(_) => Vec::new(),
        Body::System(system) => system_notes(system),
    }
}

fn system_notes(system: &System) -> Vec<String> {
    [trunk_notes(&system.trunk), adapter_notes(&system.adapter), link_notes(&system.link)].concat()
}

/// Energy of one MAC as far as the file tells, with every multiplier busy.
pub fn mac_pj(trunk: &Trunk) -> Option<f64> {
    let compute = &trunk.compute;
    if let Some(pj) = compute.mac_pj.value() {
        return Some(pj);
    }
    if let Some(fj_per_bit2) = compute.mac_energy_fj_per_bit2.value() {
        let bits2 = f64::from(trunk.weight_bits()?) * f64::from(trunk.activation_bits()?);
        return Some(fj_per_bit2 * bits2 / 1e3);
    }
    // mW / (MAC/cycle x MHz) is nJ/MAC.
    Some(trunk.power.average_mw.value()? / (compute.mac_units.value()? * trunk.clock().value()?) * 1e3)
}

fn trunk_notes(trunk: &Trunk) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(pj) = mac_pj(trunk) {
        // Below: under a fixed multiplier's 0.0046 pJ, or under what NVDLA alone takes at full use.
        let least = if trunk.kind == TrunkKind::FixedWeight { 0.001 } else { 0.1 };
        if !(least..=3000.0).contains(&pj) {
            notes.push(format!(
                "{pj:.4} pJ/MAC; published devices of this sort lie between {least} and 3000 (FixyNN 0.0046, NVDLA 0.28, Cortex-M4 2340)"
            ));
        }
    }
    if matches!(trunk.kind, TrunkKind::Cim | TrunkKind::RomCim) {
        notes.push(format!(
            "a {} trunk is timed as an ideal array of multipliers: its times are lower bounds",
            trunk.kind
        ));
    }
    notes
}

fn adapter_notes(adapter: &Adapter) -> Vec<String> {
    let compute = &adapter.compute;
    let mut notes = Vec::new();
    for (word, measured, peak) in [
        ("fp32", &compute.gemm_fp32_tflop_per_s, &compute.peak_fp32_tflop_per_s),
        ("fp16", &compute.gemm_fp16_tflop_per_s, &compute.peak_fp16_tflop_per_s),
        ("bf16", &compute.gemm_bf16_tflop_per_s, &compute.peak_bf16_tflop_per_s),
    ] {
        if let (Some(measured), Some(peak)) = (measured.value(), peak.value())
            && measured > peak
        {
            notes.push(format!("{word}: {measured} TFLOP/s measured exceed the peak of {peak}"));
        }
    }
    let tdp_w = adapter.power.tdp_w.value();
    if let (Some(tdp_w), Some(memory_w)) = (tdp_w, adapter.device_memory().and_then(full_rate_w))
        && memory_w > tdp_w
    {
        notes.push(format!("its memory at full rate would take {memory_w:.0} W of a TDP of {tdp_w} W"));
    }
    if let (Some(idle), Some(context)) = (adapter.power.idle_w.value(), adapter.power.idle_context_w.value())
        && idle > context
    {
        notes.push(format!("it idles at {idle} W with nothing allocated and at {context} W with a context"));
    }
    notes
}

/// Power of a memory that moves all the bytes it can: GB/s x pJ/bit x 8 is mW.
fn full_rate_w(memory: &MemoryLevel) -> Option<f64> {
    Some(memory.bandwidth_gb_per_s.value()? * memory.access_pj_per_bit.value()? * 8.0 / 1e3)
}

fn link_notes(link: &Link) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(pj) = link.energy.wire_pj_per_bit.value()
        && !(0.005..=100.0).contains(&pj)
    {
        notes.push(format!("{pj} pJ/bit; published links lie between 0.01 (UCIe 3D) and some tens"));
    }
    if let (Some(wires), Some(lanes)) = (link.phy.wires.value(), link.phy.lanes.value())
        && wires < lanes
    {
        notes.push(format!("{lanes} lanes on {wires} wires"));
    }
    notes
}
