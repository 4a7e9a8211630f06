//! Discrete events: jobs on resources, several images in flight, integer picoseconds.
//!
//! A job takes one resource. It starts when what it waits for is done, or, for a *streaming*
//! dependency (layers of a pipelined chip), when that has started; then it cannot end earlier than
//! it either. Of the jobs ready for a resource the one of the earliest image, and in it the
//! earliest in order, goes first: the schedule is a function of its inputs alone.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// What a job waits for, by index among one image's jobs (always a lower one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub job: usize,
    pub streaming: bool,
}

/// One piece of work of one image.
#[derive(Clone, Debug)]
pub struct Job {
    pub resource: usize,
    /// How long the resource is taken.
    pub busy_ps: u64,
    /// How long after that the result is there (a link's latency).
    pub latency_ps: u64,
    pub after: Vec<Dependency>,
}

/// What came out of a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// When each image was done.
    pub finished_ps: Vec<u64>,
    /// How long each resource was taken, all images together.
    pub busy_ps: Vec<u64>,
    /// Start and end of each job of the first image.
    pub first_image_ps: Vec<(u64, u64)>,
}

impl Schedule {
    pub fn makespan_ps(&self) -> u64 {
        self.finished_ps.iter().copied().max().unwrap_or(0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Released { resource: usize },
    Ready { image: usize, job: usize },
    Done { image: usize, job: usize },
}

struct Simulation<'a> {
    jobs: &'a [Job],
    dependents: Vec<Vec<Dependency>>,
    events: BinaryHeap<Reverse<(u64, Happening)>>,
    /// Dependencies still open, by image and job.
    waiting: Vec<Vec<usize>>,
    /// End of each started job, by image and job.
    ends: Vec<Vec<u64>>,
    ready: Vec<BTreeSet<(usize, usize)>>,
    taken: Vec<bool>,
    left: Vec<usize>,
    schedule: Schedule,
}

/// Runs `images` copies of `jobs` over `resources`, at most `in_flight` images at a time.
///
/// Times saturate at `u64::MAX` picoseconds (213 days).
pub fn simulate(jobs: &[Job], resources: usize, images: usize, in_flight: usize) -> Schedule {
    let mut dependents = vec![Vec::new(); jobs.len()];
    for (i, job) in jobs.iter().enumerate() {
        for d in &job.after {
            assert!(d.job < i, "job {i} waits for a later job {}", d.job);
            dependents[d.job].push(Dependency { job: i, streaming: d.streaming });
        }
    }
    let mut sim = Simulation {
        jobs,
        dependents,
        events: BinaryHeap::new(),
        waiting: vec![jobs.iter().map(|j| j.after.len()).collect(); images],
        ends: vec![vec![0; jobs.len()]; images],
        ready: vec![BTreeSet::new(); resources],
        taken: vec![false; resources],
        left: vec![jobs.len(); images],
        schedule: Schedule {
            finished_ps: vec![0; images],
            busy_ps: vec![0; resources],
            first_image_ps: vec![(0, 0); jobs.len()],
        },
    };
    for image in 0..images.min(in_flight.max(1)) {
        sim.admit(image, 0);
    }
    sim.run(in_flight.max(1));
    sim.schedule
}

impl Simulation<'_> {
    /// Lets an image's first jobs be ready at `now`.
    fn admit(&mut self, image: usize, now: u64) {
        for job in (0..self.jobs.len()).filter(|&j| self.jobs[j].after.is_empty()) {
            self.events.push(Reverse((now, Happening::Ready { image, job })));
        }
    }

    fn run(&mut self, in_flight: usize) {
        while let Some(&Reverse((now, _))) = self.events.peek() {
            // Everything of this instant happens before anything starts in it.
            while let Some(&Reverse((at, happening))) = self.events.peek().filter(|e| e.0.0 == now) {
                self.events.pop();
                self.happen(at, happening, in_flight);
            }
            for resource in 0..self.taken.len() {
                if !self.taken[resource]
                    && let Some((image, job)) = self.ready[resource].pop_first()
                {
                    self.start(image, job, now);
                }
            }
        }
    }

    fn happen(&mut self, now: u64, happening: Happening, in_flight: usize) {
        match happening {
            Happening::Released { resource } => self.taken[resource] = false,
            Happening::Ready { image, job } => {
                self.ready[self.jobs[job].resource].insert((image, job));
            }
            Happening::Done { image, job } => {
                self.satisfy(image, job, false, now);
                self.left[image] -= 1;
                if self.left[image] == 0 {
                    self.schedule.finished_ps[image] = now;
                    let next = image + in_flight;
                    if next < self.left.len() {
                        self.admit(next, now);
                    }
                }
            }
        }
    }

    fn start(&mut self, image: usize, job: usize, now: u64) {
        let Job { resource, busy_ps, latency_ps, ref after } = self.jobs[job];
        let streams = after.iter().filter(|d| d.streaming).map(|d| self.ends[image][d.job]);
        let end = streams.fold(now.saturating_add(busy_ps), u64::max);
        self.ends[image][job] = end;
        self.taken[resource] = true;
        self.schedule.busy_ps[resource] = self.schedule.busy_ps[resource].saturating_add(busy_ps);
        if image == 0 {
            self.schedule.first_image_ps[job] = (now, end);
        }
        self.events.push(Reverse((end, Happening::Released { resource })));
        self.events.push(Reverse((end.saturating_add(latency_ps), Happening::Done { image, job })));
        self.satisfy(image, job, true, now);
    }

    /// Counts down what waits for `job`, by its start (`streaming`) or its end.
    fn satisfy(&mut self, image: usize, job: usize, streaming: bool, now: u64) {
        for d in self.dependents[job].iter().filter(|d| d.streaming == streaming) {
            let open = &mut self.waiting[image][d.job];
            *open -= 1;
            if *open == 0 {
                self.events.push(Reverse((now, Happening::Ready { image, job: d.job })));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(resource: usize, busy_ps: u64, after: &[(usize, bool)]) -> Job {
        let after = after.iter().map(|&(job, streaming)| Dependency { job, streaming }).collect();
        Job { resource, busy_ps, latency_ps: 0, after }
    }

    #[test]
    fn a_chain_pipelines_over_its_slowest_resource() {
        let jobs = [job(0, 10, &[]), job(1, 30, &[(0, false)]), job(2, 5, &[(1, false)])];
        let s = simulate(&jobs, 3, 4, 4);
        assert_eq!(s.finished_ps, [45, 75, 105, 135]);
        assert_eq!(s.busy_ps, [40, 120, 20]);
        assert_eq!(simulate(&jobs, 3, 4, 1).finished_ps, [45, 90, 135, 180]);
    }

    #[test]
    fn streaming_layers_overlap_but_end_in_order() {
        let jobs = [job(0, 100, &[]), job(1, 10, &[(0, true)]), job(2, 50, &[(1, true)])];
        let s = simulate(&jobs, 3, 1, 1);
        assert_eq!(s.first_image_ps, [(0, 100), (0, 100), (0, 100)]);
        assert_eq!(s.makespan_ps(), 100);
    }

    #[test]
    fn latency_delays_the_reader_but_not_the_resource() {
        let mut jobs = [job(0, 10, &[]), job(1, 1, &[(0, false)])];
        jobs[0].latency_ps = 100;
        assert_eq!(simulate(&jobs, 2, 2, 2).finished_ps, [111, 121]);
    }

    #[test]
    fn one_resource_serves_the_earliest_image_first() {
        let jobs = [job(0, 10, &[]), job(0, 10, &[(0, false)])];
        assert_eq!(simulate(&jobs, 1, 3, 3).finished_ps, [20, 40, 60]);
    }
}
