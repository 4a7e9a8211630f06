//! The report of a run or of accounts, as sections for people.

use super::render::{Section, grouped};
use crate::experiment::account::Account;
use crate::experiment::run::RunReport;
use crate::plan::macs::MacCounts;
use crate::units::Phase;

/// A run, section by section.
pub fn sections(report: &RunReport) -> Vec<Section> {
    let mut sections = vec![outcome(report)];
    sections.extend(account_sections(&report.account));
    sections.push(events(report));
    sections
}

/// One account, section by section.
pub fn account_sections(account: &Account) -> Vec<Section> {
    let mut sections = vec![macs(account), params(account), taps(account)];
    sections.extend(account.training.as_ref().map(super::training::kept));
    sections.extend([link_and_time(account), energy(account), notes(account)]);
    sections
}

/// Several accounts, a line each.
pub fn accounts(accounts: &[Account]) -> Section {
    let columns = [
        "scheme",
        "sites",
        "MACs trunk",
        "MACs adapter",
        "trainable",
        "% w/o head",
        "connections",
        "unfiltered",
        "B/image",
        "latency µs",
        "image/s",
        "energy µJ",
    ];
    let first = accounts.first();
    let title = first.map_or(String::new(), |a| {
        format!("{} at {}, {} classes, on {} (per image, modelled)", a.trunk, a.input, a.classes, a.system)
    });
    let mut section = Section::new(&title, &columns);
    for a in accounts {
        section.row([
            a.scheme.clone(),
            a.sites.clone(),
            grouped(a.macs.trunk),
            grouped(a.macs.adapter),
            grouped(a.params.trainable),
            format!("{:.4}", a.params.trainable_percent),
            grouped(a.connections.total),
            grouped(a.connections.unfiltered),
            grouped(a.link.payload_bytes),
            bound(a.time.lower_bound, micro(a.time.latency_ps)),
            format!("{:.1}", a.time.throughput_per_s),
            bound(a.energy_pj.lower_bound, format!("{:.1}", a.energy_pj.total / 1e6)),
        ]);
    }
    if let Some(a) = first {
        section.note(format!("MACs by the {} rule; connections by the aswani2021 preset", rule(a)));
        section.note("≥: some figure is unknown, so this is a lower bound (--format json names them)");
    }
    section
}

fn rule(account: &Account) -> String {
    serde_json::to_value(account.mac_rule).ok().and_then(|v| v.as_str().map(str::to_string)).unwrap_or_default()
}

fn bound(is: bool, text: String) -> String {
    if is { format!("≥ {text}") } else { text }
}

fn micro(ps: u64) -> String {
    format!("{:.2}", ps as f64 / 1e6)
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or("-".into(), |a| format!("{:.2} %", 100.0 * a))
}

fn outcome(report: &RunReport) -> Section {
    let a = &report.account;
    let title = format!("{} + {} on {}", a.trunk, a.scheme, a.system);
    let columns = ["visual domain", "images", "MACs trunk", "MACs adapter", "MACs host", "top-1"];
    let mut section = Section::new(&title, &columns);
    for d in &report.visual_domains {
        let MacCounts { trunk, adapter, host, .. } = d.macs;
        let counts = [d.images as u64, trunk, adapter, host].map(grouped);
        section.row([d.data.clone()].into_iter().chain(counts).chain([percent(d.accuracy)]));
    }
    for d in &report.visual_domains {
        super::loading::broken(&d.broken).into_iter().for_each(|line| section.note(format!("{}: {line}", d.data)));
    }
    section.note(format!("adapter device: {} ({})", report.device, report.device_kind));
    section.note(format!("trunk sha256 {}, arithmetic {}", &report.trunk_sha256[..16], a.profile));
    section.note(format!("outputs sha256 {}", &report.outputs_sha256[..16]));
    section.note("the observed ledger equals the predicted one");
    let e = report.data_events;
    section.note(format!(
        "data-dependent: {} saturated codes, {} accumulator overflows",
        grouped(e.saturations),
        e.overflows
    ));
    if let Some(c) = &report.comparison {
        section.note(format!(
            "against {}: {} of {} tap-in codes differ, {} outputs (largest difference {:.2e}), {} ledger",
            c.device,
            grouped(c.tap_in_codes_differing),
            grouped(c.tap_in_codes),
            grouped(c.outputs_differing),
            c.largest_output_difference,
            if c.same_ledger { "the same" } else { "another" },
        ));
    }
    if let Some(m) = &report.measured {
        section.note(format!(
            "measured on this machine: {:.2} s for {} images ({:.1} image/s), calibration {:.2} s",
            m.wall_s, report.images, m.images_per_s, m.calibration_s
        ));
    }
    section
}

/// Layers that the table of events shows; the machine-readable forms have all.
const MOST_LAYERS: usize = 8;

/// The layers in which something was cut off, most first.
fn events(report: &RunReport) -> Section {
    let columns = ["layer", "operation", "outputs", "saturated codes", "%", "accumulator overflows", "%"];
    let mut section = Section::new("data-dependent events by trunk layer", &columns);
    let share = |n: u64, all: u64| format!("{:.4}", 100.0 * n as f64 / all.max(1) as f64);
    let mut eventful: Vec<_> = report.layer_events.iter().filter(|l| l.saturations + l.overflows > 0).collect();
    let found = eventful.len();
    // Overflows break a network, saturations bend it; equal layers stay in the network's order.
    eventful.sort_by_key(|l| std::cmp::Reverse((l.overflows, l.saturations)));
    for l in eventful.iter().take(MOST_LAYERS) {
        section.row([
            l.layer.clone(),
            l.op.to_string(),
            grouped(l.outputs),
            grouped(l.saturations),
            share(l.saturations, l.outputs),
            grouped(l.overflows),
            share(l.overflows, l.outputs),
        ]);
    }
    let (all, listed) = (report.layer_events.len(), found.min(MOST_LAYERS));
    section.note(format!("{listed} of {found} layers with events, of {all}; --format json has all"));
    section.note("an activation's own bounds are no saturation".to_string());
    section
}

fn macs(a: &Account) -> Section {
    let mut section = Section::new("MACs per image", &["hardware domain", "MACs", "share"]);
    let m = a.macs;
    for (name, n) in [("trunk", m.trunk), ("adapter", m.adapter), ("host", m.host), ("total", m.total)] {
        section.row([name.into(), grouped(n), format!("{:.3} %", 100.0 * n as f64 / m.total.max(1) as f64)]);
    }
    section.note(format!("counted by the {} rule", rule(a)));
    section
}

fn params(a: &Account) -> Section {
    let mut section = Section::new("parameters", &["", "total", "trainable", "%"]);
    let p = &a.params;
    let share = |part: u64, all: u64| format!("{:.4}", 100.0 * part as f64 / all.max(1) as f64);
    let (all, trained) = (p.total, p.trainable);
    section.row(["with head".to_string(), grouped(all), grouped(trained), share(trained, all)]);
    let (all, trained) = (p.total_without_head, p.trainable_without_head);
    section.row(["without head".to_string(), grouped(all), grouped(trained), format!("{:.4}", p.trainable_percent)]);
    section
}

fn taps(a: &Account) -> Section {
    let c = a.connections;
    let title =
        format!("connections per image: {} (aswani2021), {} unfiltered", grouped(c.total), grouped(c.unfiltered));
    let mut section = Section::new(&title, &["tap", "direction", "phase", "shape", "elements", "bits", "bytes"]);
    for t in &a.taps {
        section.row([
            t.name.clone(),
            t.direction.to_string(),
            t.phase.to_string(),
            t.shape.to_string(),
            grouped(t.elements),
            t.bits.to_string(),
            grouped(t.bytes),
        ]);
    }
    if a.taps.iter().any(|t| t.phase == Phase::Switch) {
        section.note("phase switch: once per task, not per image");
    }
    section
}

fn link_and_time(a: &Account) -> Section {
    let columns = ["link", "payload B", "wire B", "transactions", "busy µs", "utilisation"];
    let mut section = Section::new("link and time per image (modelled)", &columns);
    let share = |name: &str| a.time.utilisation.get(name).map_or("-".into(), |u| format!("{:.2} %", 100.0 * u));
    for (name, d) in [("tap-out", a.link.tap_out), ("tap-in", a.link.tap_in)] {
        section.row([
            name.to_string(),
            grouped(d.payload_bytes),
            grouped(d.wire_bytes),
            grouped(d.transactions),
            micro(d.busy_ps),
            share(&format!("link-{name}")),
        ]);
    }
    if let Some(wires) = a.link_wires {
        section.note(format!("{wires} physical wires"));
    }
    let t = &a.time;
    section.note(format!("latency {} µs for one image alone", bound(t.lower_bound, micro(t.latency_ps))));
    let rate = format!("{:.1}", t.throughput_per_s);
    let limit = if t.lower_bound { "at most " } else { "" };
    section.note(format!("throughput {limit}{rate} image/s with 8 in flight; bottleneck: {}", t.bottleneck));
    section.note(format!("of the latency {} µs cross the link while nothing computes", micro(t.exposed_link_ps)));
    let busy = |name: &str| t.busy_ps.get(name).map_or("0".into(), |&ps| micro(ps));
    section.note(format!("busy: trunk {} µs, adapter {} µs", busy("trunk"), busy("adapter")));
    section
}

fn energy(a: &Account) -> Section {
    let mut section = Section::new("energy per image (modelled)", &["part", "µJ"]);
    let e = &a.energy_pj;
    let parts = [
        ("trunk", e.trunk),
        ("adapter", e.adapter),
        ("host", e.host),
        ("link", e.link),
        ("memory", e.memory),
        ("idle", e.idle),
    ];
    for (name, pj) in parts {
        let short = e.lower_bound_parts.iter().any(|p| p == name);
        section.row([name.to_string(), bound(short, format!("{:.3}", pj / 1e6))]);
    }
    section.row(["total".to_string(), bound(e.lower_bound, format!("{:.3}", e.total / 1e6))]);
    section.note(format!("known part of the total between {:.3} and {:.3} µJ", e.low / 1e6, e.high / 1e6));
    section.note(format!("worst confidence: {}", a.confidence));
    let area = &a.trunk_area_mm2;
    let total = bound(area.lower_bound, format!("{:.3}", area.total));
    section.note(format!("trunk: {total} mm², between {:.3} and {:.3}", area.low, area.high));
    if !a.unknown.is_empty() {
        section.note(format!("unknown figures: {}", a.unknown.join("; ")));
    }
    section
}

fn notes(a: &Account) -> Section {
    let mut section = Section::new("notes", &[]);
    a.notes.iter().for_each(|n| section.note(n.clone()));
    section.note(format!("batch norm: {}", a.batch_norm.name()));
    section
}
