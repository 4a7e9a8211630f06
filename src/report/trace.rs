//! A timeline for Perfetto (Chrome's JSON) and its bus for any waveform viewer (VCD).
//!
//! JSON: one process per hardware domain, a counter of what is under way on each direction of the
//! link, arrows from a tap-out to the tap-ins computed from it. Perfetto counts nanoseconds: the
//! picoseconds stand in the arguments. VCD: what each direction carries, in picoseconds.

use crate::experiment::trace::{Event, Moved, Trace};
use crate::plan::schedule::Place;
use crate::units::Direction;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Process, thread and their names.
fn track(place: Place) -> (u32, usize, &'static str, String) {
    match place {
        Place::Trunk(engine) => (1, engine + 1, "trunk", format!("engine {engine}")),
        Place::TapOut => (2, 1, "link", "tap-out".into()),
        Place::TapIn => (2, 2, "link", "tap-in".into()),
        Place::Adapter => (3, 1, "adapter device", "kernels".into()),
    }
}

fn us(ps: u64) -> f64 {
    ps as f64 / 1e6
}

/// The trace as Chrome's JSON, which Perfetto reads.
pub fn perfetto(trace: &Trace) -> Value {
    let mut events = names(trace);
    events.extend(trace.events.iter().map(slice));
    events.extend(occupancy(trace));
    events.extend(arrows(trace));
    json!({
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": { "title": trace.title, "images": trace.images },
    })
}

fn names(trace: &Trace) -> Vec<Value> {
    let tracks: BTreeMap<_, _> =
        trace.events.iter().map(|e| track(e.place)).map(|t| ((t.0, t.1), (t.2, t.3))).collect();
    let meta = |name: &str, pid: u32, tid: usize, text: &str| json!({ "ph": "M", "name": name, "pid": pid, "tid": tid, "args": { "name": text } });
    let both = |(&(pid, tid), (process, thread)): (&(u32, usize), &(&str, String))| {
        [meta("process_name", pid, 0, process), meta("thread_name", pid, tid, thread)]
    };
    tracks.iter().flat_map(both).collect()
}

fn slice(event: &Event) -> Value {
    let (pid, tid, ..) = track(event.place);
    let mut args =
        json!({ "image": event.image, "start_ps": event.start_ps, "end_ps": event.end_ps, "done_ps": event.done_ps });
    if let Some(moved) = event.moved {
        args["payload_bytes"] = moved.payload_b.into();
    }
    json!({
        "ph": "X", "name": event.name, "cat": event.phase.to_string(), "pid": pid, "tid": tid,
        "ts": us(event.start_ps), "dur": us(event.end_ps - event.start_ps), "args": args,
    })
}

/// Transfers under way, from their start until they have arrived.
fn occupancy(trace: &Trace) -> Vec<Value> {
    let mut changes: BTreeMap<(bool, u64), i64> = BTreeMap::new();
    for (event, moved) in transfers(trace) {
        let into = moved.direction == Direction::TapIn;
        *changes.entry((into, event.start_ps)).or_default() += 1;
        *changes.entry((into, event.done_ps)).or_default() -= 1;
    }
    let mut under_way = [0i64; 2];
    let counted = changes.into_iter().map(|((into, at_ps), change)| {
        let one = &mut under_way[usize::from(into)];
        *one += change;
        let name = if into { "tap-in under way" } else { "tap-out under way" };
        json!({ "ph": "C", "name": name, "pid": 2, "ts": us(at_ps), "args": { "transfers": *one } })
    });
    counted.collect()
}

fn transfers(trace: &Trace) -> impl Iterator<Item = (&Event, Moved)> {
    trace.events.iter().filter_map(|event| Some((event, event.moved?)))
}

/// From each tap-out to the tap-ins that are computed from it.
fn arrows(trace: &Trace) -> Vec<Value> {
    let at: BTreeMap<(usize, usize), &Event> = trace.events.iter().map(|e| ((e.image, e.job), e)).collect();
    let mut arrows = Vec::new();
    for image in 0..trace.images {
        for (i, &(out, into)) in trace.flows.iter().enumerate() {
            let (Some(from), Some(to)) = (at.get(&(image, out)), at.get(&(image, into))) else { continue };
            let id = image * trace.flows.len() + i + 1;
            let end = |event: &Event, ph: &str| {
                let (pid, tid, ..) = track(event.place);
                json!({ "ph": ph, "bp": "e", "id": id, "name": "tap", "cat": "tap", "pid": pid, "tid": tid, "ts": us(event.start_ps) })
            };
            arrows.extend([end(from, "s"), end(to, "f")]);
        }
    }
    arrows
}

/// One signal of a direction.
struct Signal {
    code: char,
    name: &'static str,
    bits: u32,
}

const fn signal(code: char, name: &'static str, bits: u32) -> Signal {
    Signal { code, name, bits }
}

/// Of each direction: whether the wires are taken, by which tap of which image, with how many bytes,
/// and the bytes that have arrived so far.
const SIGNALS: [[Signal; 5]; 2] = [
    [
        signal('a', "busy", 1),
        signal('b', "tap", 32),
        signal('c', "image", 32),
        signal('d', "payload_bytes", 64),
        signal('e', "arrived_bytes", 64),
    ],
    [
        signal('f', "busy", 1),
        signal('g', "tap", 32),
        signal('h', "image", 32),
        signal('i', "payload_bytes", 64),
        signal('j', "arrived_bytes", 64),
    ],
];

/// The bus as a value change dump.
pub fn vcd(trace: &Trace) -> String {
    let mut text = format!("$comment {} $end\n$timescale 1ps $end\n$scope module link $end\n", plain(&trace.title));
    for (scope, signals) in ["tap_out", "tap_in"].into_iter().zip(&SIGNALS) {
        let _ = writeln!(text, "$scope module {scope} $end");
        for s in signals {
            let _ = writeln!(text, "$var wire {} {} {} $end", s.bits, s.code, s.name);
        }
        text += "$upscope $end\n";
    }
    text += "$upscope $end\n";
    let taps: BTreeMap<usize, &str> = transfers(trace).map(|(e, _)| (e.job, e.name.as_str())).collect();
    for (job, name) in taps {
        let _ = writeln!(text, "$comment tap {job} {} $end", plain(name));
    }
    text += "$enddefinitions $end\n";
    // Nothing has crossed yet at time 0.
    let mut changes: BTreeMap<u64, BTreeMap<char, (u64, u32)>> = BTreeMap::new();
    changes.insert(0, SIGNALS.iter().flatten().map(|s| (s.code, (0, s.bits))).collect());
    let mut arrived: Vec<(u64, usize, u64)> = Vec::new();
    for (event, moved) in transfers(trace) {
        let side = usize::from(moved.direction == Direction::TapIn);
        let [busy, tap, image, payload, _] = &SIGNALS[side];
        // Transfers of one direction start in order, so that a start overrides the end before it.
        let at = changes.entry(event.start_ps).or_default();
        at.insert(busy.code, (1, 1));
        at.insert(tap.code, (event.job as u64, tap.bits));
        at.insert(image.code, (event.image as u64, image.bits));
        at.insert(payload.code, (moved.payload_b, payload.bits));
        changes.entry(event.end_ps).or_default().insert(busy.code, (0, 1));
        arrived.push((event.done_ps, side, moved.payload_b));
    }
    arrived.sort_unstable();
    let mut sums = [0u64; 2];
    for (at_ps, side, payload_b) in arrived {
        sums[side] += payload_b;
        changes.entry(at_ps).or_default().insert(SIGNALS[side][4].code, (sums[side], 64));
    }
    for (at_ps, values) in changes {
        let _ = writeln!(text, "#{at_ps}");
        for (code, (value, bits)) in values {
            let _ = if bits == 1 { writeln!(text, "{value}{code}") } else { writeln!(text, "b{value:b} {code}") };
        }
    }
    text
}

/// Text without what would end a comment.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c == '$' || c.is_control() { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::account::account;
    use crate::experiment::trace::trace;
    use crate::experiment::trunk::{Trunk, Wanted};
    use crate::hw::library::load_system;
    use crate::plan::macs::MacRule;
    use crate::plan::tap_format::TapFormat;
    use crate::scheme::{Request, SchemeSpec};

    fn traced(images: usize) -> (Trace, u64) {
        let trunk = Trunk::open("resnet26", Wanted { input: Some(32), classes: Some(10), seed: 0 }).unwrap();
        let request = Request { scheme: SchemeSpec("parallel".into()), sites: None, batch_norm: None, seed: 0 };
        let system = load_system("edge-nvdla-orin-ucie").unwrap();
        let (row, _) = account(&trunk, &request, &system, TapFormat::Int8, MacRule::Conv).unwrap();
        (trace(&trunk, &request, &system, TapFormat::Int8, images).unwrap(), row.link.payload_bytes)
    }

    #[test]
    fn the_json_moves_the_ledgers_bytes_and_draws_an_arrow_for_each_tap_in() {
        let (trace, payload_b) = traced(2);
        let json = perfetto(&trace);
        let events = json["traceEvents"].as_array().unwrap();
        let sum: u64 = events.iter().filter_map(|e| e["args"]["payload_bytes"].as_u64()).sum();
        assert_eq!(sum, 2 * payload_b);
        let count = |ph: &str| events.iter().filter(|e| e["ph"] == ph).count();
        assert!(count("s") > 0 && count("s") == count("f"));
        let last = events.iter().rfind(|e| e["ph"] == "C" && e["name"] == "tap-in under way").unwrap();
        assert_eq!(last["args"]["transfers"], 0);
        let processes = events.iter().filter(|e| e["name"] == "process_name");
        assert_eq!(
            processes.map(|e| e["args"]["name"].as_str().unwrap()).collect::<std::collections::BTreeSet<_>>().len(),
            3
        );
    }

    #[test]
    fn the_dump_ends_with_all_bytes_arrived_and_the_wires_free() {
        let (trace, payload_b) = traced(3);
        let text = vcd(&trace);
        let last = |code: char| {
            text.lines().rev().find(|line| line.ends_with(code) && !line.starts_with('$')).unwrap().to_string()
        };
        let number = |line: String| u64::from_str_radix(line[1..].split(' ').next().unwrap(), 2).unwrap();
        assert_eq!(number(last('e')) + number(last('j')), 3 * payload_b);
        assert_eq!((last('a'), last('f')), ("0a".to_string(), "0f".to_string()));
        let times: Vec<u64> =
            text.lines().filter_map(|line| line.strip_prefix('#')).map(|t| t.parse().unwrap()).collect();
        assert!(times.is_sorted() && times[0] == 0);
    }
}
