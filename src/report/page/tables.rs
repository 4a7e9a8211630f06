//! The papers' tables for the user's own network.
//!
//! What was learned, what was counted, what was modelled and what was measured stand in columns of their own,
//! named so.

use crate::experiment::findings::{Finding, Findings};
use crate::experiment::sweep::record::{Counted, Modelled, TrainingCounts};
use crate::experiment::sweep::summary::Spread;
use crate::report::render::{Section, grouped};

type Cell = fn(&Finding) -> String;

fn counted(finding: &Finding, of: fn(&Counted) -> u64) -> String {
    finding.counted.as_ref().map_or(String::new(), |c| grouped(of(c)))
}
fn step(finding: &Finding, of: fn(&TrainingCounts) -> u64) -> String {
    let training = finding.counted.as_ref().and_then(|c| c.training.as_ref());
    training.map_or(String::new(), |t| grouped(of(t)))
}
fn modelled(finding: &Finding, of: fn(&Modelled) -> String) -> String {
    finding.modelled.as_ref().map_or(String::new(), of)
}
fn spread(finding: &Finding, of: fn(Spread) -> Option<f64>) -> String {
    Spread::of(&finding.accuracies).and_then(of).map_or(String::new(), |a| format!("{:.2}", 100.0 * a))
}
fn bound(is: bool, text: String) -> String {
    if is { format!("≥ {text}") } else { text }
}
fn uj(pj: f64) -> String {
    format!("{:.2}", pj / 1e6)
}

/// What says which finding it is. One that is the same for all is said once, below.
const NAMES: [(&str, Cell); 8] = [
    ("scheme", |f| f.scheme.clone()),
    ("sites", |f| f.sites.clone().unwrap_or_default()),
    ("batch norm", |f| f.batch_norm.map_or(String::new(), |m| m.name().into())),
    ("tap bits", |f| f.tap_bits.to_string()),
    ("trunk", |f| f.trunk.clone()),
    ("data", |f| f.data.clone().unwrap_or_default()),
    ("system", |f| f.system.clone()),
    ("training", |f| f.training.clone().unwrap_or_default()),
];

/// What it came to. A column that is empty throughout is left out.
const FIGURES: [(&str, Cell); 17] = [
    ("accuracy, %", |f| spread(f, |s| Some(s.mean))),
    ("± over seeds", |f| spread(f, |s| s.deviation)),
    ("seeds", |f| if f.accuracies.is_empty() { String::new() } else { f.accuracies.len().to_string() }),
    ("trainable", |f| counted(f, |c| c.params.trainable_without_head)),
    ("trainable, %", |f| f.counted.as_ref().map_or(String::new(), |c| format!("{:.2}", c.params.trainable_percent))),
    ("connections", |f| counted(f, |c| c.connections.total)),
    ("B out", |f| counted(f, |c| c.forward.tap_out_bytes)),
    ("B in", |f| counted(f, |c| c.forward.tap_in_bytes)),
    ("training memory, B", |f| step(f, |t| t.kept_published_b)),
    ("kept by adapter device, B", |f| step(f, |t| t.kept_adapter_b)),
    ("kept by trunk, B", |f| step(f, |t| t.kept_trunk_b)),
    ("modelled energy, µJ", |f| modelled(f, |m| bound(m.energy_lower_bound, uj(m.energy_pj)))),
    ("modelled interval, µJ", |f| modelled(f, |m| format!("{} … {}", uj(m.energy_low_pj), uj(m.energy_high_pj)))),
    ("modelled latency, µs", |f| {
        modelled(f, |m| bound(m.time_lower_bound, format!("{:.2}", m.latency_ps as f64 / 1e6)))
    }),
    ("modelled bottleneck", |f| modelled(f, |m| m.bottleneck.clone())),
    ("measured training, s", |f| Spread::of(&f.train_wall_s).map_or(String::new(), |s| format!("{:.1}", s.mean))),
    ("failed", |f| if f.failed > 0 { f.failed.to_string() } else { String::new() }),
];

/// Every finding by its figures, numbered from 1.
pub fn comparison(findings: &Findings) -> Section {
    let all = &findings.all;
    let (names, shared): (Vec<_>, Vec<_>) =
        NAMES.iter().partition(|(_, of)| all.len() == 1 || all.iter().any(|f| of(f) != of(&all[0])));
    let figures = FIGURES.iter().filter(|(_, of)| all.iter().any(|f| !of(f).is_empty()));
    let columns: Vec<&(&str, Cell)> = names.into_iter().chain(figures).collect();
    let titles: Vec<&str> = std::iter::once("#").chain(columns.iter().map(|(name, _)| *name)).collect();
    let mut section = Section::new("Comparison", &titles);
    for (i, finding) in all.iter().enumerate() {
        let cells = columns.iter().map(|(_, of)| of(finding));
        section.row(std::iter::once((i + 1).to_string()).chain(cells));
    }
    let shared = shared.iter().map(|(name, of)| (name, of(&all[0]))).filter(|(_, value)| !value.is_empty());
    let shared: Vec<String> = shared.map(|(name, value)| format!("{name} {value}")).collect();
    if !shared.is_empty() {
        section.note(format!("the same in every row: {}", shared.join("; ")));
    }
    for note in NOTES.iter().filter(|(column, _)| titles.contains(column)) {
        section.note(note.1);
    }
    section
}

/// Said where the column is there.
const NOTES: [(&str, &str); 5] = [
    (
        "accuracy, %",
        "accuracy: learned on the bit-exact trunk, of the validation images after the last epoch; mean over seeds, ± the sample's standard deviation",
    ),
    (
        "trainable",
        "trainable: parameters without the head, and their part of all; connections: elements of an image that cross, by Aswani et al. 2021",
    ),
    ("B out", "B out and B in: payload per image from the trunk and into it, head included"),
    (
        "training memory, B",
        "training memory: kept from forward to backward per image, 32-bit values, each map once; what each side keeps as it is run here stands beside it",
    ),
    (
        "modelled energy, µJ",
        "modelled: simulated and priced, forward pass of one image, not measured; ≥ marks a lower bound, where a figure that it needs is unknown; the interval is of the known part",
    ),
];

/// MACs per hardware domain and visual domain.
pub fn macs(findings: &Findings) -> Section {
    let columns = [
        "visual domain",
        "trunk",
        "scheme",
        "sites",
        "batch norm",
        "forward: trunk",
        "adapter device",
        "host",
        "backward: trunk",
        "adapter device, back",
    ];
    let mut section = Section::new("MACs per hardware domain and visual domain", &columns);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for f in findings.all.iter().filter(|f| f.counted.is_some()) {
        let of = |i: usize| NAMES[i].1(f);
        let row = vec![
            f.data.clone().unwrap_or_else(|| "its own".into()),
            of(4),
            of(0),
            of(1),
            of(2),
            counted(f, |c| c.macs.trunk),
            counted(f, |c| c.macs.adapter),
            counted(f, |c| c.macs.host),
            step(f, |t| t.macs_backward.trunk),
            step(f, |t| t.macs_backward.adapter),
        ];
        rows.push(row);
    }
    // Systems and tap bits change no MAC.
    rows.sort();
    rows.dedup();
    rows.into_iter().for_each(|row| section.row(row));
    section.note("per image; convolutions and linear layers, nothing else");
    section
}

/// What could not be done.
pub fn failures(findings: &Findings) -> Option<Section> {
    let mut section = Section::new("Without figures", &["#", "what", "why"]);
    for (i, f) in findings.all.iter().enumerate() {
        if let Some(error) = &f.error {
            section.row([(i + 1).to_string(), super::scatter::name(f), error.clone()]);
        }
    }
    (!section.rows.is_empty()).then_some(section)
}

/// Everything that a report has as text.
pub fn sections(findings: &Findings) -> Vec<Section> {
    let mut sources = Section::new("Trunkline report", &[]);
    findings.sources.iter().for_each(|source| sources.note(source.clone()));
    let all = [Some(sources), Some(comparison(findings)), Some(macs(findings)), failures(findings)];
    all.into_iter().flatten().collect()
}
