//! A prepared plan on a system: its tasks become jobs with a time, on the trunk, on the link and on
//! the adapter device. What they cost comes from the system's files; when they run, from the timeline.
//!
//! How far a transfer runs beside computing is the link's `overlap`: with `none` it takes both ends
//! and its latency with it, with `double_buffer` two are under way in a direction, with `full` only
//! the wires are waited for.

use super::prepared::{Prepared, Task, Work};
use super::tap::Tap;
use super::timeline::{Dependency, Job, Resource, Schedule, Timeline};
use crate::bus::{LinkCost, LinkModel, transfer};
use crate::graph::{Graph, GraphError};
use crate::hw::timing::{AdapterTiming, AdapterWork, Residency, TrunkTiming, TrunkWork};
use crate::hw::{Overlap, System, TapAccess};
use crate::price::{Activity, LinkActivity};
use crate::units::{Direction, Phase};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Images simulated for the steady rate, and how many of them are under way at a time.
const IMAGES: usize = 4 * IN_FLIGHT;
const IN_FLIGHT: usize = 8;

/// Simulated time of single images; nothing here was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Time {
    /// One image alone, from its arrival until the program has its logits.
    pub latency_ps: u64,
    /// Images per second at the steady rate, with 8 in flight.
    pub throughput_per_s: f64,
    /// The resource that is taken longest, or `latency` where none is taken nearly all the time.
    pub bottleneck: String,
    /// Whether some figure that the time needs is unknown.
    pub lower_bound: bool,
    /// Picoseconds for which each resource is taken by one image.
    pub busy_ps: BTreeMap<String, u64>,
    /// Share of the time at the steady rate for which each resource is taken.
    pub utilisation: BTreeMap<String, f64>,
    /// Of the latency, the time in which something crossed the link and nothing computed.
    pub exposed_link_ps: u64,
}

/// What crosses the link for one image, both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkUse {
    pub payload_bytes: u64,
    pub wire_bytes: u64,
    pub transactions: u64,
    pub busy_ps: u64,
    pub tap_out: DirectionUse,
    pub tap_in: DirectionUse,
}

/// The same of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DirectionUse {
    pub payload_bytes: u64,
    pub wire_bytes: u64,
    pub transactions: u64,
    pub busy_ps: u64,
}

/// One image on a system.
#[derive(Clone, Debug)]
pub struct Timed {
    pub time: Time,
    pub link: LinkUse,
    pub activity: Activity,
    /// Figures that the time needs and nobody knows.
    pub unknown: BTreeSet<String>,
}

/// What a job takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A pipelined trunk has one for every layer, any other trunk has the first.
    Trunk(usize),
    TapOut,
    TapIn,
    Adapter,
}

impl Place {
    pub fn name(self) -> &'static str {
        match self {
            Place::Trunk(_) => "trunk",
            Place::TapOut => "link-tap-out",
            Place::TapIn => "link-tap-in",
            Place::Adapter => "adapter",
        }
    }
}

/// A prepared plan with the times that its tasks take on one system.
#[derive(Clone, Debug)]
pub struct Costed {
    pub jobs: Vec<Job>,
    /// What ends a step.
    pub update: Vec<Job>,
    pub places: Vec<Place>,
    pub resources: Vec<Resource>,
    pub link: LinkUse,
    /// What one image does, without its times.
    pub activity: Activity,
    /// Of a pipelined trunk the longest layer, of another all of them: how long an image keeps it.
    trunk_busy_ps: u64,
    pub unknown: BTreeSet<String>,
}

/// Simulates a placed graph with its taps on a system.
pub fn time(graph: &Graph, taps: &[Tap], system: &System) -> Result<Timed, GraphError> {
    Ok(Prepared::forward(graph, taps)?.on(system, 1).time())
}

impl Prepared {
    /// Its times on a system, for micro-batches of so many images.
    pub fn on(&self, system: &System, images: u64) -> Costed {
        let mut costing = Costing::new(system, images);
        let jobs = self.tasks.iter().map(|task| costing.job(task)).collect::<Vec<_>>();
        let jobs = costing.with_dependencies(jobs, &self.tasks);
        // What happens once a step is not what an image does.
        let (activity, link) = (costing.activity, costing.use_);
        costing.images = 1;
        let update = self.update.iter().map(|task| costing.job(task)).collect::<Vec<_>>();
        let update = costing.with_dependencies(update, &self.update);
        (costing.activity, costing.use_) = (activity, link);
        costing.activity.line_buffer_b = self.line_buffer_b;
        costing.finish(jobs, update)
    }
}

struct Costing {
    trunk: TrunkTiming,
    /// Whether the trunk's layers work at the same time on successive pixels.
    streams: bool,
    adapter: AdapterTiming,
    link: LinkModel,
    access: TapAccess,
    /// Which weights the trunk need not load, and what of a layer's they are.
    residency: Residency,
    resident_b: BTreeMap<usize, u64>,
    images: u64,
    places: Vec<Place>,
    /// Where an engine of the trunk is among the places.
    engines: Vec<Option<usize>>,
    activity: Activity,
    use_: LinkUse,
    link_unknown: BTreeSet<String>,
    longest_layer_ps: u64,
    sum_of_layers_ps: u64,
}

impl Costing {
    fn new(system: &System, images: u64) -> Self {
        Self {
            trunk: TrunkTiming::new(&system.trunk),
            streams: system.trunk.layers_pipelined(),
            adapter: AdapterTiming::of(system),
            link: LinkModel::new(&system.link),
            access: system.access,
            residency: Residency::new(&system.trunk),
            resident_b: BTreeMap::new(),
            images,
            places: vec![],
            engines: vec![],
            activity: Activity::default(),
            use_: LinkUse::default(),
            link_unknown: BTreeSet::new(),
            longest_layer_ps: 0,
            sum_of_layers_ps: 0,
        }
    }

    fn place(&mut self, wanted: Place) -> usize {
        // Where both directions share the wires there is one of them.
        let wanted = if wanted == Place::TapIn && self.link.half_duplex() { Place::TapOut } else { wanted };
        let known = match wanted {
            Place::Trunk(engine) => {
                self.engines.resize(self.engines.len().max(engine + 1), None);
                self.engines[engine]
            }
            _ => self.places.iter().position(|p| *p == wanted),
        };
        known.unwrap_or_else(|| {
            self.places.push(wanted);
            let at = self.places.len() - 1;
            if let Place::Trunk(engine) = wanted {
                self.engines[engine] = Some(at);
            }
            at
        })
    }

    fn engine(&mut self, engine: usize) -> usize {
        self.place(Place::Trunk(if self.streams { engine } else { 0 }))
    }

    /// A task's job, without what it waits for.
    fn job(&mut self, task: &Task) -> Job {
        let on =
            |resource: usize, busy_ps: u64, latency_ps: u64| Job { resource, busy_ps, latency_ps, ..Job::default() };
        match task.work {
            Work::Trunk { work, engine } => {
                let work = self.resident(work, engine, task.phase);
                let time = self.trunk.step(&work);
                let busy_ps = time.total_ps.saturating_mul(self.images);
                self.longest_layer_ps = self.longest_layer_ps.max(time.total_ps);
                self.sum_of_layers_ps = self.sum_of_layers_ps.saturating_add(time.total_ps);
                self.activity.trunk_macs += work.macs;
                self.activity.trunk_dram_b += time.dram_b;
                self.activity.trunk_on_chip_read_b += time.sram_read_b;
                self.activity.trunk_on_chip_write_b += time.sram_write_b;
                on(self.engine(engine), busy_ps, 0)
            }
            Work::Kernel { work, answers } => {
                let busy_ps = self.kernel_ps(&work);
                let latency_ps = if answers { self.adapter.round_trip_ps() } else { 0 };
                on(self.place(Place::Adapter), busy_ps, latency_ps)
            }
            Work::Answer => on(self.place(Place::Adapter), 0, self.adapter.round_trip_ps()),
            Work::Transfer { direction, payload_b } => self.transfer(direction, payload_b),
        }
    }

    /// A layer's weights get their share of the room once, on the way forward.
    fn resident(&mut self, work: TrunkWork, engine: usize, phase: Phase) -> TrunkWork {
        if phase == Phase::Forward {
            let work = self.residency.place(work);
            self.resident_b.insert(engine, work.resident_weight_b);
            return work;
        }
        TrunkWork { resident_weight_b: self.resident_b.get(&engine).copied().unwrap_or(0), ..work }
    }

    /// A kernel with its launch; counts what it does for one image.
    fn kernel_ps(&mut self, work: &AdapterWork) -> u64 {
        let one = self.adapter.kernel(work);
        self.activity.adapter_flops += work.flops;
        self.activity.adapter_mem_b += work.bytes;
        // A launch keeps the device waiting, not working.
        self.activity.adapter_busy_ps += one.total_ps - one.launch_ps;
        let times = |n: u64| n.saturating_mul(self.images);
        self.adapter.kernel_ps(&AdapterWork { flops: times(work.flops), bytes: times(work.bytes), ..*work })
    }

    /// One transfer for each image of the micro-batch, one after the other.
    fn transfer(&mut self, direction: Direction, payload_b: u64) -> Job {
        let cost = transfer(&self.link, payload_b, self.access.of(direction));
        // All transfers of a link lack the same figures.
        if cost.unknown.len() > self.link_unknown.len() {
            self.link_unknown.extend(cost.unknown.iter().cloned());
        }
        let (place, one, other) = match direction {
            Direction::TapOut => (Place::TapOut, &mut self.use_.tap_out, &mut self.use_.tap_in),
            Direction::TapIn => (Place::TapIn, &mut self.use_.tap_in, &mut self.use_.tap_out),
        };
        count(one, payload_b, &cost);
        other.wire_bytes += cost.request_wire_b;
        let stream_ps = cost.stream_ps.saturating_mul(self.images);
        let backwards = direction == Direction::TapIn;
        let resource = self.place(place);
        if self.link.overlap() == Overlap::None {
            let mut holds = vec![self.place(Place::Adapter)];
            if !self.streams {
                holds.push(self.engine(0));
            }
            let busy_ps = stream_ps.saturating_add(cost.latency_ps);
            return Job { resource, holds, busy_ps, backwards, ..Job::default() };
        }
        Job { resource, busy_ps: stream_ps, latency_ps: cost.latency_ps, backwards, ..Job::default() }
    }

    /// On a pipelined trunk a layer takes pixels as the layer before gives them.
    fn with_dependencies(&self, mut jobs: Vec<Job>, tasks: &[Task]) -> Vec<Job> {
        let on_trunk: Vec<bool> =
            jobs.iter().map(|job| self.streams && matches!(self.places[job.resource], Place::Trunk(_))).collect();
        for (i, task) in tasks.iter().enumerate() {
            let dependency = |&job: &usize| Dependency { job, streaming: on_trunk[i] && on_trunk[job] };
            jobs[i].after = task.after.iter().map(dependency).collect();
        }
        jobs
    }

    fn finish(mut self, jobs: Vec<Job>, update: Vec<Job>) -> Costed {
        let (o, i) = (self.use_.tap_out, self.use_.tap_in);
        self.use_.payload_bytes = o.payload_bytes + i.payload_bytes;
        self.use_.wire_bytes = o.wire_bytes + i.wire_bytes;
        self.use_.transactions = o.transactions + i.transactions;
        self.use_.busy_ps = o.busy_ps + i.busy_ps;
        let trunk_busy_ps = if self.streams { self.longest_layer_ps } else { self.sum_of_layers_ps };
        let activity = Activity {
            tap_out: link_activity(&o),
            tap_in: link_activity(&i),
            trunk_busy_ps,
            // What the codes of this engine have.
            weight_bits: 8,
            activation_bits: 8,
            ..self.activity
        };
        let resources = self.places.iter().map(|place| self.resource(*place)).collect();
        let unknown = self.unknown();
        Costed { jobs, update, resources, places: self.places, link: self.use_, activity, trunk_busy_ps, unknown }
    }

    fn resource(&self, place: Place) -> Resource {
        match place {
            Place::Trunk(_) | Place::Adapter => Resource::ENGINE,
            Place::TapOut | Place::TapIn => Resource {
                is_link: true,
                most_under_way: match self.link.overlap() {
                    Overlap::None => 1,
                    Overlap::DoubleBuffer => 2,
                    Overlap::Full => usize::MAX,
                },
                turnaround_ps: if self.link.half_duplex() { self.link.turnaround_ps() } else { 0 },
            },
        }
    }

    /// Unknown figures of the parts that this plan uses.
    fn unknown(&self) -> BTreeSet<String> {
        let uses = |p: fn(&Place) -> bool| self.places.iter().any(p);
        let mut unknown = BTreeSet::new();
        if uses(|p| matches!(p, Place::Trunk(_))) {
            unknown.extend(self.trunk.unknown().iter().cloned());
            unknown.extend(self.residency.unknown.iter().cloned());
        }
        if uses(|p| *p == Place::Adapter) {
            unknown.extend(self.adapter.unknown().iter().cloned());
        }
        unknown.extend(self.link_unknown.iter().cloned());
        unknown
    }
}

impl Costed {
    /// How long its jobs take, once and alone.
    pub fn alone_ps(&self) -> u64 {
        Timeline::new(&self.jobs, &self.resources).run(1, 1, false).makespan_ps()
    }

    /// One image alone, and the steady rate with some in flight.
    pub fn time(self) -> Timed {
        let line = Timeline::new(&self.jobs, &self.resources);
        let alone = line.run(1, 1, false);
        let steady = line.run(IMAGES, IN_FLIGHT, false);
        // The pipeline fills over the first images, and images that wait for the same thing come
        // out together: the rate is that of the second half, whole rounds of those in flight.
        let (from, to) = (IMAGES / 2 - 1, IMAGES - 1);
        let span_ps = steady.finished_ps[to] - steady.finished_ps[from];
        self.timed(&alone, span_ps / (to - from) as u64)
    }

    /// One image alone, and the rate that no schedule exceeds: for comparing many systems.
    pub fn bounds(self) -> Timed {
        let alone = Timeline::new(&self.jobs, &self.resources).run(1, 1, false);
        self.timed(&alone, alone.makespan_ps() / IN_FLIGHT as u64)
    }

    fn timed(self, alone: &Schedule, measured_ps: u64) -> Timed {
        // The last images drain faster than any resource could go on: its own time is the floor.
        let floor_ps = alone.busy_ps.iter().copied().max().unwrap_or(0);
        let interval_ps = measured_ps.max(floor_ps).max(1);
        let streams = self.places.iter().any(|p| matches!(p, Place::Trunk(engine) if *engine > 0));
        let (mut busy_ps, longest) = busy(&self.places, &alone.busy_ps);
        if streams {
            busy_ps.insert("trunk".into(), self.trunk_busy_ps);
        }
        let time = Time {
            latency_ps: alone.makespan_ps(),
            throughput_per_s: 1e12 / interval_ps as f64,
            bottleneck: bottleneck(longest, interval_ps),
            lower_bound: !self.unknown.is_empty(),
            utilisation: utilisation(&busy_ps, interval_ps),
            busy_ps,
            exposed_link_ps: alone.exposed_link_ps,
        };
        let activity = Activity { elapsed_ps: interval_ps, ..self.activity };
        Timed { time, link: self.link, activity, unknown: self.unknown }
    }
}

/// How long each kind of resource is taken, and the one that is taken longest: each engine of a
/// pipelined trunk can hold up the rest on its own.
pub(super) fn busy(places: &[Place], busy_ps: &[u64]) -> (BTreeMap<String, u64>, (u64, &'static str)) {
    let mut by_name: BTreeMap<String, u64> = BTreeMap::new();
    let mut longest = (0, "none");
    for (place, &busy) in places.iter().zip(busy_ps) {
        let sum = by_name.entry(place.name().into()).or_default();
        *sum = sum.saturating_add(busy);
        if busy > longest.0 {
            longest = (busy, place.name());
        }
    }
    (by_name, longest)
}

/// Where no resource is taken most of the time, images wait for latencies.
pub(super) fn bottleneck(longest: (u64, &'static str), interval_ps: u64) -> String {
    if longest.0 < interval_ps / 10 * 9 { "latency" } else { longest.1 }.into()
}

pub(super) fn utilisation(busy_ps: &BTreeMap<String, u64>, interval_ps: u64) -> BTreeMap<String, f64> {
    let share = |busy: u64| (busy as f64 / interval_ps.max(1) as f64).min(1.0);
    busy_ps.iter().map(|(name, &busy)| (name.clone(), share(busy))).collect()
}

fn count(one: &mut DirectionUse, payload_b: u64, cost: &LinkCost) {
    one.payload_bytes += payload_b;
    one.wire_bytes += cost.wire_b;
    one.transactions += cost.transactions;
    one.busy_ps += cost.stream_ps;
}

fn link_activity(used: &DirectionUse) -> LinkActivity {
    LinkActivity {
        payload_b: used.payload_bytes,
        wire_b: used.wire_bytes,
        transactions: used.transactions,
        busy_ps: used.busy_ps,
    }
}
