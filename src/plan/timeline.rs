//! Discrete events: jobs on resources, several images in flight, integer picoseconds.
//!
//! A job takes one resource, and may hold others beside it. It starts when what it waits for is done,
//! or, for a *streaming* dependency (layers of a pipelined chip), when that has started; then it
//! cannot end earlier than it either. Of the jobs ready for a resource the one of the earliest image,
//! and in it the earliest in order, goes first: the schedule is a function of its inputs alone.
//! Nothing that has started is interrupted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a job waits for, by index among one image's jobs (always a lower one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub job: usize,
    pub streaming: bool,
}

/// One piece of work of one image.
#[derive(Clone, Debug, Default)]
pub struct Job {
    pub resource: usize,
    /// Resources that can do nothing else meanwhile.
    pub holds: Vec<usize>,
    /// How long the resource is taken.
    pub busy_ps: u64,
    /// How long after that the result is there (a link's latency).
    pub latency_ps: u64,
    /// Which way it uses a resource that both ways share.
    pub backwards: bool,
    pub after: Vec<Dependency>,
}

/// What jobs take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Whether it moves data; otherwise it computes.
    pub is_link: bool,
    /// Jobs that may be under way at once, from their start until their result is there.
    pub most_under_way: usize,
    /// What a job takes more if the one before it went the other way.
    pub turnaround_ps: u64,
}

impl Resource {
    pub const ENGINE: Resource = Resource { is_link: false, most_under_way: usize::MAX, turnaround_ps: 0 };
}

/// When a job of an image ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub image: usize,
    pub job: usize,
    pub start_ps: u64,
    pub end_ps: u64,
    /// When its result was there.
    pub done_ps: u64,
}

/// What came out of a simulation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// When each image was done.
    pub finished_ps: Vec<u64>,
    /// How long each resource was taken, all images together.
    pub busy_ps: Vec<u64>,
    /// Time in which something crossed a link, and the part of it in which nothing computed.
    pub link_ps: u64,
    pub exposed_link_ps: u64,
    /// Every job in the order of their starts, where spans were asked for.
    pub spans: Vec<Span>,
}

impl Schedule {
    pub fn makespan_ps(&self) -> u64 {
        self.finished_ps.iter().copied().max().unwrap_or(0)
    }
}

/// Jobs of one image and the resources that they share with those of others.
#[derive(Clone, Debug)]
pub struct Timeline<'a> {
    jobs: &'a [Job],
    resources: &'a [Resource],
    /// What waits for each job, from `first_reader[job]` on.
    readers: Vec<Dependency>,
    first_reader: Vec<u32>,
    holding: bool,
}

impl<'a> Timeline<'a> {
    pub fn new(jobs: &'a [Job], resources: &'a [Resource]) -> Self {
        let mut first_reader = vec![0u32; jobs.len() + 1];
        for (i, job) in jobs.iter().enumerate() {
            for d in &job.after {
                assert!(d.job < i, "job {i} waits for a later job {}", d.job);
                first_reader[d.job + 1] += 1;
            }
        }
        for i in 0..jobs.len() {
            first_reader[i + 1] += first_reader[i];
        }
        let mut next = first_reader.clone();
        let mut readers = vec![Dependency { job: 0, streaming: false }; first_reader[jobs.len()] as usize];
        for (i, job) in jobs.iter().enumerate() {
            for d in &job.after {
                readers[next[d.job] as usize] = Dependency { job: i, streaming: d.streaming };
                next[d.job] += 1;
            }
        }
        Self { jobs, resources, readers, first_reader, holding: jobs.iter().any(|j| !j.holds.is_empty()) }
    }

    /// Runs `images` copies of the jobs, at most `in_flight` images at a time.
    ///
    /// Times saturate at `u64::MAX` picoseconds (213 days).
    pub fn run(&self, images: usize, in_flight: usize, spans: bool) -> Schedule {
        let in_flight = in_flight.max(1);
        let mut sim = Simulation::new(self, images, in_flight, spans);
        for image in 0..images.min(in_flight) {
            sim.admit(image);
        }
        sim.start_what_can(0);
        sim.run();
        sim.schedule
    }

    fn readers(&self, job: usize) -> &[Dependency] {
        &self.readers[self.first_reader[job] as usize..self.first_reader[job + 1] as usize]
    }
}

/// What an event says of a job: its resource is free, its result is there, or both.
const RELEASED: u64 = 1;
const DONE: u64 = 2;

#[derive(Clone, Debug)]
struct State {
    /// Keys of jobs that could start, least first.
    ready: BinaryHeap<Reverse<u64>>,
    taken: bool,
    under_way: usize,
    backwards: Option<bool>,
    /// A job of a link that waits to hold it: nothing after that in order may start.
    reserved: u64,
    /// Whether it is in the list of those to look at.
    listed: bool,
}

struct Simulation<'a> {
    line: &'a Timeline<'a>,
    in_flight: usize,
    /// Time and, by key of image and job, what happens.
    events: BinaryHeap<Reverse<(u64, u64)>>,
    /// Dependencies still open, and the end of each started job, by image in flight and job.
    waiting: Vec<u32>,
    ends: Vec<u64>,
    left: Vec<usize>,
    states: Vec<State>,
    to_look_at: Vec<usize>,
    now: u64,
    computing: usize,
    moving: usize,
    keep_spans: bool,
    schedule: Schedule,
}

impl<'a> Simulation<'a> {
    fn new(line: &'a Timeline<'a>, images: usize, in_flight: usize, keep_spans: bool) -> Self {
        let state = State {
            ready: BinaryHeap::new(),
            taken: false,
            under_way: 0,
            backwards: None,
            reserved: u64::MAX,
            listed: false,
        };
        let (jobs, slots) = (line.jobs.len(), in_flight.min(images));
        Self {
            line,
            in_flight,
            events: BinaryHeap::new(),
            waiting: vec![0; slots * jobs],
            ends: vec![0; slots * jobs],
            left: vec![0; slots],
            states: vec![state; line.resources.len()],
            to_look_at: Vec::new(),
            now: 0,
            computing: 0,
            moving: 0,
            keep_spans,
            schedule: Schedule {
                finished_ps: vec![0; images],
                busy_ps: vec![0; line.resources.len()],
                spans: Vec::with_capacity(if keep_spans { images * jobs } else { 0 }),
                ..Schedule::default()
            },
        }
    }

    /// Where an image's numbers lie: images leave in any order, but an image enters only when the one
    /// `in_flight` before it has left.
    fn slot(&self, image: usize) -> usize {
        image % self.in_flight * self.line.jobs.len()
    }

    fn key(&self, image: usize, job: usize) -> u64 {
        (image * self.line.jobs.len() + job) as u64
    }

    /// Lets an image's first jobs be ready.
    fn admit(&mut self, image: usize) {
        let at = self.slot(image);
        self.left[image % self.in_flight] = self.line.jobs.len();
        for (i, job) in self.line.jobs.iter().enumerate() {
            self.waiting[at + i] = job.after.len() as u32;
            if job.after.is_empty() {
                self.ready(image, i);
            }
        }
        if self.line.jobs.is_empty() {
            self.leave(image);
        }
    }

    fn leave(&mut self, image: usize) {
        self.schedule.finished_ps[image] = self.now;
        let next = image + self.in_flight;
        if next < self.schedule.finished_ps.len() {
            self.admit(next);
        }
    }

    fn ready(&mut self, image: usize, job: usize) {
        let (key, resource) = (self.key(image, job), self.line.jobs[job].resource);
        self.states[resource].ready.push(Reverse(key));
        self.look_at(resource);
    }

    fn look_at(&mut self, resource: usize) {
        if !std::mem::replace(&mut self.states[resource].listed, true) {
            self.to_look_at.push(resource);
        }
    }

    fn run(&mut self) {
        while let Some(&Reverse((now, _))) = self.events.peek() {
            self.pass_to(now);
            // Everything of this instant happens before anything starts in it.
            while let Some(&Reverse((_, event))) = self.events.peek().filter(|e| e.0.0 == now) {
                self.events.pop();
                self.happen(event);
            }
            self.start_what_can(now);
        }
    }

    fn pass_to(&mut self, now: u64) {
        let passed = now - self.now;
        if self.moving > 0 {
            self.schedule.link_ps += passed;
            if self.computing == 0 {
                self.schedule.exposed_link_ps += passed;
            }
        }
        self.now = now;
    }

    fn happen(&mut self, event: u64) {
        let jobs = self.line.jobs.len() as u64;
        let (key, what) = (event / 4, event % 4);
        let (image, job) = ((key / jobs) as usize, (key % jobs) as usize);
        let one = &self.line.jobs[job];
        if what & RELEASED != 0 {
            self.release(one);
        }
        if what & DONE != 0 {
            self.states[one.resource].under_way -= 1;
            self.look_at(one.resource);
            self.moving -= usize::from(self.line.resources[one.resource].is_link);
            self.satisfy(image, job, false);
            let left = &mut self.left[image % self.in_flight];
            *left -= 1;
            if *left == 0 {
                self.leave(image);
            }
        }
    }

    fn release(&mut self, job: &Job) {
        self.computing -= usize::from(!self.line.resources[job.resource].is_link);
        for &resource in [job.resource].iter().chain(&job.holds) {
            self.states[resource].taken = false;
            self.look_at(resource);
        }
        if self.line.holding {
            (0..self.line.resources.len()).filter(|&r| self.line.resources[r].is_link).for_each(|r| self.look_at(r));
        }
    }

    fn start_what_can(&mut self, now: u64) {
        // Links first, so that what holds engines is not overtaken by what the engines could do next.
        while !self.to_look_at.is_empty() {
            let mut list = std::mem::take(&mut self.to_look_at);
            list.sort_unstable_by_key(|&r| (!self.line.resources[r].is_link, r));
            for resource in list {
                self.states[resource].listed = false;
                self.start_on(resource, now);
            }
        }
    }

    /// Starts the first job that is ready for a resource, if it can.
    fn start_on(&mut self, resource: usize, now: u64) {
        let state = &self.states[resource];
        let Some(&Reverse(key)) = state.ready.peek() else { return };
        let open = state.under_way < self.line.resources[resource].most_under_way;
        if state.taken || !open || state.reserved < key {
            return;
        }
        let jobs = self.line.jobs.len() as u64;
        let (image, job) = ((key / jobs) as usize, (key % jobs) as usize);
        let one = &self.line.jobs[job];
        let may_hold = |r: &usize| !self.states[*r].taken && self.states[*r].reserved >= key;
        if !one.holds.iter().all(may_hold) {
            for &r in &one.holds {
                self.states[r].reserved = self.states[r].reserved.min(key);
            }
            return;
        }
        for &r in &one.holds {
            self.states[r].taken = true;
            if self.states[r].reserved == key {
                self.states[r].reserved = u64::MAX;
                self.look_at(r);
            }
        }
        self.states[resource].ready.pop();
        self.start(image, job, now);
    }

    fn start(&mut self, image: usize, job: usize, now: u64) {
        let (one, at) = (&self.line.jobs[job], self.slot(image));
        let resource = &self.line.resources[one.resource];
        let state = &mut self.states[one.resource];
        let turns = state.backwards.replace(one.backwards).is_some_and(|last| last != one.backwards);
        let busy_ps = one.busy_ps.saturating_add(if turns { resource.turnaround_ps } else { 0 });
        (state.taken, state.under_way) = (true, state.under_way + 1);
        let streams = one.after.iter().filter(|d| d.streaming).map(|d| self.ends[at + d.job]);
        let end_ps = streams.fold(now.saturating_add(busy_ps), u64::max);
        let done_ps = end_ps.saturating_add(one.latency_ps);
        self.ends[at + job] = end_ps;
        let busy = &mut self.schedule.busy_ps[one.resource];
        *busy = busy.saturating_add(busy_ps);
        if resource.is_link {
            self.moving += 1;
        } else {
            self.computing += 1;
        }
        if self.keep_spans {
            self.schedule.spans.push(Span { image, job, start_ps: now, end_ps, done_ps });
        }
        let event = self.key(image, job) * 4;
        if done_ps == end_ps {
            self.events.push(Reverse((end_ps, event + RELEASED + DONE)));
        } else {
            self.events.push(Reverse((end_ps, event + RELEASED)));
            self.events.push(Reverse((done_ps, event + DONE)));
        }
        self.satisfy(image, job, true);
    }

    /// Counts down what waits for `job`, by its start (`streaming`) or its end.
    fn satisfy(&mut self, image: usize, job: usize, streaming: bool) {
        let (line, at) = (self.line, self.slot(image));
        for d in line.readers(job).iter().filter(|d| d.streaming == streaming) {
            let open = &mut self.waiting[at + d.job];
            *open -= 1;
            if *open == 0 {
                self.ready(image, d.job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn job(resource: usize, busy_ps: u64, after: &[(usize, bool)]) -> Job {
        let after = after.iter().map(|&(job, streaming)| Dependency { job, streaming }).collect();
        Job { resource, busy_ps, after, ..Job::default() }
    }

    fn simulate(jobs: &[Job], resources: &[Resource], images: usize, in_flight: usize) -> Schedule {
        Timeline::new(jobs, resources).run(images, in_flight, true)
    }

    const LINK: Resource = Resource { is_link: true, ..Resource::ENGINE };

    #[test]
    fn a_chain_pipelines_over_its_slowest_resource() {
        let jobs = [job(0, 10, &[]), job(1, 30, &[(0, false)]), job(2, 5, &[(1, false)])];
        let s = simulate(&jobs, &[Resource::ENGINE; 3], 4, 4);
        assert_eq!(s.finished_ps, [45, 75, 105, 135]);
        assert_eq!(s.busy_ps, [40, 120, 20]);
        assert_eq!(simulate(&jobs, &[Resource::ENGINE; 3], 4, 1).finished_ps, [45, 90, 135, 180]);
    }

    #[test]
    fn streaming_layers_overlap_but_end_in_order() {
        let jobs = [job(0, 100, &[]), job(1, 10, &[(0, true)]), job(2, 50, &[(1, true)])];
        let s = simulate(&jobs, &[Resource::ENGINE; 3], 1, 1);
        assert!(s.spans.iter().all(|span| (span.start_ps, span.end_ps) == (0, 100)), "{:?}", s.spans);
        assert_eq!(s.makespan_ps(), 100);
    }

    #[test]
    fn latency_delays_the_reader_but_not_the_resource() {
        let mut jobs = [job(0, 10, &[]), job(1, 1, &[(0, false)])];
        jobs[0].latency_ps = 100;
        assert_eq!(simulate(&jobs, &[Resource::ENGINE; 2], 2, 2).finished_ps, [111, 121]);
        // One under way at a time: the second waits for the first to have arrived.
        let single = Resource { most_under_way: 1, ..LINK };
        assert_eq!(simulate(&jobs, &[single, Resource::ENGINE], 2, 2).finished_ps, [111, 221]);
    }

    #[test]
    fn one_resource_serves_the_earliest_image_first() {
        let jobs = [job(0, 10, &[]), job(0, 10, &[(0, false)])];
        assert_eq!(simulate(&jobs, &[Resource::ENGINE], 3, 3).finished_ps, [20, 40, 60]);
    }

    #[test]
    fn what_is_held_does_nothing_else_and_is_kept_for_who_waits() {
        // Two engines and a link that needs both; engine 0 has a long job of its own.
        let mut jobs = [job(0, 10, &[]), job(1, 50, &[]), job(2, 5, &[(0, false)]), job(0, 7, &[(0, false)])];
        jobs[2].holds = vec![0, 1];
        let s = simulate(&jobs, &[Resource::ENGINE, Resource::ENGINE, LINK], 1, 1);
        let start = |job: usize| s.spans.iter().find(|span| span.job == job).unwrap().start_ps;
        assert_eq!((start(2), start(3)), (50, 55));
    }

    #[test]
    fn shared_wires_turn_around() {
        let mut jobs = [job(0, 10, &[]), job(0, 10, &[(0, false)])];
        jobs[1].backwards = true;
        let wires = Resource { turnaround_ps: 3, ..LINK };
        let s = simulate(&jobs, &[wires], 2, 1);
        assert_eq!(s.finished_ps, [23, 49]);
        assert_eq!((s.link_ps, s.exposed_link_ps), (49, 49));
    }

    #[test]
    fn a_transfer_beside_computing_is_not_exposed() {
        let jobs = [job(0, 10, &[]), job(1, 30, &[(0, false)]), job(0, 12, &[(0, false)])];
        let s = simulate(&jobs, &[Resource::ENGINE, LINK], 1, 1);
        assert_eq!((s.link_ps, s.exposed_link_ps, s.makespan_ps()), (30, 18, 40));
    }

    fn chains() -> impl Strategy<Value = Vec<Job>> {
        let one = (
            0usize..4,
            0u64..50,
            0u64..30,
            any::<bool>(),
            proptest::collection::vec(any::<prop::sample::Index>(), 0..3),
            any::<bool>(),
        );
        proptest::collection::vec(one, 1..25).prop_map(|jobs| {
            let mut made: Vec<Job> = Vec::new();
            for (i, (resource, busy_ps, latency_ps, backwards, after, hold)) in jobs.into_iter().enumerate() {
                let mut after: Vec<usize> = after.into_iter().filter(|_| i > 0).map(|at| at.index(i)).collect();
                after.sort_unstable();
                after.dedup();
                let after = after.into_iter().map(|job| Dependency { job, streaming: false }).collect();
                let holds = if hold && resource >= 2 { vec![0, 1] } else { vec![] };
                made.push(Job { resource, holds, busy_ps, latency_ps, backwards, after });
            }
            made
        })
    }

    proptest! {
        #[test]
        fn every_job_runs_once_after_what_it_needs_and_alone(
            jobs in chains(), images in 1usize..5, in_flight in 1usize..5, most in 1usize..3, turnaround_ps in 0u64..5,
        ) {
            let link = Resource { is_link: true, most_under_way: most, turnaround_ps };
            let resources = [Resource::ENGINE, Resource::ENGINE, link, link];
            let s = simulate(&jobs, &resources, images, in_flight);
            prop_assert_eq!(s.spans.len(), images * jobs.len());
            let span = |image: usize, job: usize| s.spans.iter().find(|x| (x.image, x.job) == (image, job)).unwrap();
            for one in &s.spans {
                for d in &jobs[one.job].after {
                    prop_assert!(span(one.image, d.job).done_ps <= one.start_ps);
                }
                let takes = |x: &Span| [jobs[x.job].resource].into_iter().chain(jobs[x.job].holds.clone()).collect::<Vec<_>>();
                for other in s.spans.iter().filter(|o| (o.image, o.job) > (one.image, one.job)) {
                    let share = takes(one).iter().any(|r| takes(other).contains(r));
                    let apart = one.end_ps <= other.start_ps || other.end_ps <= one.start_ps;
                    prop_assert!(!share || apart, "{:?} and {:?}", one, other);
                }
            }
            prop_assert!(s.exposed_link_ps <= s.link_ps && s.link_ps <= s.makespan_ps());
            prop_assert_eq!(simulate(&jobs, &resources, images, in_flight), s);
        }
    }
}
