//! Modelled energy by hardware domain: a row for each of some findings, on a logarithmic line, because
//! idling devices and switching gates are decades apart.

use super::svg::{self, Axis, Figure, escaped, px, si, text};
use crate::experiment::findings::Finding;
use crate::experiment::sweep::record::Modelled;
use std::fmt::Write;

const WIDTH: f64 = 1100.0;
const LEFT: f64 = 420.0;
const ROW: f64 = 22.0;
const TOP: f64 = 34.0;

type Domain = (&'static str, fn(&Modelled) -> f64);

/// By domain: its name and its part of the energy.
const DOMAINS: [Domain; 6] = [
    ("trunk", |m| m.energy_trunk_pj),
    ("adapter device", |m| m.energy_adapter_pj),
    ("link", |m| m.energy_link_pj),
    ("memory", |m| m.energy_memory_pj),
    ("host", |m| m.energy_host_pj),
    ("idle", |m| m.energy_idle_pj),
];

/// Nothing if none has been priced.
pub fn figure(findings: &[&Finding]) -> Option<Figure> {
    let priced: Vec<(&Finding, &Modelled)> = findings.iter().filter_map(|f| Some((*f, f.modelled.as_ref()?))).collect();
    let values = |m: &Modelled| DOMAINS.map(|(_, of)| of(m) / 1e12).into_iter().chain([m.energy_pj / 1e12]);
    let all: Vec<f64> = priced.iter().flat_map(|(_, m)| values(m)).filter(|v| *v > 0.0).collect();
    if all.is_empty() {
        return None;
    }
    let axis = Axis::over(all.iter().copied());
    let x = |pj: f64| LEFT + axis.part(pj / 1e12) * (WIDTH - LEFT - 30.0);
    let bottom = TOP + ROW * priced.len() as f64;
    let caption = "Modelled energy per image by hardware domain";
    let mut svg = svg::open(WIDTH, bottom + 26.0, "img", caption);
    for tick in axis.ticks() {
        let at = LEFT + axis.part(tick) * (WIDTH - LEFT - 30.0);
        svg::line(&mut svg, (at, TOP - 4.0), (at, bottom), "rule");
        text(&mut svg, at, bottom + 16.0, "soft mid", &si(tick, "J"));
    }
    for (i, (domain, _)) in DOMAINS.iter().enumerate() {
        let at = LEFT - 80.0 + 124.0 * i as f64;
        dot(&mut svg, at, 12.0, i, domain);
        text(&mut svg, at + 10.0, 16.0, "", domain);
    }
    for (row, (finding, modelled)) in priced.iter().enumerate() {
        let y = TOP + ROW * (row as f64 + 0.5);
        svg::line(&mut svg, (LEFT, y), (WIDTH - 30.0, y), "rule");
        text(&mut svg, LEFT - 12.0, y + 4.0, "end", &shortened(finding));
        for (i, (domain, of)) in DOMAINS.iter().enumerate() {
            let pj = of(modelled);
            if pj > 0.0 {
                dot(&mut svg, x(pj), y, i, &format!("{domain}: {}", si(pj / 1e12, "J")));
            }
        }
    }
    svg += "</svg>";
    Some(Figure { name: "energy-by-domain".into(), caption: caption.into(), svg })
}

/// What fits beside the line: they have one trunk, data and system, which the page says.
fn shortened(finding: &Finding) -> String {
    const FITS: usize = 58;
    let text = finding.sites.as_ref().map_or(finding.scheme.clone(), |sites| format!("{}, {sites}", finding.scheme));
    if text.chars().count() <= FITS { text } else { text.chars().take(FITS - 1).chain(['…']).collect() }
}

/// A domain has a shape besides its colour: every other is a square.
fn dot(svg: &mut String, x: f64, y: f64, domain: usize, title: &str) {
    let round = if domain.is_multiple_of(2) { 5 } else { 0 };
    let _ = write!(
        svg,
        "<rect class=\"fill k{domain}\" x=\"{}\" y=\"{}\" width=\"10\" height=\"10\" rx=\"{round}\"><title>{}</title></rect>",
        px(x - 5.0),
        px(y - 5.0),
        escaped(title)
    );
}
