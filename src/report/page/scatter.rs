//! Findings by two metrics, with those that no other beats on both.
//!
//! A front is of one trunk, one visual domain and one system: others are not comparable.

use super::keys::Keys;
use super::metric::Metric;
use super::svg::{self, Axis, Figure, escaped, px, text};
use crate::experiment::findings::Finding;
use crate::experiment::sweep::summary::Spread;
use std::collections::BTreeMap;
use std::fmt::Write;

const SIZE: (f64, f64) = (470.0, 330.0);
const FROM: (f64, f64) = (62.0, 14.0);
const TO: (f64, f64) = (456.0, 276.0);
/// More lines than these nobody can tell apart; the points of fronts are marked all the same.
const MOST_LINES: usize = 6;
/// Colours, after which marks of another shape follow.
const COLOURS: usize = 8;

struct Dot<'a> {
    row: usize,
    finding: &'a Finding,
    x: f64,
    y: f64,
    front: bool,
}

/// One plot; nothing if no finding has both figures.
pub fn figure(all: &[Finding], keys: &Keys, (across, up): (Metric, Metric)) -> Option<Figure> {
    let dot = |(row, finding): (usize, &'_ Finding)| Some((row, across.of(finding)?, up.of(finding)?));
    let known: Vec<(usize, f64, f64)> = all.iter().enumerate().filter_map(dot).collect();
    if known.is_empty() {
        return None;
    }
    let mut dots: Vec<Dot> =
        known.iter().map(|&(row, x, y)| Dot { row, finding: &all[row], x, y, front: false }).collect();
    let fronts = fronts(&mut dots, keys, up);
    let (x_axis, y_axis) = (Axis::over(known.iter().map(|k| k.1)), y_axis(&dots, up));
    let place = |x: f64, y: f64| {
        (FROM.0 + 8.0 + x_axis.part(x) * (TO.0 - FROM.0 - 16.0), TO.1 - 8.0 - y_axis.part(y) * (TO.1 - FROM.1 - 16.0))
    };
    let caption = format!("{} against {}", up.label(), across.label());
    let mut svg = svg::open(SIZE.0, SIZE.1, "group", &format!("{caption}: {} points", dots.len()));
    frame(&mut svg, (across, &x_axis), (up, &y_axis), place);
    if fronts.len() <= MOST_LINES {
        for (group, front) in &fronts {
            step(&mut svg, group, front, up, place);
        }
    }
    // Fronts last, so that nothing covers them.
    for on_front in [false, true] {
        for dot in dots.iter().filter(|d| d.front == on_front) {
            mark(&mut svg, dot, keys, (across, up), place);
        }
    }
    svg += "</svg>";
    Some(Figure { name: format!("{}-{}", up.key(), across.key()), caption, svg })
}

/// With room for the spread over seeds.
fn y_axis(dots: &[Dot], up: Metric) -> Axis {
    let ends = |d: &Dot| match Spread::of(&d.finding.accuracies) {
        Some(s) if up == Metric::Accuracy => [100.0 * s.least, 100.0 * s.most],
        _ => [d.y, d.y],
    };
    let ends: Vec<f64> = dots.iter().flat_map(ends).collect();
    if up != Metric::Accuracy {
        return Axis::over(ends.iter().copied());
    }
    let (low, high) = ends.iter().fold((100.0f64, 0.0f64), |(a, b), &v| (a.min(v), b.max(v)));
    let margin = (0.08 * (high - low)).max(1.0);
    Axis::linear((low - margin).max(0.0), (high + margin).min(100.0))
}

/// Marks the dots that no other of their group beats, and gives them by group in the order of their costs.
fn fronts(dots: &mut [Dot], keys: &Keys, up: Metric) -> BTreeMap<String, Vec<(f64, f64)>> {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, dot) in dots.iter().enumerate() {
        groups.entry(keys.group(dot.finding)).or_default().push(i);
    }
    let mut fronts = BTreeMap::new();
    for (group, mut members) in groups {
        let gain = |d: &Dot| if up.rises() { d.y } else { -d.y };
        members.sort_by(|&a, &b| dots[a].x.total_cmp(&dots[b].x).then(gain(&dots[b]).total_cmp(&gain(&dots[a]))));
        let (mut best, mut front) = (f64::NEG_INFINITY, Vec::new());
        for i in members {
            if gain(&dots[i]) > best {
                best = gain(&dots[i]);
                dots[i].front = true;
                front.push((dots[i].x, dots[i].y));
            }
        }
        fronts.insert(group, front);
    }
    fronts
}

fn frame(
    svg: &mut String,
    (across, x_axis): (Metric, &Axis),
    (up, y_axis): (Metric, &Axis),
    place: impl Fn(f64, f64) -> (f64, f64),
) {
    let (any_x, any_y) = (x_axis.ticks()[..].first().copied(), y_axis.ticks()[..].first().copied());
    for tick in x_axis.ticks() {
        let x = place(tick, any_y.unwrap_or(1.0)).0;
        svg::line(svg, (x, FROM.1), (x, TO.1), "rule");
        text(svg, x, TO.1 + 16.0, "soft mid", &svg::si(tick, across.unit()));
    }
    for tick in y_axis.ticks() {
        let y = place(any_x.unwrap_or(1.0), tick).1;
        svg::line(svg, (FROM.0, y), (TO.0, y), "rule");
        let told = if up == Metric::Accuracy { format!("{tick:.0} %") } else { svg::si(tick, up.unit()) };
        text(svg, FROM.0 - 6.0, y + 4.0, "soft end", &told);
    }
    svg::bar(svg, FROM, (TO.0 - FROM.0, TO.1 - FROM.1), "frame", "");
    text(svg, (FROM.0 + TO.0) / 2.0, SIZE.1 - 16.0, "mid", across.label());
    let y = (FROM.1 + TO.1) / 2.0;
    let _ = write!(
        svg,
        "<text class=\"mid\" transform=\"translate(13 {}) rotate(-90)\">{}</text>",
        px(y),
        escaped(up.label())
    );
}

/// The line along a front: what so much can buy.
fn step(svg: &mut String, group: &str, front: &[(f64, f64)], up: Metric, place: impl Fn(f64, f64) -> (f64, f64)) {
    let mut path = String::new();
    for (i, &(x, y)) in front.iter().enumerate() {
        let (x, y) = place(x, y);
        let _ = if i == 0 { write!(path, "M{} {}", px(x), px(y)) } else { write!(path, "H{}V{}", px(x), px(y)) };
    }
    let _ = write!(svg, "<path class=\"step f {group}\" d=\"{path}H{}\"/>", px(TO.0));
    debug_assert!(front.is_sorted_by(|a, b| a.0 <= b.0 && (a.1 < b.1) == up.rises()));
}

/// A dot, its spread over seeds, and its name.
fn mark(
    svg: &mut String,
    dot: &Dot,
    keys: &Keys,
    (across, up): (Metric, Metric),
    place: impl Fn(f64, f64) -> (f64, f64),
) {
    let scheme = keys.scheme(dot.finding);
    let classes = keys.classes(dot.finding);
    let (x, y) = place(dot.x, dot.y);
    if let Some(spread) = Spread::of(&dot.finding.accuracies).filter(|s| up == Metric::Accuracy && s.most > s.least) {
        let [low, high] = [spread.least, spread.most].map(|v| place(dot.x, 100.0 * v).1);
        let _ = write!(
            svg,
            "<path class=\"err f k{} {classes}\" d=\"M{} {}V{}\"/>",
            scheme % COLOURS,
            px(x),
            px(low),
            px(high)
        );
    }
    let bound = if across.is_bound(dot.finding) || up.is_bound(dot.finding) { " bound" } else { "" };
    let (front, focus) = if dot.front { (" front", "0") } else { ("", "-1") };
    let title = format!(
        "{}: {} {}, {} {}",
        name(dot.finding),
        up.told(dot.finding, dot.y),
        up.label(),
        across.told(dot.finding, dot.x),
        across.label()
    );
    let _ = write!(
        svg,
        "<path class=\"p f{front}{bound} k{} {classes}\" data-row=\"{}\" tabindex=\"{focus}\" role=\"img\" d=\"{}\"><title>{}</title></path>",
        scheme % COLOURS,
        dot.row + 1,
        shape(scheme, x, y),
        escaped(&title)
    );
}

/// A finding in a few words.
pub fn name(finding: &Finding) -> String {
    let sites = finding.sites.as_ref().map_or(String::new(), |sites| format!(" on {sites}"));
    let data = finding.data.as_ref().map_or(String::new(), |data| format!(", {data}"));
    format!("{}{sites} of {}{data}", finding.scheme, finding.trunk)
}

/// The mark of a scheme: its colour is not the only sign of it.
fn shape(scheme: usize, x: f64, y: f64) -> String {
    let at = |dx: f64, dy: f64| format!("{} {}", px(x + dx), px(y + dy));
    match (scheme + scheme / COLOURS) % 4 {
        0 => format!("M{}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z", at(-4.5, 0.0)),
        1 => format!("M{}h8v8h-8z", at(-4.0, -4.0)),
        2 => format!("M{}l5.2 9h-10.4z", at(0.0, -5.6)),
        _ => format!("M{}l5.6 5.6l-5.6 5.6l-5.6 -5.6z", at(0.0, -5.6)),
    }
}

/// Which mark is which scheme.
pub fn legend(keys: &Keys) -> String {
    let mut html = String::from("<ul class=\"legend\" aria-label=\"Marks of the schemes\">");
    for (i, scheme) in keys.schemes().iter().enumerate() {
        let _ = write!(
            html,
            "<li class=\"f s{i}\"><svg viewBox=\"0 0 14 14\" width=\"14\" height=\"14\" aria-hidden=\"true\"><path class=\"p k{}\" d=\"{}\"/></svg> {}</li>",
            i % COLOURS,
            shape(i, 7.0, 7.0),
            escaped(scheme)
        );
    }
    html + "</ul>"
}
