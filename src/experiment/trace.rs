//! What happens when, job by job: the timeline of a placed trunk's forward pass, for drawing.

use super::account::AccountError;
use super::trunk::Trunk;
use crate::hw::System;
use crate::plan::prepared::{Prepared, Work};
use crate::plan::schedule::{Costed, Place};
use crate::plan::tap::{TapPrecision, taps};
use crate::plan::tap_format::TapFormat;
use crate::plan::timeline::{Span, Timeline};
use crate::scheme::{self, Request};
use crate::units::{Direction, Phase};

/// A transfer among the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub direction: Direction,
    pub payload_b: u64,
}

/// One job of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub phase: Phase,
    pub place: Place,
    pub image: usize,
    /// Its place among an image's jobs.
    pub job: usize,
    pub start_ps: u64,
    pub end_ps: u64,
    /// When its result was there.
    pub done_ps: u64,
    pub moved: Option<Moved>,
}

/// A timeline with what led to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub title: String,
    pub images: usize,
    /// In the order of their starts.
    pub events: Vec<Event>,
    /// Tap-ins with the tap-outs that they are computed from, by job.
    pub flows: Vec<(usize, usize)>,
}

/// Runs some images, as many in flight, of a placed trunk on a system.
pub fn trace(
    trunk: &Trunk,
    request: &Request,
    system: &System,
    tap_in_bits: TapFormat,
    images: usize,
) -> Result<Trace, AccountError> {
    let placed = scheme::place(&trunk.graph, request)?;
    let taps = taps(&placed, TapPrecision::on(system, tap_in_bits))?;
    let prepared = Prepared::forward(&placed.graph, &taps)?;
    let costed = prepared.on(system, 1);
    let schedule = Timeline::new(&costed.jobs, &costed.resources).run(images, images, true);
    let events = schedule.spans.iter().map(|span| event(&prepared, &costed, span)).collect();
    let title = format!("{} with {} on {}", trunk.name, placed.scheme, system.name);
    Ok(Trace { title, images, events, flows: flows(&prepared) })
}

fn event(prepared: &Prepared, costed: &Costed, span: &Span) -> Event {
    let task = &prepared.tasks[span.job];
    let moved = moved(task.work);
    let place = match moved {
        // Also where both directions share the wires.
        Some(Moved { direction: Direction::TapOut, .. }) => Place::TapOut,
        Some(Moved { direction: Direction::TapIn, .. }) => Place::TapIn,
        None => costed.places[costed.jobs[span.job].resource],
    };
    Event {
        name: task.name.clone(),
        phase: task.phase,
        place,
        image: span.image,
        job: span.job,
        start_ps: span.start_ps,
        end_ps: span.end_ps,
        done_ps: span.done_ps,
        moved,
    }
}

fn moved(work: Work) -> Option<Moved> {
    match work {
        Work::Transfer { direction, payload_b } => Some(Moved { direction, payload_b }),
        _ => None,
    }
}

/// For each tap-in the tap-outs that reach it through nothing but the adapter device.
fn flows(prepared: &Prepared) -> Vec<(usize, usize)> {
    let direction = |job: usize| moved(prepared.tasks[job].work).map(|m| m.direction);
    // Jobs come after what they wait for, so one pass forward knows the sources of each.
    let mut sources: Vec<Vec<usize>> = Vec::with_capacity(prepared.tasks.len());
    let mut flows = Vec::new();
    for (i, task) in prepared.tasks.iter().enumerate() {
        let mut from: Vec<usize> = task.after.iter().flat_map(|&job| sources[job].iter().copied()).collect();
        from.sort_unstable();
        from.dedup();
        match direction(i) {
            Some(Direction::TapIn) => {
                flows.extend(from.iter().map(|&out| (out, i)));
                sources.push(vec![]);
            }
            Some(Direction::TapOut) => sources.push(vec![i]),
            None => sources.push(from),
        }
    }
    flows
}
