//! The adapter device as one side of the bus.

use super::RunError;
use super::lesson::Lesson;
use super::worker::Side;
use crate::device::Device;
use crate::graph::{EdgeId, Graph};
use crate::kernel::{KernelCall, codes};
use crate::ledger::{DataEvent, Event, Ledger, Place};
use crate::plan::program::{Action, Learning, Program};
use crate::plan::tap::{Tap, VALUE_BITS};
use crate::quant::boundary::{BoundaryCounts, count_uncodable};
use crate::quant::error_code::GradFormat;
use crate::tensor::Shape;
use crate::trunk::backward::{Errors, Events, Origin};
use crate::units::{Direction, HardwareDomain, Phase};
use std::collections::HashMap;

/// Runs a [`Program`] on a device that holds its buffers, and counts what it runs.
pub struct AdapterSide<'a> {
    graph: &'a Graph,
    /// By micro-batch: the same buffers, lowered for its images or more.
    programs: Vec<&'a Program>,
    taps: &'a [Tap],
    device: &'a mut dyn Device,
    slots: usize,
    /// Images in each micro-batch.
    batches: &'a [usize],
    pool: &'a rayon::ThreadPool,
    lesson: Option<Lesson<'a>>,
    /// Of a training step: what coding its errors asked for.
    pub events: Events,
    /// Of a training step: the words of every micro-batch's loss.
    pub losses: Vec<Vec<u32>>,
    pub ledger: Ledger,
    /// The graph's output, image after image, if it is made here.
    pub outputs: Vec<Vec<f32>>,
    /// Every code sent to the trunk, by micro-batch and tap, when asked for.
    pub sent: Option<HashMap<(usize, usize), Sent>>,
}

/// What was sent to the trunk at a tap, kept for a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    bits: u32,
    payload: Vec<u8>,
}

impl Sent {
    pub fn codes(&self) -> u64 {
        (self.payload.len() * 8) as u64 / u64::from(self.bits)
    }

    /// How many codes another device sent differently.
    pub fn differing(&self, other: &Sent) -> u64 {
        let bytes = (self.bits / 8) as usize;
        let pairs = self.payload.chunks(bytes).zip(other.payload.chunks(bytes));
        pairs.filter(|(a, b)| a != b).count() as u64
    }
}

impl<'a> AdapterSide<'a> {
    /// A run of micro-batches on a device that is prepared for `slots` of them.
    pub fn new(
        graph: &'a Graph,
        programs: Vec<&'a Program>,
        taps: &'a [Tap],
        device: &'a mut dyn Device,
        slots: usize,
        batches: &'a [usize],
        pool: &'a rayon::ThreadPool,
    ) -> Self {
        let (outputs, losses) = (vec![Vec::new(); batches.len()], vec![Vec::new(); batches.len()]);
        let (ledger, events, lesson, sent) = (Ledger::default(), Events::default(), None, None);
        Self { graph, programs, taps, device, slots, batches, pool, lesson, events, losses, ledger, outputs, sent }
    }

    /// The same, recording what enters the trunk.
    pub fn recording(mut self, record: bool) -> Self {
        self.sent = record.then(HashMap::new);
        self
    }

    /// The same as a training step.
    pub fn learning(mut self, lesson: Lesson<'a>) -> Self {
        self.lesson = Some(lesson);
        self
    }

    fn edge(&self, tap: usize) -> EdgeId {
        self.taps[tap].crossing.as_ref().expect("a tap of a run crosses").edge
    }

    /// The first image of a micro-batch.
    fn first(&self, micro: usize) -> usize {
        self.batches[..micro].iter().sum()
    }

    fn learned(&self, micro: usize) -> Option<&'a Learning> {
        self.programs[micro].learning.as_ref()
    }

    /// Counts the values of a tap-in that have no code: beyond the range, or no number.
    fn count_uncodable(&mut self, micro: usize, tap: usize, count: usize) -> Result<(), RunError> {
        let Some(rounding) = &self.programs[micro].taps[tap].rounds else { return Ok(()) };
        let mut counts = BoundaryCounts::default();
        self.device.see(micro % self.slots, rounding.map, count, &mut |words| {
            counts = count_uncodable(bytemuck::cast_slice(words), &rounding.rules);
        })?;
        let place = Place::Tap(self.edge(tap), Direction::TapIn);
        self.ledger.add_data(Phase::Forward, place, DataEvent::Saturations, counts.saturations);
        self.ledger.add_data(Phase::Forward, place, DataEvent::NotANumber, counts.nans);
        Ok(())
    }

    /// A call for the images of a micro-batch: sums over the batch start with the first.
    fn fitted(&self, micro: usize, call: &KernelCall) -> KernelCall {
        let batch = self.batches[micro] as u32;
        let call = call.clone();
        let call = if self.programs[micro].batch == batch { call } else { call.with_batch(batch) };
        let call = if micro == 0 { call.starting() } else { call };
        self.lesson.iter().fold(call, |call, lesson| call.at_step(lesson.step))
    }

    fn run(&mut self, micro: usize, calls: &[KernelCall]) -> Result<(), RunError> {
        if calls.is_empty() {
            return Ok(());
        }
        let calls: Vec<_> = calls.iter().map(|c| self.fitted(micro, c)).collect();
        let (device, slot) = (&mut self.device, micro % self.slots);
        Ok(self.pool.install(|| device.run(slot, &calls))?)
    }
}

impl Side for AdapterSide<'_> {
    fn actions(&self) -> &[Action] {
        self.programs.first().map_or(&[], |p| &p.actions)
    }

    fn images(&self, micro: usize) -> usize {
        self.batches[micro]
    }

    fn begin(&mut self, micro: usize) -> Result<(), RunError> {
        if let (Some(lesson), Some(learning)) = (&self.lesson, self.learned(micro)) {
            let labels = &lesson.labels[self.first(micro)..][..self.batches[micro]];
            self.device.write(micro % self.slots, learning.labels, labels)?;
            if let Some(images) = learning.images {
                let indices = &lesson.images[self.first(micro)..][..self.batches[micro]];
                self.device.write(micro % self.slots, images, indices)?;
            }
        }
        Ok(())
    }

    fn import(&mut self, micro: usize, tap: usize, payload: Vec<u8>) -> Result<(), RunError> {
        let buffer = &self.programs[micro].taps[tap];
        let words = match buffer.error {
            Some(format) => {
                let shape = Shape::vector(buffer.elements);
                let errors = Errors::from_payload(format, self.batches[micro], shape, &payload);
                bytemuck::cast_vec(errors.to_values().data)
            }
            None => words_of(&payload),
        };
        self.device.write(micro % self.slots, buffer.words, &words)?;
        self.run(micro, buffer.convert.as_slice())
    }

    fn step(&mut self, micro: usize, step: usize) -> Result<(), RunError> {
        let step = &self.programs[micro].steps[step];
        self.run(micro, &step.calls)?;
        if let Some(node) = step.node {
            let macs = step.calls.iter().map(|c| self.fitted(micro, c).macs()).sum();
            self.ledger.add(step.phase, Place::Node(node), Event::Macs, macs);
        }
        Ok(())
    }

    fn export(&mut self, micro: usize, tap: usize) -> Result<Vec<u8>, RunError> {
        let buffer = &self.programs[micro].taps[tap];
        self.run(micro, buffer.convert.as_slice())?;
        let (count, bits, values) = (self.batches[micro] * buffer.elements, buffer.bits, buffer.values);
        let is_value = values || buffer.error.is_some();
        let length = if is_value { count } else { codes::words(count, bits) };
        let mut payload = Vec::new();
        if let (Some(lesson), Some(bits)) = (&self.lesson, buffer.error.and_then(GradFormat::mantissas)) {
            let context = lesson.context(self.first(micro), self.batches[micro]);
            let maps = (self.batches[micro], Shape::vector(buffer.elements));
            let (origin, pool, events) = (Origin::Entry { edge: self.edge(tap) }, self.pool, &mut self.events);
            self.device.see(micro % self.slots, buffer.words, length, &mut |words| {
                let values = bytemuck::cast_slice(words);
                let (errors, happened) = pool.install(|| Errors::encode_in(bits, values, maps, &context, origin));
                events.merge(&happened);
                payload = errors.payload(context.format.format);
            })?;
            return Ok(payload);
        }
        let bytes = (count * bits as usize).div_ceil(8);
        self.device.see(micro % self.slots, buffer.words, length, &mut |words| {
            payload = match values && bits < VALUE_BITS {
                true => words.iter().flat_map(|&w| half::f16::from_f32(f32::from_bits(w)).to_le_bytes()).collect(),
                false => bytemuck::cast_slice(words)[..bytes].to_vec(),
            };
        })?;
        if buffer.error.is_some() {
            return Ok(payload);
        }
        self.count_uncodable(micro, tap, count)?;
        if let Some(sent) = &mut self.sent {
            sent.insert((micro, tap), Sent { bits, payload: payload.clone() });
        }
        Ok(payload)
    }

    fn finish(&mut self, micro: usize) -> Result<(), RunError> {
        let slot = micro % self.slots;
        if let Some(learning) = self.learned(micro) {
            let words = self.batches[micro] * Learning::LOSS_WORDS;
            self.losses[micro] = self.device.read(slot, learning.losses, words)?;
            return Ok(());
        }
        let output = self.graph.output;
        if self.graph.home(output) == HardwareDomain::Adapter {
            let elements = self.batches[micro] * self.graph.shape(output).elements();
            let words = self.device.read(slot, self.programs[micro].maps[&output], elements)?;
            self.outputs[micro] = bytemuck::cast_vec(words);
        }
        Ok(())
    }
}

/// Little-endian words of a payload; the unused end of the last one is 0.
fn words_of(payload: &[u8]) -> Vec<u32> {
    let (whole, rest) = payload.as_chunks::<4>();
    let mut words: Vec<u32> = whole.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        words.push(u32::from_le_bytes(last));
    }
    words
}
