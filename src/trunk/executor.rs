//! Runs a whole program without tap-ins, in one buffer that is planned and allocated once.

use super::memory::{Map, Memory};
use super::{Pass, TrunkError, TrunkProgram, TrunkStep};
use crate::graph::EdgeId;
use crate::op::Counts;
use crate::tensor::Tensor;
use bytemuck::{Pod, Zeroable};

/// What the buffer is allocated in, so that it starts on a cache line.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([i8; Memory::ALIGNMENT]);

/// A program with the memory to run it on batches of one size. A run allocates nothing where all
/// steps are fast, once each thread has run its largest task.
pub struct Executor<'a> {
    program: &'a TrunkProgram,
    batch: usize,
    /// Images that go through all passes together.
    group: usize,
    passes: Vec<Pass>,
    memory: Memory,
    buffer: Vec<Line>,
    counts: Vec<Counts>,
    /// The maps that can be read after a run, of the whole batch.
    kept: Vec<(EdgeId, Vec<i8>)>,
}

/// What the maps of a group may take: most of a core's own cache, so that a pass finds there what the
/// one before it made. Groups change no code and no count.
const GROUP_BYTES: usize = 768 << 10;

impl<'a> Executor<'a> {
    /// Plans runs of `batch` images, after which the maps of `kept` can be read.
    pub fn new(program: &'a TrunkProgram, batch: usize, kept: &[EdgeId]) -> Result<Self, TrunkError> {
        program.check_alone()?;
        let passes = program.passes(|edge| kept.contains(&edge));
        let (group, memory) = grouped(program, &passes, batch, kept);
        let buffer = vec![Line([0; Memory::ALIGNMENT]); memory.elements().div_ceil(Memory::ALIGNMENT)];
        let counts = vec![Counts::default(); program.steps.len()];
        let whole = |&edge: &EdgeId| Some((edge, vec![0; memory.place(edge)?.len() / group.max(1) * batch]));
        let kept = kept.iter().filter_map(whole).collect();
        Ok(Self { program, batch, group, passes, memory, buffer, counts, kept })
    }

    /// Runs the program on the codes of the batch. Returns what each step of the program counted.
    pub fn run(&mut self, input: &Tensor<i8>) -> Result<&[Counts], TrunkError> {
        self.program.check_input(input)?;
        assert_eq!(input.batch, self.batch, "an executor is made for one batch size");
        self.counts.fill(Counts::default());
        let elements = self.group * input.shape.elements();
        for (i, codes) in input.data.chunks(elements.max(1)).enumerate() {
            self.run_group(codes);
            let buffer: &[i8] = bytemuck::cast_slice(&self.buffer);
            for (edge, whole) in &mut self.kept {
                let made = &buffer[self.memory.place(*edge).expect("a kept map has a place")];
                whole[i * made.len()..][..made.len()].copy_from_slice(made);
            }
        }
        Ok(&self.counts)
    }

    /// All passes on the codes of one group.
    fn run_group(&mut self, input: &[i8]) {
        let buffer: &mut [i8] = bytemuck::cast_slice_mut(&mut self.buffer);
        for pass in &self.passes {
            let place = self.memory.place(self.program.steps[pass.last()].output).expect("a pass makes its map");
            let (before, rest) = buffer.split_at_mut(place.start);
            let (out, behind) = rest.split_at_mut(place.len());
            let find = |edge: EdgeId| match self.memory.place(edge) {
                Some(from) if from.start < place.start => &before[from],
                Some(from) => &behind[from.start - place.end..from.end - place.end],
                None => input,
            };
            run_pass(self.program, pass, self.group, find, out, &mut self.counts);
        }
    }

    /// A kept map of the last run, image after image.
    pub fn map(&self, edge: EdgeId) -> Option<&[i8]> {
        self.kept.iter().find(|(kept, _)| *kept == edge).map(|(_, codes)| &codes[..])
    }
}

/// The largest part of a batch whose maps stay in cache, one image at least, and its memory.
fn grouped(program: &TrunkProgram, passes: &[Pass], batch: usize, kept: &[EdgeId]) -> (usize, Memory) {
    let parts = (1..=batch).rev().filter(|group| batch.is_multiple_of(*group));
    let mut planned = parts.map(|group| (group, Memory::plan(program, passes, group, kept)));
    let fits = |(group, memory): &(usize, Memory)| *group == 1 || memory.elements() <= GROUP_BYTES;
    planned.find(fits).unwrap_or_else(|| (batch, Memory::plan(program, passes, batch, kept)))
}

/// Runs one pass; `find` gives the codes of a map.
fn run_pass<'m>(
    program: &TrunkProgram,
    pass: &Pass,
    batch: usize,
    find: impl Fn(EdgeId) -> &'m [i8],
    out: &mut [i8],
    counts: &mut [Counts],
) {
    let step = &program.steps[pass.step];
    with_maps(step, batch, &find, |maps| match pass.after {
        None => counts[pass.step] += step.run_into(maps, None, out),
        Some((add, operand)) => {
            let other = find(program.steps[add].inputs[1 - operand]);
            let [own, added] = step.run_before(&program.steps[add], maps, None, other, operand, out);
            counts[pass.step] += own;
            counts[add] += added;
        }
    });
}

/// Calls `run` with a step's inputs, which need no allocation unless they are many.
pub(super) fn with_maps<'m, R>(
    step: &TrunkStep,
    batch: usize,
    find: impl Fn(EdgeId) -> &'m [i8],
    run: impl FnOnce(&[Map<'m>]) -> R,
) -> R {
    const FEW: usize = 4;
    let map = |i: usize| Map::new(batch, step.input_shapes()[i], find(step.inputs[i]));
    let n = step.inputs.len();
    if n > FEW {
        return run(&(0..n).map(map).collect::<Vec<_>>());
    }
    let mut maps = [Map::default(); FEW];
    (0..n).for_each(|i| maps[i] = map(i));
    run(&maps[..n])
}
