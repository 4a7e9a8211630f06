//! A network with its taps in place: the trunk below, the adapter device above, between them every map that
//! crosses, as wide as it has bytes.

use super::svg::{self, Figure, bar, escaped, px, si, text};
use crate::experiment::findings::detail::Detail;
use crate::graph::{Graph, NodeId};
use crate::plan::tap::Tap;
use crate::units::{Direction, HardwareDomain, Phase};
use std::collections::BTreeMap;
use std::fmt::Write;

const LEFT: f64 = 112.0;
const WIDTH: f64 = 1100.0;
const HEIGHT: f64 = 300.0;
/// Top and height of the adapter device's lane and of the trunk's.
const ADAPTER: (f64, f64) = (34.0, 46.0);
const TRUNK: (f64, f64) = (206.0, 46.0);
const WIDEST: f64 = 26.0;

/// A part of the network between two cuts.
struct Part {
    label: String,
    /// MACs by hardware domain: trunk, adapter device.
    macs: [u64; 2],
    /// Nodes that were moved or inserted.
    adapted: usize,
    in_trunk: usize,
}

/// Which part each node is in.
struct Layout {
    parts: Vec<Part>,
    of: BTreeMap<NodeId, usize>,
}

pub fn figure(detail: &Detail, name: &str, title: &str) -> Option<Figure> {
    let layout = layout(detail)?;
    let taps: Vec<&Tap> = detail.taps.iter().filter(|t| t.phase == Phase::Forward && t.crossing.is_some()).collect();
    let caption = format!("The network and its taps: {title}");
    let mut svg = svg::open(WIDTH, HEIGHT, "img", &format!("{caption}. {}", said(&taps)));
    let step = (WIDTH - LEFT - 8.0) / layout.parts.len() as f64;
    for (top, label) in [(ADAPTER.0, "adapter device"), (TRUNK.0, "trunk")] {
        text(&mut svg, LEFT - 10.0, top + 27.0, "end", label);
    }
    for (i, part) in layout.parts.iter().enumerate() {
        draw(&mut svg, part, LEFT + i as f64 * step, step);
    }
    arrows(&mut svg, &detail.placed.graph, &layout, &taps, step);
    text(&mut svg, LEFT, HEIGHT - 8.0, "soft", &said(&taps));
    svg += "</svg>";
    Some(Figure { name: name.into(), caption, svg })
}

fn said(taps: &[&Tap]) -> String {
    let sum = |d: Direction| taps.iter().filter(|t| t.direction == d).map(|t| t.bytes).sum::<u64>();
    let count = |d: Direction| taps.iter().filter(|t| t.direction == d).count();
    let (out, into) = (Direction::TapOut, Direction::TapIn);
    format!(
        "Per image: {} maps of {} out of the trunk (orange, up), {} maps of {} into it (blue, down); in the boxes: MACs",
        count(out),
        si(sum(out) as f64, "B"),
        count(into),
        si(sum(into) as f64, "B")
    )
}

/// Stem, blocks and head, with everything that runs before each of them ends.
fn layout(detail: &Detail) -> Option<Layout> {
    let (graph, structure) = (&detail.placed.graph, &detail.placed.structure);
    let order = graph.order().ok()?;
    let at: BTreeMap<NodeId, usize> = order.iter().enumerate().map(|(i, &n)| (n, i)).collect();
    let mut ends: Vec<(String, usize)> = Vec::new();
    let mut end = |label: String, exit| {
        let place = graph.edge(exit).producer.and_then(|n| at.get(&n)).copied();
        // In the order of the network; what does not go on is part of the one before.
        if let Some(place) = place.filter(|p| ends.last().is_none_or(|(_, last)| p > last)) {
            ends.push((label, place));
        }
    };
    if let Some(stem) = &structure.stem {
        end("stem".into(), stem.exit);
    }
    for (i, block) in structure.blocks.iter().enumerate() {
        let stage = structure.stage_of(i).unwrap_or(0);
        let first = structure.stages.get(stage).map_or(0, |s| s.blocks.start);
        end(format!("{}.{}", stage + 1, i - first + 1), block.exit);
    }
    ends.push(("head".into(), usize::MAX));
    let mut layout = Layout { parts: vec![], of: BTreeMap::new() };
    layout.parts.extend(ends.iter().map(|(label, _)| Part {
        label: label.clone(),
        macs: [0; 2],
        adapted: 0,
        in_trunk: 0,
    }));
    for (place, &id) in order.iter().enumerate() {
        let part = ends.iter().position(|(_, end)| place <= *end).unwrap_or(ends.len() - 1);
        layout.of.insert(id, part);
        let part = &mut layout.parts[part];
        match graph.node(id).domain {
            HardwareDomain::Trunk => {
                part.in_trunk += 1;
                part.macs[0] += graph.macs(id);
            }
            HardwareDomain::Adapter => {
                part.adapted += 1;
                part.macs[1] += graph.macs(id);
            }
            HardwareDomain::Host => {}
        }
    }
    Some(layout)
}

/// What of a part runs where.
fn draw(svg: &mut String, part: &Part, x: f64, step: f64) {
    let (x, w) = (x + 0.06 * step, 0.88 * step);
    let lanes = [(TRUNK, part.in_trunk, part.macs[0], "k7"), (ADAPTER, part.adapted, part.macs[1], "k2")];
    for ((top, height), nodes, macs, colour) in lanes {
        let class = if nodes > 0 { format!("pale {colour}") } else { "bare".into() };
        let title = format!("{}: {nodes} operations, {} MACs per image", part.label, si(macs as f64, ""));
        bar(svg, (x, top), (w, height), &class, &title);
        if macs > 0 && step > 40.0 {
            text(svg, x + w / 2.0, top + 28.0, "small mid", &si(macs as f64, ""));
        }
    }
    text(svg, x + w / 2.0, TRUNK.0 + TRUNK.1 + 16.0, "soft small mid", &part.label);
}

/// Taps from part to part; those that share a part stand side by side.
fn arrows(svg: &mut String, graph: &Graph, layout: &Layout, taps: &[&Tap], step: f64) {
    let part = |id: Option<NodeId>| id.and_then(|n| layout.of.get(&n)).copied().unwrap_or(0);
    let ends: Vec<(usize, usize)> = taps
        .iter()
        .filter_map(|tap| {
            let crossing = tap.crossing.as_ref()?;
            Some((part(graph.edge(crossing.edge).producer), part(crossing.consumers.first().copied())))
        })
        .collect();
    let most = taps.iter().map(|t| t.bytes).max().unwrap_or(1).max(1) as f64;
    // Places in a part are given out from left to right, to both ends of what crosses.
    let mut places: BTreeMap<usize, usize> = BTreeMap::new();
    for &(from, to) in &ends {
        *places.entry(from).or_default() += 1;
        if to != from {
            *places.entry(to).or_default() += 1;
        }
    }
    let crowd = places.values().copied().max().unwrap_or(1).max(1) as f64;
    let widest = WIDEST.min(0.8 * step / crowd).max(1.5);
    let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
    for (tap, &(from, to)) in taps.iter().zip(&ends) {
        let mut x = |part: usize| {
            let i = taken.entry(part).or_default();
            *i += 1;
            LEFT + part as f64 * step + step * (*i as f64 / (places.get(&part).copied().unwrap_or(1) + 1) as f64)
        };
        let start = x(from);
        let end = if to == from { start } else { x(to) };
        arrow(svg, tap, start, end, (tap.bytes as f64 / most * widest).max(1.0));
    }
}

fn arrow(svg: &mut String, tap: &Tap, start: f64, end: f64, width: f64) {
    let (low, high) = (TRUNK.0, ADAPTER.0 + ADAPTER.1);
    let (colour, from, to, way) = match tap.direction {
        Direction::TapOut => ("k1", low, high, "out of the trunk"),
        Direction::TapIn => ("k0", high, low, "into the trunk"),
    };
    let head = if to > from { 9.0 } else { -9.0 };
    let title = format!("{} {way}: {} elements, {} B", tap.name, tap.elements, tap.bytes);
    let half = width / 2.0 + 3.0;
    let _ = write!(
        svg,
        "<g class=\"{colour}\"><title>{}</title><path class=\"flow\" stroke-width=\"{}\" d=\"M{} {}L{} {}\"/><path class=\"fill\" d=\"M{} {}h{}L{} {}z\"/></g>",
        escaped(&title),
        px(width),
        px(start),
        px(from),
        px(end),
        px(to - head),
        px(end - half),
        px(to - head),
        px(2.0 * half),
        px(end),
        px(to)
    );
}
