//! The timeline of trunk, link and adapter device.

use super::svg::{self, Axis, Figure, bar, si, text};
use crate::experiment::findings::detail::Detail;
use crate::experiment::trace::Event;
use crate::plan::schedule::Place;

const LEFT: f64 = 112.0;
const WIDTH: f64 = 1100.0;
const LANE: f64 = 34.0;
const TOP: f64 = 10.0;
const LANES: [&str; 4] = ["trunk", "link, out", "link, in", "adapter device"];
/// Less than this cannot be seen.
const LEAST: f64 = 0.6;

fn lane(event: &Event) -> usize {
    match event.place {
        Place::Trunk(_) => 0,
        Place::TapOut => 1,
        Place::TapIn => 2,
        Place::Adapter => 3,
    }
}

pub fn figure(detail: &Detail, name: &str, title: &str) -> Figure {
    let trace = &detail.trace;
    let end_ps = trace.events.iter().map(|e| e.done_ps.max(e.end_ps)).max().unwrap_or(1) as f64;
    let axis = Axis::linear(0.0, end_ps / 1e12);
    let x = |ps: u64| LEFT + axis.part(ps as f64 / 1e12) * (WIDTH - LEFT - 12.0);
    let bottom = TOP + LANE * LANES.len() as f64;
    let caption = format!("Modelled timeline of {} images in flight: {title}", trace.images);
    let label = format!("{caption}; {} in all", si(end_ps / 1e12, "s"));
    let mut svg = svg::open(WIDTH, bottom + 42.0, "img", &label);
    for tick in axis.ticks() {
        let at = LEFT + axis.part(tick) * (WIDTH - LEFT - 12.0);
        svg::line(&mut svg, (at, TOP), (at, bottom), "rule");
        text(&mut svg, at, bottom + 15.0, "soft mid", &si(tick, "s"));
    }
    for (i, label) in LANES.iter().enumerate() {
        let y = TOP + LANE * i as f64;
        text(&mut svg, LEFT - 10.0, y + LANE / 2.0 + 4.0, "end", label);
        svg::line(&mut svg, (LEFT, y + LANE), (WIDTH - 12.0, y + LANE), "rule");
    }
    for event in &trace.events {
        let start = x(event.start_ps);
        let class = if event.image.is_multiple_of(2) { "fill k0" } else { "fill k1" };
        let took = si((event.end_ps - event.start_ps) as f64 / 1e12, "s");
        let bytes = event.moved.map_or(String::new(), |m| format!(", {} B", m.payload_b));
        let title = format!("{}, image {}: {took}{bytes}", event.name, event.image + 1);
        // Images of a lane stand in rows of their own: layers of a pipelined trunk overlap.
        let y = TOP + LANE * lane(event) as f64 + 4.0 + 13.0 * (event.image % 2) as f64;
        // What is under way and takes the lane no longer: a result on its way, a device that answers.
        if event.done_ps > event.end_ps {
            let from = x(event.end_ps);
            bar(&mut svg, (from, y + 4.5), (x(event.done_ps) - from, 3.0), &class.replace("fill", "half"), &title);
        }
        bar(&mut svg, (start, y), ((x(event.end_ps) - start).max(LEAST), 12.0), class, &title);
    }
    let (first, second) = (LEFT, LEFT + 90.0);
    for (at, class, label) in [(first, "fill k0", "image 1"), (second, "fill k1", "image 2")] {
        bar(&mut svg, (at, bottom + 25.0), (12.0, 12.0), class, "");
        text(&mut svg, at + 18.0, bottom + 35.0, "soft", label);
    }
    text(&mut svg, LEFT + 190.0, bottom + 35.0, "soft", "thin: under way, the lane is free for others");
    svg += "</svg>";
    Figure { name: name.into(), caption, svg }
}
