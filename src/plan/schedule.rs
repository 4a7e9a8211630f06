//! The jobs of one image on a system: layers on the trunk, taps on the link, kernels on the
//! adapter device. What they cost comes from the system's files; when they run, from the timeline.

use super::tap::{Tap, VALUE_BITS};
use super::timeline::{Dependency, Job, simulate};
use crate::bus::{Access, LinkCost, LinkModel, transfer};
use crate::graph::{EdgeId, Graph, GraphError, NodeId, ParamKind};
use crate::hw::System;
use crate::hw::timing::{AdapterTiming, AdapterWork, TrunkTiming, TrunkWork};
use crate::hw::trunk::TrunkKind;
use crate::op::Op;
use crate::price::{Activity, LinkActivity};
use crate::trunk::Fusion;
use crate::units::{Direction, HardwareDomain, Phase};
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

/// A resource, of which a pipelined trunk has one for every layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Resource {
    Trunk(usize),
    TapOut,
    TapIn,
    Adapter,
}

impl Resource {
    fn name(self) -> &'static str {
        match self {
            Resource::Trunk(_) => "trunk",
            Resource::TapOut => "link-tap-out",
            Resource::TapIn => "link-tap-in",
            Resource::Adapter => "adapter",
        }
    }
}

struct Builder<'a> {
    graph: &'a Graph,
    fusion: Fusion,
    trunk: TrunkTiming,
    /// Whether the trunk's layers work at the same time on successive pixels.
    streams: bool,
    adapter: AdapterTiming,
    link: LinkModel,
    link_unknown: BTreeSet<String>,
    /// A kind of trunk that has no timing rule of its own is timed as an ideal array.
    trunk_rule_missing: Option<String>,
    jobs: Vec<Job>,
    resources: Vec<Resource>,
    /// The job that makes an edge, on each side of the bus.
    made: BTreeMap<(EdgeId, HardwareDomain), usize>,
    activity: Activity,
    use_: LinkUse,
    longest_layer_ps: u64,
    sum_of_layers_ps: u64,
}

/// Simulates a placed graph with its taps on a system.
pub fn time(graph: &Graph, taps: &[Tap], system: &System) -> Result<Timed, GraphError> {
    let mut b = Builder {
        graph,
        fusion: Fusion::of(graph)?,
        trunk: TrunkTiming::new(&system.trunk),
        streams: system.trunk.layers_pipelined(),
        adapter: AdapterTiming::of(system),
        link: LinkModel::new(&system.link),
        link_unknown: BTreeSet::new(),
        trunk_rule_missing: rule_missing(system),
        jobs: vec![],
        resources: vec![],
        made: BTreeMap::new(),
        activity: Activity::default(),
        use_: LinkUse::default(),
        longest_layer_ps: 0,
        sum_of_layers_ps: 0,
    };
    let forward: Vec<&Tap> = taps.iter().filter(|t| t.phase == Phase::Forward).collect();
    b.tap_of(graph.input, &forward);
    for id in graph.order()? {
        match graph.node(id).domain {
            HardwareDomain::Adapter => b.adapter_node(id),
            _ => b.trunk_node(id),
        }
        b.tap_of(graph.node(id).output, &forward);
    }
    b.logits_to_host();
    Ok(b.finish())
}

impl Builder<'_> {
    fn resource(&mut self, wanted: Resource) -> usize {
        // Where both directions share the wires there is one of them.
        let wanted = if wanted == Resource::TapIn && self.link.half_duplex() { Resource::TapOut } else { wanted };
        self.resources.iter().position(|r| *r == wanted).unwrap_or_else(|| {
            self.resources.push(wanted);
            self.resources.len() - 1
        })
    }

    fn job(&mut self, resource: Resource, busy_ps: u64, latency_ps: u64, after: Vec<Dependency>) -> usize {
        let resource = self.resource(resource);
        self.jobs.push(Job { resource, busy_ps, latency_ps, after });
        self.jobs.len() - 1
    }

    /// Dependencies on what makes a node's inputs on its own side. On a pipelined trunk a layer
    /// takes pixels as the layer before gives them.
    fn after(&self, id: NodeId, domain: HardwareDomain) -> Vec<Dependency> {
        let node = self.graph.node(id);
        let jobs: BTreeSet<usize> = node.inputs.iter().filter_map(|&e| self.made.get(&(e, domain)).copied()).collect();
        let streaming = |job: usize| {
            domain == HardwareDomain::Trunk
                && self.streams
                && matches!(self.resources[self.jobs[job].resource], Resource::Trunk(_))
        };
        jobs.into_iter().map(|job| Dependency { job, streaming: streaming(job) }).collect()
    }

    fn trunk_node(&mut self, id: NodeId) {
        let after = self.after(id, HardwareDomain::Trunk);
        let output = self.graph.node(id).output;
        let work = trunk_work(self.graph, id);
        // What is fused is done in passing: no time, and its map goes nowhere.
        let in_passing = self.fusion.is_fused(id) || matches!(self.graph.node(id).op, Op::Reshape(_));
        let time = (!in_passing).then(|| self.trunk.step(&work));
        let total_ps = time.map_or(0, |t| t.total_ps);
        let engine = if self.streams { id.index() } else { 0 };
        let job = self.job(Resource::Trunk(engine), total_ps, 0, after);
        self.made.insert((output, HardwareDomain::Trunk), job);
        self.longest_layer_ps = self.longest_layer_ps.max(total_ps);
        self.sum_of_layers_ps = self.sum_of_layers_ps.saturating_add(total_ps);
        self.activity.trunk_macs += work.macs;
        self.activity.line_buffer_b += line_buffer_b(self.graph, id);
        self.activity.trunk_dram_b += time.map_or(0, |t| t.dram_b);
    }

    fn adapter_node(&mut self, id: NodeId) {
        let after = self.after(id, HardwareDomain::Adapter);
        let node = self.graph.node(id);
        let output = node.output;
        let moves_nothing = matches!(node.op, Op::Reshape(_) | Op::Requantise);
        let work = if moves_nothing { AdapterWork::default() } else { adapter_work(self.graph, id) };
        let busy_ps = if moves_nothing { 0 } else { self.kernel_ps(&work) };
        let job = self.job(Resource::Adapter, busy_ps, 0, after);
        self.made.insert((output, HardwareDomain::Adapter), job);
    }

    /// The program learns that the device is done with the last map.
    fn logits_to_host(&mut self) {
        if let Some(&job) = self.made.get(&(self.graph.output, HardwareDomain::Adapter)) {
            self.job(Resource::Adapter, 0, self.adapter.round_trip_ps(), vec![Dependency { job, streaming: false }]);
        }
    }

    /// A kernel with its launch; counts what it does.
    fn kernel_ps(&mut self, work: &AdapterWork) -> u64 {
        let time = self.adapter.kernel(work);
        self.activity.adapter_flops += work.flops;
        self.activity.adapter_mem_b += work.bytes;
        // A launch keeps the device waiting, not working.
        self.activity.adapter_busy_ps += time.total_ps - time.launch_ps;
        time.total_ps
    }

    /// The transfer of an edge that crosses, with its conversion on the adapter device.
    fn tap_of(&mut self, edge: EdgeId, taps: &[&Tap]) {
        for tap in taps.iter().filter(|t| t.crossing.as_ref().is_some_and(|c| c.edge == edge)) {
            let cost = transfer(&self.link, tap.bytes, Access::Write);
            self.count(tap, &cost);
            // Where both directions share the wires, each transfer turns them around.
            let turn_ps = if self.link.half_duplex() { self.link.turnaround_ps() } else { 0 };
            let stream_ps = cost.stream_ps.saturating_add(turn_ps);
            // Codes on one side, four bytes an element on the other; nothing where values cross.
            let convert =
                AdapterWork { flops: 2 * tap.elements, bytes: tap.bytes + 4 * tap.elements, is_product: false };
            let convert_ps = if tap.bits == VALUE_BITS { 0 } else { self.kernel_ps(&convert) };
            let done = |job| vec![Dependency { job, streaming: false }];
            match tap.direction {
                Direction::TapOut => {
                    let after = self.made.get(&(edge, HardwareDomain::Trunk)).map_or(vec![], |&j| done(j));
                    let sent = self.job(Resource::TapOut, stream_ps, cost.latency_ps, after);
                    let there = self.job(Resource::Adapter, convert_ps, 0, done(sent));
                    self.made.insert((edge, HardwareDomain::Adapter), there);
                }
                Direction::TapIn => {
                    let after = self.made.get(&(edge, HardwareDomain::Adapter)).map_or(vec![], |&j| done(j));
                    // The trunk waits for this: the program must know that the device is done.
                    let coded = self.job(Resource::Adapter, convert_ps, self.adapter.round_trip_ps(), after);
                    let sent = self.job(Resource::TapIn, stream_ps, cost.latency_ps, done(coded));
                    self.made.insert((edge, HardwareDomain::Trunk), sent);
                }
            }
        }
    }

    fn count(&mut self, tap: &Tap, cost: &LinkCost) {
        self.link_unknown.extend(cost.unknown.iter().cloned());
        let one = match tap.direction {
            Direction::TapOut => &mut self.use_.tap_out,
            Direction::TapIn => &mut self.use_.tap_in,
        };
        one.payload_bytes += tap.bytes;
        one.wire_bytes += cost.wire_b;
        one.transactions += cost.transactions;
        one.busy_ps += cost.stream_ps;
    }

    fn finish(mut self) -> Timed {
        let alone = simulate(&self.jobs, self.resources.len(), 1, 1);
        let steady = simulate(&self.jobs, self.resources.len(), IMAGES, IN_FLIGHT);
        // The pipeline fills over the first images, and images that wait for the same thing come
        // out together: the rate is that of the second half, whole rounds of those in flight.
        let (from, to) = (IMAGES / 2 - 1, IMAGES - 1);
        let span_ps = steady.finished_ps[to] - steady.finished_ps[from];
        let measured_ps = span_ps / (to - from) as u64;
        // The last images drain faster than any resource could go on: its own time is the floor.
        let floor_ps = alone.busy_ps.iter().copied().max().unwrap_or(0);
        let interval_ps = measured_ps.max(floor_ps).max(1);
        let mut busy_ps: BTreeMap<String, u64> = BTreeMap::new();
        let mut longest: (u64, &str) = (0, "none");
        for (resource, &busy) in self.resources.iter().zip(&alone.busy_ps) {
            *busy_ps.entry(resource.name().into()).or_default() += busy;
            // Each engine of a pipelined trunk can hold up the rest on its own.
            if busy > longest.0 {
                longest = (busy, resource.name());
            }
        }
        if self.streams {
            busy_ps.insert("trunk".into(), self.longest_layer_ps);
        }
        let share = |busy: u64| (busy as f64 / interval_ps as f64).min(1.0);
        let utilisation = busy_ps.iter().map(|(name, &busy)| (name.clone(), share(busy))).collect();

        let trunk_busy_ps = if self.streams { self.longest_layer_ps } else { self.sum_of_layers_ps };
        let (o, i) = (self.use_.tap_out, self.use_.tap_in);
        self.use_.payload_bytes = o.payload_bytes + i.payload_bytes;
        self.use_.wire_bytes = o.wire_bytes + i.wire_bytes;
        self.use_.transactions = o.transactions + i.transactions;
        self.use_.busy_ps = o.busy_ps + i.busy_ps;
        let activity = Activity {
            tap_out: link_activity(&o),
            tap_in: link_activity(&i),
            trunk_busy_ps,
            // What the codes of this engine have.
            weight_bits: 8,
            activation_bits: 8,
            elapsed_ps: interval_ps,
            ..self.activity
        };
        let unknown = self.unknown();
        let time = Time {
            latency_ps: alone.makespan_ps(),
            throughput_per_s: 1e12 / interval_ps as f64,
            // Where no resource is taken most of the time, images wait for latencies.
            bottleneck: if longest.0 < interval_ps / 10 * 9 { "latency" } else { longest.1 }.into(),
            lower_bound: !unknown.is_empty(),
            busy_ps,
            utilisation,
        };
        Timed { time, link: self.use_, activity, unknown }
    }

    /// Unknown figures of the parts that this image uses.
    fn unknown(&self) -> BTreeSet<String> {
        let uses = |r: fn(&Resource) -> bool| self.resources.iter().any(r);
        let mut unknown = BTreeSet::new();
        if uses(|r| matches!(r, Resource::Trunk(_))) {
            unknown.extend(self.trunk.unknown().iter().cloned());
            unknown.extend(self.trunk_rule_missing.clone());
        }
        if uses(|r| *r == Resource::Adapter) {
            unknown.extend(self.adapter.unknown().iter().cloned());
        }
        unknown.extend(self.link_unknown.iter().cloned());
        unknown
    }
}

fn rule_missing(system: &System) -> Option<String> {
    let kind = system.trunk.kind;
    let has_rule = matches!(kind, TrunkKind::FixedWeight | TrunkKind::SimdNpu);
    (!has_rule).then(|| format!("trunk/{}: timing of kind {kind}, taken as an ideal array", system.trunk.name))
}

fn weight_elements(graph: &Graph, id: NodeId) -> u64 {
    let params = graph.node(id).params.iter().map(|&p| graph.param(p));
    params.filter(|p| p.kind == ParamKind::Weight).map(|p| p.value.len() as u64).sum()
}

/// What a trunk layer asks for; codes are bytes.
fn trunk_work(graph: &Graph, id: NodeId) -> TrunkWork {
    let shapes = graph.input_shapes(id);
    let output = graph.shape(graph.node(id).output);
    TrunkWork {
        macs: graph.macs(id),
        weight_b: weight_elements(graph, id),
        input_b: shapes.iter().map(|s| s.elements() as u64).sum(),
        output_b: output.elements() as u64,
        input_pixels: shapes.iter().map(|s| s.pixels() as u64).max().unwrap_or(0),
        output_pixels: output.pixels() as u64,
    }
}

/// What an adapter node asks for; values are four bytes.
fn adapter_work(graph: &Graph, id: NodeId) -> AdapterWork {
    let output = graph.shape(graph.node(id).output).elements() as u64;
    let inputs: u64 = graph.input_shapes(id).iter().map(|s| s.elements() as u64).sum();
    let params: u64 = graph.node(id).params.iter().map(|&p| graph.param(p).value.len() as u64).sum();
    let macs = graph.macs(id);
    AdapterWork {
        flops: if macs > 0 { 2 * macs } else { inputs },
        bytes: 4 * (inputs + params + output),
        is_product: macs > 0,
    }
}

/// Rows that a sliding window must keep: (k - 1) · W · C_in codes of a byte.
fn line_buffer_b(graph: &Graph, id: NodeId) -> u64 {
    let input = graph.input_shapes(id)[0];
    match &graph.node(id).op {
        Op::Conv2d(c) => (c.kernel[0] as u64 - 1) * (input.w * input.c) as u64,
        _ => 0,
    }
}

fn link_activity(used: &DirectionUse) -> LinkActivity {
    LinkActivity {
        payload_b: used.payload_bytes,
        wire_b: used.wire_bytes,
        transactions: used.transactions,
        busy_ps: used.busy_ps,
    }
}
