//! The trunk as one side of the bus: its sequencer.

use super::RunError;
use super::rerun::{Held, Rerun};
use super::worker::Side;
use crate::graph::crossing::Crossing;
use crate::graph::{EdgeId, Graph, NodeId};
use crate::ledger::{DataEvent, Event, Ledger, Place};
use crate::op::Counts;
use crate::plan::program::Action;
use crate::plan::tap::{Tap, VALUE_BITS};
use crate::quant::boundary::{BoundaryCounts, Quantiser};
use crate::tensor::{Shape, Tensor};
use crate::trunk::backward::{BackwardProgram, Ran, Tape};
use crate::trunk::{JoinKind, Map, Moments, Pass, TrunkProgram};
use crate::units::{Direction, HardwareDomain, Phase};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Where the micro-batches come from: the input codes of images `from..to`.
pub type Source<'a> = dyn Fn(usize, usize) -> Result<Tensor<i8>, RunError> + Sync + 'a;

/// Runs a [`TrunkProgram`], and counts what it runs.
pub struct TrunkSide<'a> {
    graph: &'a Graph,
    program: &'a TrunkProgram,
    taps: &'a [Tap],
    passes: Vec<Pass>,
    actions: Vec<Action>,
    source: &'a Source<'a>,
    /// First image of each micro-batch, and the end of the last.
    bounds: &'a [usize],
    pool: &'a rayon::ThreadPool,
    /// How many actions still read each map of a micro-batch.
    uses: HashMap<EdgeId, usize>,
    held: HashMap<(usize, EdgeId), (Held, usize)>,
    /// The maps that passes make: only their buffers come back into use.
    made: HashSet<EdgeId>,
    /// Buffers of maps that nobody reads any more.
    spare: Vec<Vec<i8>>,
    /// In a training step: which codes of the last pass were cut off.
    cut: Vec<u8>,
    /// In a training step that keeps what its backward pass needs: what works backward, and what each micro-batch kept.
    backward: Option<&'a BackwardProgram>,
    tapes: HashMap<usize, Tape>,
    /// In a training step that runs the trunk again: from what, by micro-batch.
    rerun: Option<&'a Rerun>,
    starts: HashMap<usize, BTreeMap<EdgeId, Held>>,
    /// Batch norms whose accumulators are summed as they run, and the sums over all images.
    measured: &'a [NodeId],
    pub moments: BTreeMap<NodeId, Moments>,
    pub ledger: Ledger,
    /// The graph's output codes, if the trunk makes it.
    pub outputs: Vec<Vec<i8>>,
}

fn crossing(tap: &Tap) -> &Crossing {
    tap.crossing.as_ref().expect("a forward tap crosses")
}

/// What the trunk does for a micro-batch: tap-ins as they are needed, every pass in order,
/// tap-outs as soon as they are made.
fn actions(graph: &Graph, program: &TrunkProgram, passes: &[Pass], taps: &[Tap]) -> Vec<Action> {
    let find =
        |edge: EdgeId, direction| taps.iter().position(move |t| t.direction == direction && crossing(t).edge == edge);
    let mut actions: Vec<Action> = find(graph.input, Direction::TapOut).map(Action::Send).into_iter().collect();
    let mut received = vec![false; taps.len()];
    for (i, pass) in passes.iter().enumerate() {
        let join = program.steps[pass.step].join;
        for tap in pass.reads(program).chain(join).filter_map(|e| find(e, Direction::TapIn)) {
            if !std::mem::replace(&mut received[tap], true) {
                actions.push(Action::Receive(tap));
            }
        }
        actions.push(Action::Step(i));
        let output = program.steps[pass.last()].output;
        actions.extend(find(output, Direction::TapOut).map(Action::Send));
    }
    actions
}

impl<'a> TrunkSide<'a> {
    pub fn new(
        graph: &'a Graph,
        program: &'a TrunkProgram,
        taps: &'a [Tap],
        source: &'a Source<'a>,
        bounds: &'a [usize],
        pool: &'a rayon::ThreadPool,
        backward: Option<&'a BackwardProgram>,
    ) -> Self {
        let leaves = |edge| taps.iter().any(|t| t.direction == Direction::TapOut && crossing(t).edge == edge);
        let learns = |edge| backward.is_some_and(|b| b.needs(program, edge));
        let passes = program.passes(|edge| edge == graph.output || leaves(edge) || learns(edge));
        let actions = actions(graph, program, &passes, taps);
        let mut uses: HashMap<EdgeId, usize> = HashMap::new();
        for pass in &passes {
            for edge in pass.reads(program).chain(program.steps[pass.step].join) {
                *uses.entry(edge).or_default() += 1;
            }
        }
        for tap in taps.iter().filter(|t| t.direction == Direction::TapOut) {
            *uses.entry(crossing(tap).edge).or_default() += 1;
        }
        if graph.home(graph.output) == HardwareDomain::Trunk {
            *uses.entry(graph.output).or_default() += 1;
        }
        let outputs = vec![Vec::new(); bounds.len() - 1];
        let made = passes.iter().map(|pass| program.steps[pass.last()].output).collect();
        let (held, spare, ledger) = (HashMap::new(), Vec::new(), Ledger::default());
        Self {
            graph,
            program,
            taps,
            passes,
            actions,
            source,
            bounds,
            pool,
            uses,
            held,
            made,
            spare,
            cut: Vec::new(),
            backward,
            tapes: HashMap::new(),
            rerun: None,
            starts: HashMap::new(),
            measured: &[],
            moments: BTreeMap::new(),
            ledger,
            outputs,
        }
    }

    /// The same, keeping only what the trunk is run again from.
    pub fn running_again(mut self, rerun: Option<&'a Rerun>) -> Self {
        self.rerun = rerun;
        self
    }

    /// What a micro-batch kept to be run again from.
    pub fn take_start(&mut self, micro: usize) -> BTreeMap<EdgeId, Held> {
        self.starts.remove(&micro).unwrap_or_default()
    }

    /// The same, summing the accumulators of these batch norms.
    pub fn measuring(mut self, measured: &'a [NodeId]) -> Self {
        self.measured = measured;
        self
    }

    /// What a micro-batch kept for its backward pass.
    pub fn take_tape(&mut self, micro: usize) -> Option<Tape> {
        self.tapes.remove(&micro)
    }

    /// The shape of a map.
    pub fn shape(&self, edge: EdgeId) -> Shape {
        self.graph.shape(edge)
    }

    fn hold(&mut self, micro: usize, edge: EdgeId, map: Held) {
        if self.rerun.is_some_and(|rerun| rerun.starts_from(edge)) {
            let copy = match &map {
                Held::Codes(map) => Held::Codes(map.clone()),
                Held::Wide(map) => Held::Wide(map.clone()),
            };
            self.starts.entry(micro).or_default().insert(edge, copy);
        }
        if let Some(&uses) = self.uses.get(&edge) {
            self.held.insert((micro, edge), (map, uses));
        }
    }

    /// Gives up one use of a map; the last frees it.
    fn release(&mut self, micro: usize, edge: EdgeId) {
        let (_, uses) = self.held.get_mut(&(micro, edge)).expect("a held map");
        *uses -= 1;
        if *uses == 0
            && let Some((Held::Codes(map), _)) = self.held.remove(&(micro, edge))
            && self.made.contains(&edge)
        {
            self.spare.push(map.data);
        }
    }

    /// A buffer of that many codes, which hold anything.
    fn buffer(&mut self, elements: usize) -> Vec<i8> {
        match self.spare.iter().position(|spare| spare.len() == elements) {
            Some(i) => self.spare.swap_remove(i),
            None => vec![0; elements],
        }
    }

    fn codes(&self, micro: usize, edge: EdgeId) -> &Tensor<i8> {
        match &self.held[&(micro, edge)].0 {
            Held::Codes(map) => map,
            Held::Wide(_) => panic!("edge '{}' is held as accumulator codes", self.graph.edge(edge).name),
        }
    }

    /// Values that crossed as they are become codes here, by the rule that the adapter device
    /// follows where it does the rounding.
    fn round(&mut self, edge: EdgeId, batch: usize, shape: Shape, values: impl Iterator<Item = f32>) -> Held {
        let format = &self.program.tap_ins[&edge];
        let quantisers: Vec<Quantiser> =
            format.scales.iter().map(|&s| Quantiser::new(s, format.zero_point, format.bits)).collect();
        let mut counts = BoundaryCounts::default();
        let codes = values.enumerate().map(|(i, v)| quantisers[i % quantisers.len()].code(v, &mut counts) as i16);
        let codes: Vec<i16> = codes.collect();
        let place = Place::Tap(edge, Direction::TapIn);
        self.ledger.add_data(Phase::Forward, place, DataEvent::NotANumber, counts.nans);
        self.ledger.add_data(Phase::Forward, place, DataEvent::Saturations, counts.saturations);
        if format.join == JoinKind::AddAcc {
            Held::Wide(Tensor::from_vec(batch, shape, codes))
        } else {
            Held::Codes(Tensor::from_vec(batch, shape, codes.into_iter().map(|c| c as i8).collect()))
        }
    }

    fn count(&mut self, place: Place, counts: Counts) {
        self.ledger.add(Phase::Forward, place, Event::Macs, counts.macs.0);
        self.ledger.add_data(Phase::Forward, place, DataEvent::Saturations, counts.saturations);
        self.ledger.add_data(Phase::Forward, place, DataEvent::Overflows, counts.overflows);
    }

    fn sum(&mut self, norm: NodeId, images: &[Moments]) {
        for image in images {
            match self.moments.entry(norm) {
                Entry::Occupied(sums) => sums.into_mut().add(image),
                Entry::Vacant(none) => {
                    none.insert(image.clone());
                }
            }
        }
    }

    fn batch(&self, micro: usize) -> usize {
        self.bounds[micro + 1] - self.bounds[micro]
    }
}

impl Side for TrunkSide<'_> {
    fn actions(&self) -> &[Action] {
        &self.actions
    }

    fn images(&self, micro: usize) -> usize {
        self.batch(micro)
    }

    fn begin(&mut self, micro: usize) -> Result<(), RunError> {
        let input = (self.source)(self.bounds[micro], self.bounds[micro + 1])?;
        if let Some(backward) = self.backward {
            self.tapes.insert(micro, backward.tape(input.batch));
        }
        self.hold(micro, self.graph.input, Held::Codes(input));
        Ok(())
    }

    fn import(&mut self, micro: usize, tap: usize, payload: Vec<u8>) -> Result<(), RunError> {
        let tap = self.taps[tap].clone();
        let (batch, edge) = (self.batch(micro), crossing(&tap).edge);
        let joins = self.program.steps.iter().any(|s| s.join == Some(edge));
        let narrow = || payload.iter().map(|&b| b as i8);
        let single = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let half = |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f32();
        let map = match (joins, tap.bits) {
            (_, VALUE_BITS) if tap.values => self.round(edge, batch, tap.shape, payload.chunks_exact(4).map(single)),
            _ if tap.values => self.round(edge, batch, tap.shape, payload.chunks_exact(2).map(half)),
            (true, 8) => Held::Wide(Tensor::from_vec(batch, tap.shape, narrow().map(i16::from).collect())),
            (true, _) => {
                let wide = payload.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
                Held::Wide(Tensor::from_vec(batch, tap.shape, wide))
            }
            (false, _) => Held::Codes(Tensor::from_vec(batch, tap.shape, narrow().collect())),
        };
        self.hold(micro, edge, map);
        Ok(())
    }

    fn step(&mut self, micro: usize, pass: usize) -> Result<(), RunError> {
        let pass = self.passes[pass];
        let (step, last) = (&self.program.steps[pass.step], &self.program.steps[pass.last()]);
        let (batch, shape) = (self.batch(micro), last.output_shape());
        let mut out = self.buffer(batch * shape.elements());
        let mut tape = self.tapes.remove(&micro);
        let (learns, mut cut) = (self.backward.is_some(), std::mem::take(&mut self.cut));
        let inputs: Vec<Map<'_>> = step.inputs.iter().map(|&e| self.codes(micro, e).into()).collect();
        let join = step.join.map(|e| match &self.held[&(micro, e)].0 {
            Held::Wide(map) => map,
            Held::Codes(_) => panic!("a join is held as accumulator codes"),
        });
        let (counts, added) = self.pool.install(|| match pass.after {
            None if learns => (step.run_cutting(&inputs, join, &mut out, &mut cut), None),
            None => (step.run_into(&inputs, join, &mut out), None),
            Some((add, operand)) => {
                let add = &self.program.steps[add];
                let other = &self.codes(micro, add.inputs[1 - operand]).data;
                let [own, added] = step.run_before(add, &inputs, join, other, operand, &mut out);
                (own, Some(added))
            }
        });
        let measured = step.norm.filter(|norm| self.measured.contains(norm));
        let moments = measured.and_then(|norm| Some((norm, self.pool.install(|| step.moments(&inputs, join))?)));
        let out = Tensor::from_vec(batch, shape, out);
        // What backward needs of a map is made: no pass skips it.
        if let (Some(backward), Some(tape), None) = (self.backward, &mut tape, pass.after) {
            let ran = Ran { inputs: &inputs, join, output: (&out).into(), counts };
            self.pool.install(|| backward.record_cut(self.program, pass.step, ran, &cut, tape));
        }
        self.cut = cut;
        self.tapes.extend(tape.map(|tape| (micro, tape)));
        if let Some((norm, images)) = moments {
            self.sum(norm, &images);
        }
        self.count(Place::Node(step.nodes[0]), counts);
        if let Some(added) = added {
            self.count(Place::Node(last.nodes[0]), added);
        }
        for edge in pass.reads(self.program).chain(step.join) {
            self.release(micro, edge);
        }
        self.hold(micro, last.output, Held::Codes(out));
        Ok(())
    }

    fn export(&mut self, micro: usize, tap: usize) -> Result<Vec<u8>, RunError> {
        let crossing = crossing(&self.taps[tap]).clone();
        let map = self.codes(micro, crossing.edge);
        let payload = gather(map, crossing.grid);
        self.release(micro, crossing.edge);
        Ok(payload)
    }

    fn finish(&mut self, micro: usize) -> Result<(), RunError> {
        let output = self.graph.output;
        if self.graph.home(output) == HardwareDomain::Trunk {
            self.outputs[micro] = self.codes(micro, output).data.clone();
            self.release(micro, output);
        }
        Ok(())
    }
}

/// The codes on every `grid.0`-th row and `grid.1`-th column, as bytes.
fn gather(map: &Tensor<i8>, grid: (usize, usize)) -> Vec<u8> {
    if grid == (1, 1) {
        return bytemuck::cast_slice(&map.data).to_vec();
    }
    let shape = map.shape;
    let mut payload = Vec::new();
    for image in 0..map.batch {
        let codes = map.image(image);
        for y in (0..shape.h).step_by(grid.0) {
            for x in (0..shape.w).step_by(grid.1) {
                let at = (y * shape.w + x) * shape.c;
                payload.extend_from_slice(bytemuck::cast_slice(&codes[at..at + shape.c]));
            }
        }
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    #[test]
    fn gathering_keeps_the_grid() {
        let map = Tensor::from_vec(1, Shape::new(3, 3, 2), (0..18).collect::<Vec<i8>>());
        assert_eq!(gather(&map, (2, 2)), [0, 1, 4, 5, 12, 13, 16, 17]);
        assert_eq!(gather(&map, (1, 1)).len(), 18);
    }
}
