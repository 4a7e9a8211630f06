//! The trunk in a training step: it runs forward, keeping what its backward pass needs, and then
//! carries errors back to the earliest adapter.

use super::RunError;
use super::lesson::Lesson;
use super::rerun::Rerun;
use super::trunk_side::TrunkSide;
use super::worker::Side;
use crate::graph::{EdgeId, NodeId};
use crate::ledger::{DataEvent, Event, Place};
use crate::plan::program::Action;
use crate::plan::tap::Tap;
use crate::trunk::backward::{BackwardProgram, Errors, Events, NormGrads, Tape};
use crate::trunk::{Moments, TrunkProgram};
use crate::units::{Direction, Phase};
use std::collections::{BTreeMap, HashMap};

/// A [`TrunkSide`] that goes on with the backward pass.
pub struct TrunkTraining<'a> {
    forward: TrunkSide<'a>,
    program: &'a TrunkProgram,
    backward: &'a BackwardProgram,
    lesson: Lesson<'a>,
    rerun: Option<&'a Rerun>,
    taps: &'a [Tap],
    bounds: &'a [usize],
    pool: &'a rayon::ThreadPool,
    actions: Vec<Action>,
    /// Passes of the forward side; steps beyond them are backward ones.
    passes: usize,
    /// The steps that work backward, last first.
    steps: Vec<usize>,
    tapes: HashMap<usize, Tape>,
    /// The errors that have come so far for each map, and how many there were.
    errors: HashMap<(usize, EdgeId), (Errors, usize)>,
    pub events: Events,
    /// Gradients of gamma and beta of the registers, added up image after image.
    pub norms: BTreeMap<NodeId, [Vec<f32>; 2]>,
    /// Bytes that all micro-batches kept.
    pub kept_bytes: u64,
}

/// Backward steps between their taps: a map's error arrives before the step that made the map, and
/// leaves for an adapter once every step that reads it has added its part.
fn backward_actions(program: &TrunkProgram, steps: &[usize], taps: &[Tap], passes: usize) -> Vec<Action> {
    let find = |edge: EdgeId, direction: Direction| {
        taps.iter().position(|t| {
            t.phase == Phase::Backward
                && t.direction == direction
                && t.crossing.as_ref().is_some_and(|c| c.edge == edge)
        })
    };
    let reads = |step: usize, edge: EdgeId| {
        let step = &program.steps[step];
        step.join == Some(edge) || step.inputs.contains(&edge)
    };
    let mut actions = vec![];
    for (i, &step) in steps.iter().enumerate() {
        actions.extend(find(program.steps[step].output, Direction::TapIn).map(Action::Receive));
        actions.push(Action::Step(passes + i));
        let mut sent: Vec<EdgeId> = vec![];
        for edge in program.steps[step].inputs.iter().copied().chain(program.steps[step].join) {
            let is_last = steps[i + 1..].iter().all(|&later| !reads(later, edge));
            if is_last && !sent.contains(&edge) {
                sent.push(edge);
                actions.extend(find(edge, Direction::TapOut).map(Action::Send));
            }
        }
    }
    actions
}

impl<'a> TrunkTraining<'a> {
    pub fn new(
        forward: TrunkSide<'a>,
        program: &'a TrunkProgram,
        backward: &'a BackwardProgram,
        taps: &'a [Tap],
        bounds: &'a [usize],
        pool: &'a rayon::ThreadPool,
        lesson: Lesson<'a>,
    ) -> Self {
        let mut actions = forward.actions().to_vec();
        let passes = actions.iter().filter(|a| matches!(a, Action::Step(_))).count();
        let steps: Vec<usize> = backward.steps().collect();
        actions.extend(backward_actions(program, &steps, taps, passes));
        let (errors, tapes, events, norms) = (HashMap::new(), HashMap::new(), Events::default(), BTreeMap::new());
        Self {
            forward,
            program,
            backward,
            lesson,
            rerun: None,
            taps,
            bounds,
            pool,
            actions,
            passes,
            steps,
            tapes,
            errors,
            events,
            norms,
            kept_bytes: 0,
        }
    }

    /// The same, running the trunk again instead of keeping what its backward pass needs.
    pub fn running_again(mut self, rerun: Option<&'a Rerun>) -> Self {
        self.forward = self.forward.running_again(rerun);
        self.rerun = rerun;
        self
    }

    /// The sums of the accumulators that were measured.
    pub fn take_moments(&mut self) -> BTreeMap<NodeId, Moments> {
        std::mem::take(&mut self.forward.moments)
    }

    pub fn ledger(&self) -> &crate::ledger::Ledger {
        &self.forward.ledger
    }

    fn batch(&self, micro: usize) -> usize {
        self.bounds[micro + 1] - self.bounds[micro]
    }

    /// Adds an error to what has come for a map so far.
    fn add(&mut self, micro: usize, edge: EdgeId, error: Errors) {
        let context = self.lesson.context(self.bounds[micro], self.batch(micro));
        let sum = match self.errors.remove(&(micro, edge)) {
            None => (error, 1),
            Some((sum, ordinal)) => {
                let add = || self.backward.add(edge, ordinal, [&sum, &error], &context);
                let (sum, events) = self.pool.install(add);
                self.events.merge(&events);
                (sum, ordinal + 1)
            }
        };
        self.errors.insert((micro, edge), sum);
    }

    fn step_backward(&mut self, micro: usize, index: usize) {
        let step = self.steps[index];
        let output = self.program.steps[step].output;
        let (error, _) = self.errors.remove(&(micro, output)).expect("every reader of the map sent its error");
        let context = self.lesson.context(self.bounds[micro], self.batch(micro));
        let tape = &self.tapes[&micro];
        let run = || self.backward.run(self.program, step, tape, &error, &context);
        let out = self.pool.install(run);
        self.events.merge(&out.events);
        let place = Place::Node(self.program.steps[step].nodes[0]);
        self.forward.ledger.add(Phase::Backward, place, Event::Macs, out.macs.0);
        self.forward.ledger.add_data(Phase::Backward, place, DataEvent::Saturations, out.events.saturations);
        for (edge, error) in out.inputs.into_iter().chain(out.join) {
            self.add(micro, edge, error);
        }
        if let Some(norm) = out.norm {
            self.add_norm(norm);
        }
        if index + 1 == self.steps.len() {
            self.tapes.remove(&micro);
        }
    }

    /// Before its backward pass: runs the trunk again, where that is instead of keeping.
    fn run_again(&mut self, micro: usize) -> Result<(), RunError> {
        let Some(rerun) = self.rerun.filter(|_| !self.tapes.contains_key(&micro)) else { return Ok(()) };
        let start = self.forward.take_start(micro);
        self.kept_bytes += rerun.held_b(&start);
        let batch = self.batch(micro);
        let (tape, did) = self.pool.install(|| rerun.run(self.program, self.backward, &start, batch))?;
        for (node, counts) in did {
            self.forward.ledger.add(Phase::Backward, Place::Node(node), Event::Macs, counts.macs.0);
        }
        self.tapes.insert(micro, tape);
        Ok(())
    }

    /// Adds a batch norm's gradients, image after image.
    fn add_norm(&mut self, norm: NormGrads) {
        let sums =
            self.norms.entry(norm.node).or_insert_with(|| [&norm.gamma, &norm.beta].map(|g| vec![0.0; g.shape.c]));
        for (sum, parts) in sums.iter_mut().zip([norm.gamma, norm.beta]) {
            for image in parts.data.chunks_exact(sum.len()) {
                sum.iter_mut().zip(image).for_each(|(sum, part)| *sum += part);
            }
        }
    }
}

impl Side for TrunkTraining<'_> {
    fn actions(&self) -> &[Action] {
        &self.actions
    }

    fn images(&self, micro: usize) -> usize {
        self.batch(micro)
    }

    fn begin(&mut self, micro: usize) -> Result<(), RunError> {
        self.forward.begin(micro)
    }

    fn import(&mut self, micro: usize, tap: usize, payload: Vec<u8>) -> Result<(), RunError> {
        let crossed = &self.taps[tap];
        if crossed.phase == Phase::Forward {
            return self.forward.import(micro, tap, payload);
        }
        let crossing = crossed.crossing.as_ref().expect("an error belongs to a crossing");
        let (edge, grid) = (crossing.edge, crossing.grid);
        let format = self.lesson.format.format;
        let mut error = Errors::from_payload(format, self.batch(micro), crossed.shape, &payload);
        if grid != (1, 1) {
            error = error.spread(self.forward.shape(edge), grid);
        }
        self.add(micro, edge, error);
        Ok(())
    }

    fn step(&mut self, micro: usize, step: usize) -> Result<(), RunError> {
        if step < self.passes {
            return self.forward.step(micro, step);
        }
        if let Some(tape) = self.forward.take_tape(micro) {
            self.kept_bytes += tape.bytes();
            self.tapes.insert(micro, tape);
        }
        self.run_again(micro)?;
        self.step_backward(micro, step - self.passes);
        Ok(())
    }

    fn export(&mut self, micro: usize, tap: usize) -> Result<Vec<u8>, RunError> {
        if self.taps[tap].phase == Phase::Forward {
            return self.forward.export(micro, tap);
        }
        let edge = self.taps[tap].crossing.as_ref().expect("an error belongs to a crossing").edge;
        let (error, _) = self.errors.remove(&(micro, edge)).expect("the error of a tap-in is known by now");
        Ok(error.payload(self.lesson.format.format))
    }

    fn finish(&mut self, micro: usize) -> Result<(), RunError> {
        self.forward.finish(micro)
    }
}
