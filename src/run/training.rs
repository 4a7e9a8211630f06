//! Training: steps of forward, loss, backward and update over the same two threads and counted bus
//! as a run, on a device that keeps what trains from step to step.
//!
//! Micro-batches of a step are worked on in order at every point of the program, so that sums over
//! the batch have the same bits however many are under way. The trunk's weights never change; its
//! registers do where the batch norm mode says so, and then only between steps.

use super::adapter_side::AdapterSide;
use super::lesson::Lesson;
use super::rerun::{Recompute, Rerun};
use super::trunk_side::{Source, TrunkSide};
use super::trunk_training::TrunkTraining;
use super::{Prepared, RunError, bounds, bus, fitting_micro_batch, registers, tap_ins, thread_pool};
use crate::device::Device;
use crate::graph::gradient::Gradients;
use crate::graph::{Graph, NodeId, ParamId};
use crate::kernel::BufferId;
use crate::ledger::{Event, Ledger, Place};
use crate::plan::backward;
use crate::plan::kept::{Kept, MapsAs, kept};
use crate::plan::program::{
    Learning, Optimiser, Program, Statistics, Training, Update, WeightDecay, held_bytes, lower_training,
};
use crate::plan::tally::tally;
use crate::plan::tap::Tap;
use crate::quant::error_code::GradFormat;
use crate::scheme::BatchNormMode;
use crate::trunk::backward::{BackwardProgram, ErrorFormat, Exponents};
use crate::trunk::fast::Kernels;
use crate::trunk::{Moments, TrunkProgram};
use crate::units::{Direction, HardwareDomain, Phase};
use std::collections::{BTreeMap, HashMap};

mod state;

pub use state::State;

/// What stays the same over all steps.
#[derive(Clone, Debug)]
pub struct TrainSettings {
    /// Images handled at a time, fewer where more would not fit.
    pub micro_batch: usize,
    pub slots: usize,
    /// Worker threads; 0 for one per core. Never changes a result.
    pub threads: usize,
    pub errors: ErrorFormat,
    pub optimiser: Optimiser,
    pub decay: WeightDecay,
    pub clip: Option<f32>,
    pub smoothing: f32,
    /// Changes memory and time, never a result.
    pub recompute: Recompute,
}

/// What training holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TrainingMemory {
    pub micro_batch: usize,
    pub slots: usize,
    /// From forward to backward, of one image.
    pub adapter_kept_b: u64,
    pub trunk_kept_b: u64,
    /// All maps and errors of the micro-batches in flight.
    pub adapter_maps_b: u64,
    /// Parameters, gradients and the optimiser's buffers.
    pub adapter_state_b: u64,
    /// The largest buffer, and the largest that the device binds.
    pub largest_buffer_b: u64,
    pub binding_limit_b: u64,
}

/// What one step gave.
#[derive(Clone, Debug)]
pub struct StepOutcome {
    /// Sum over the images.
    pub loss: f64,
    pub hits: u64,
    pub observed: Ledger,
    /// Norm of all gradients before it was clipped, where it is.
    pub norm: Option<f32>,
}

/// A placed graph in training.
pub struct Trainer<'a> {
    /// The graph up to its logits.
    graph: Graph,
    prepared: Prepared<'a>,
    /// The trunk with its registers as they are now.
    trunk: TrunkProgram,
    backward: BackwardProgram,
    gradients: Gradients,
    kept: Vec<Kept>,
    /// Forward, then backward.
    taps: Vec<Tap>,
    /// What crosses once per step.
    updates: Vec<Tap>,
    /// The trunk's batch norms whose statistics it measures.
    measured: Vec<NodeId>,
    device: Box<dyn Device>,
    settings: TrainSettings,
    micro_batch: usize,
    /// By images of a micro-batch and of a step.
    programs: HashMap<(usize, usize), Program>,
    pool: rayon::ThreadPool,
    decay: Vec<f32>,
    pub step: u64,
    /// Exponents that the last step asked for.
    pub exponents: Exponents,
    frozen: [u8; 32],
    /// What trains, while another task has trunk and adapter device.
    resting: Option<Vec<State>>,
    /// What the trunk runs again instead of keeping.
    rerun: Option<Rerun>,
}

/// Where the logits are: before the softmax that an imported head may end with.
pub fn logits(graph: &Graph) -> Graph {
    use crate::op::Op;
    let mut graph = graph.clone();
    while let Some(id) = graph.edge(graph.output).producer {
        let node = graph.node(id);
        let ends = matches!(node.op, Op::Softmax(_)) && node.domain == HardwareDomain::Adapter;
        if !ends {
            break;
        }
        graph.output = node.inputs[0];
    }
    graph
}

impl<'a> Trainer<'a> {
    pub fn new(prepared: Prepared<'a>, device: Box<dyn Device>, settings: TrainSettings) -> Result<Self, RunError> {
        let graph = logits(&prepared.placed.graph);
        let gradients = Gradients::of(&graph)?;
        if !gradients.has(graph.output) {
            return Err(RunError::NothingTrains { scheme: prepared.placed.scheme.to_string() });
        }
        let trunk = prepared.trunk.clone();
        let backward = BackwardProgram::new(&graph, &trunk, &gradients, settings.errors.format, Kernels::Auto)?;
        let kept = kept(&graph, &gradients, MapsAs::Codes)?;
        let mut taps: Vec<Tap> = prepared.taps.iter().filter(|t| t.phase == Phase::Forward).cloned().collect();
        let of_errors = backward::taps(prepared.placed, &gradients, settings.errors.format);
        let (of_errors, updates) = of_errors.into_iter().partition(|t: &Tap| t.phase == Phase::Backward);
        taps.extend::<Vec<Tap>>(of_errors);
        let measured = backward::measured(prepared.placed, &gradients);
        let pool = thread_pool(settings.threads)?;
        let frozen = trunk.weights_checksum();
        let rerun = (settings.recompute == Recompute::Masks).then(|| Rerun::new(&graph, &trunk, &backward));
        let mut trainer = Self {
            graph,
            prepared,
            trunk,
            backward,
            gradients,
            kept,
            taps,
            updates,
            measured,
            micro_batch: 1,
            programs: HashMap::new(),
            pool,
            decay: vec![],
            step: 0,
            exponents: Exponents::default(),
            frozen,
            resting: None,
            rerun,
            device,
            settings,
        };
        let one = trainer.lower(1, 1)?;
        let trunk_bytes = trainer.trunk.steps.iter().map(|s| s.output_elements().0).sum();
        let limit = trainer.device.max_binding_bytes();
        let most = fitting_micro_batch(&one, trunk_bytes, limit, trainer.settings.slots);
        trainer.micro_batch = trainer.settings.micro_batch.clamp(1, most);
        let program = trainer.lower(trainer.micro_batch, trainer.micro_batch)?;
        trainer.device.prepare(&program.buffers, trainer.settings.slots)?;
        let learning = program.learning.as_ref().expect("a training program learns");
        trainer.decay = trainer.settings.decay.of(&trainer.graph, learning);
        trainer.programs.insert((trainer.micro_batch, trainer.micro_batch), program);
        Ok(trainer)
    }

    fn lower(&self, micro: usize, images: usize) -> Result<Program, RunError> {
        let statistics = match self.prepared.placed.batch_norm {
            BatchNormMode::Frozen => Statistics::Running,
            _ => Statistics::Batch,
        };
        let training = Training {
            gradients: &self.gradients,
            kept: &self.kept,
            statistics,
            measured: &self.measured,
            images,
            smoothing: self.settings.smoothing,
            format: self.settings.errors.format,
            moments: self.settings.optimiser.moments(),
        };
        Ok(lower_training(&self.graph, micro, &self.taps, &tap_ins(&self.prepared), &training)?)
    }

    /// Lowers the micro-batch sizes of a step that were not met before.
    fn programs(&mut self, batches: &[usize], images: usize) -> Result<(), RunError> {
        for &micro in batches {
            if !self.programs.contains_key(&(micro, images)) {
                let program = self.lower(micro, images)?;
                self.check_held(&program)?;
                self.programs.insert((micro, images), program);
            }
        }
        Ok(())
    }

    /// Trains on `images.len()` images, whose input codes come from `source`.
    pub fn step(
        &mut self,
        source: &Source,
        images: &[u32],
        labels: &[u32],
        rate: f64,
    ) -> Result<StepOutcome, RunError> {
        assert_eq!(images.len(), labels.len(), "a label for every image");
        let n = images.len();
        let bounds = bounds(n, self.micro_batch);
        let batches: Vec<usize> = bounds.windows(2).map(|w| w[1] - w[0]).collect();
        self.programs(&batches, n)?;
        let delayed = std::mem::take(&mut self.exponents);
        let step = u32::try_from(self.step + 1).unwrap_or(u32::MAX);
        let lesson = Lesson { labels, images, step, format: self.settings.errors, delayed: &delayed };
        let forward = self.taps.iter().take_while(|t| t.phase == Phase::Forward).count();
        let (graph, pool, slots) = (&self.graph, &self.pool, self.settings.slots);
        let keeps = self.rerun.is_none().then_some(&self.backward);
        let side = TrunkSide::new(graph, &self.trunk, &self.taps[..forward], source, &bounds, pool, keeps);
        let side = side.measuring(&self.measured);
        let mut trunk = TrunkTraining::new(side, &self.trunk, &self.backward, &self.taps, &bounds, pool, lesson)
            .running_again(self.rerun.as_ref());
        let programs: Vec<&Program> = batches.iter().map(|&micro| &self.programs[&(micro, n)]).collect();
        let device = self.device.as_mut();
        let mut adapter = AdapterSide::new(graph, programs, &self.taps, device, slots, &batches, pool).learning(lesson);
        let mut observed = bus::run(&mut trunk, &mut adapter, &self.taps, batches.len(), slots)?;
        observed.merge(trunk.ledger());
        observed.merge(&adapter.ledger);
        let losses: Vec<u32> = adapter.losses.concat();
        let mut events = std::mem::take(&mut adapter.events);
        events.merge(&trunk.events);
        let (norms, moments) = (std::mem::take(&mut trunk.norms), trunk.take_moments());
        let kept_bytes = trunk.kept_bytes;
        same_bytes("trunk", self.trunk_kept_b() * n as u64, kept_bytes)?;
        self.exponents = events.exponents;
        self.step += 1;
        observed.merge(&self.take_norm_gradients(norms)?);
        observed.merge(&self.take_moments(&moments, n)?);
        let norm = self.update(rate)?;
        observed.merge(&self.load_registers(&self.updated(), Phase::Update)?);
        self.check(&observed, n)?;
        let (loss, hits) = Learning::sum(&losses);
        Ok(StepOutcome { loss, hits, observed, norm })
    }

    /// What the registers' sums are to the optimiser; they cross once per step.
    fn take_norm_gradients(&mut self, norms: BTreeMap<NodeId, [Vec<f32>; 2]>) -> Result<Ledger, RunError> {
        let trained = self.learning().trained.clone();
        let mut crossed = 0;
        for (node, sums) in norms {
            let params = self.graph.node(node).params[..2].to_vec();
            for (param, sum) in params.into_iter().zip(sums) {
                if let Some(t) = trained.iter().find(|t| t.param == param) {
                    self.write(t.gradient, &sum)?;
                    crossed += sum.len() as u64;
                }
            }
        }
        Ok(registers::crossed(Phase::Update, crossed, 4 * crossed))
    }

    /// Moves the running statistics of the trunk's batch norms towards those that it measured.
    fn take_moments(&mut self, moments: &BTreeMap<NodeId, Moments>, images: usize) -> Result<Ledger, RunError> {
        let (measured, mut crossed) = (self.learning().measured.clone(), 0);
        for (node, sums) in moments {
            let (Some(measured), Some((units, pixels))) =
                (measured.iter().find(|m| m.node == *node), self.trunk.measure(*node))
            else {
                continue;
            };
            let values = images * pixels;
            self.write(measured.moments(), &sums.statistics(values, &units).concat())?;
            let follow = measured.follow(values);
            self.pool.install(|| self.device.run(0, &[follow]))?;
            crossed += 2 * sums.sums.len() as u64;
        }
        Ok(registers::crossed(Phase::Update, crossed, 8 * crossed))
    }

    /// Writes the trunk's registers of these batch norms as their parameters and statistics are now.
    fn load_registers(&mut self, nodes: &[NodeId], phase: Phase) -> Result<Ledger, RunError> {
        let Self { prepared, graph, trunk, device, programs, micro_batch, .. } = self;
        let learning = programs[&(*micro_batch, *micro_batch)].learning.as_ref();
        let held = held(graph, learning.expect("a training program learns"));
        let value = |param: ParamId| match held.get(&param) {
            Some(&(buffer, from, len)) => Ok(read(device.as_mut(), buffer, from + len)?.split_off(from)),
            None => Ok(graph.param(param).value.to_f32()),
        };
        let channels = registers::write(graph, trunk, nodes, value)?;
        Ok(registers::loaded(phase, channels, prepared.placed.loads_shifts_only()))
    }

    /// The batch norms in registers that a step updates.
    fn updated(&self) -> Vec<NodeId> {
        let loads = self.prepared.placed.batch_norm.loads_registers();
        let trained = &self.learning().trained;
        let trains = |node: &NodeId| {
            // Gains need not train, shifts always do.
            let shift = self.graph.node(*node).params[1];
            trained.iter().any(|t| t.param == shift)
        };
        registers::nodes(&self.trunk).into_iter().filter(|node| loads && trains(node)).collect()
    }

    fn learning(&self) -> &Learning {
        let program = &self.programs[&(self.micro_batch, self.micro_batch)];
        program.learning.as_ref().expect("a training program learns")
    }

    fn update(&mut self, rate: f64) -> Result<Option<f32>, RunError> {
        let (optimiser, clip) = (self.settings.optimiser, self.settings.clip);
        let update = Update { optimiser, rate, decay: &self.decay, clip, step: self.step };
        let learning = self.learning().clone();
        let calls = update.calls(&learning);
        self.pool.install(|| self.device.run(0, &calls))?;
        let norm = clip.map(|_| self.device.read(0, learning.norm, 2)).transpose()?;
        Ok(norm.map(|words| f32::from_bits(words[1])))
    }

    /// Predicted == observed, and what is held is what the plan says.
    fn check(&self, observed: &Ledger, images: usize) -> Result<(), RunError> {
        let one = self.predicted();
        let mut whole = Ledger::default();
        whole.merge_times(&one, Phase::Forward, images as u64);
        whole.merge_times(&one, Phase::Backward, images as u64);
        whole.merge_times(&one, Phase::Update, 1);
        let differences = Ledger::differences(&whole, observed);
        if !differences.is_empty() {
            return Err(RunError::NotAsPredicted(differences));
        }
        Ok(())
    }

    /// The adapter device keeps between forward and backward what the plan says, to the byte.
    fn check_held(&self, program: &Program) -> Result<(), RunError> {
        let here = self.kept.iter().filter(|k| k.side == HardwareDomain::Adapter);
        // Buffers are made of whole words.
        let words = |k: &Kept| (k.elements * k.bits * u64::from(program.batch)).div_ceil(32);
        let (planned_b, held_b) = (here.map(words).sum::<u64>() * 4, held_bytes(program));
        same_bytes("adapter device", planned_b, held_b)
    }

    /// What one image makes a step do, and what a step does once.
    pub fn predicted(&self) -> Ledger {
        let forward = self.taps.iter().take_while(|t| t.phase == Phase::Forward).count();
        let (forward, errors) = self.taps.split_at(forward);
        let mut one = tally(&self.graph, forward);
        let once: Vec<Tap> = errors.iter().chain(&self.updates).cloned().collect();
        backward::tally(&self.graph, &self.gradients, &once, &mut one);
        for (node, macs) in self.again() {
            one.add(Phase::Backward, Place::Node(node), Event::Macs, macs);
        }
        one
    }

    /// Refuses to go on with a trunk whose weights are not those that training began with.
    pub fn check_frozen(&self) -> Result<(), RunError> {
        if self.trunk.weights_checksum() == self.frozen { Ok(()) } else { Err(RunError::TrunkChanged) }
    }

    pub fn device(&self) -> &crate::device::DeviceInfo {
        self.device.info()
    }

    /// The graph up to its logits, with parameters as they were before training.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The trunk with its registers as they are now.
    pub fn trunk(&self) -> &TrunkProgram {
        &self.trunk
    }

    /// Forward, then backward.
    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// How errors are carried.
    pub fn format(&self) -> GradFormat {
        self.settings.errors.format
    }

    pub fn gradients(&self) -> &Gradients {
        &self.gradients
    }

    /// Images that are really handled at a time.
    pub fn micro_batch(&self) -> usize {
        self.micro_batch
    }

    /// Payload bytes of a step of `images` images, out of the trunk and into it.
    pub fn bytes(&self, images: usize) -> [u64; 2] {
        [Direction::TapOut, Direction::TapIn].map(|direction| {
            let of = |taps: &[Tap]| taps.iter().filter(|t| t.direction == direction).map(|t| t.bytes).sum::<u64>();
            of(&self.taps) * images as u64 + of(&self.updates)
        })
    }

    /// What the trunk keeps of one image from forward to backward.
    fn trunk_kept_b(&self) -> u64 {
        match &self.rerun {
            Some(rerun) => rerun.kept_b(),
            None => self.backward.kept(&self.trunk).iter().map(|k| k.bytes()).sum(),
        }
    }

    /// The layers that the trunk runs again in the backward pass, with the MACs of one image.
    pub fn again(&self) -> Vec<(NodeId, u64)> {
        self.rerun.iter().flat_map(|rerun| rerun.macs(&self.trunk)).collect()
    }

    /// What training holds, by formula.
    pub fn memory(&self) -> TrainingMemory {
        // Of the largest micro-batch, for which the buffers were made.
        let program = &self.programs[&(self.micro_batch, self.micro_batch)];
        let bytes = |shared: bool| -> u64 {
            let of_kind = program.buffers.iter().filter(|b| b.shared().is_some() == shared);
            of_kind.map(|b| 4 * b.words as u64).sum()
        };
        let kept = |side| {
            let of_side: Vec<Kept> = self.kept.iter().filter(|k| k.side == side).cloned().collect();
            crate::plan::kept::bytes(&of_side)
        };
        TrainingMemory {
            micro_batch: self.micro_batch,
            slots: self.settings.slots,
            adapter_kept_b: kept(HardwareDomain::Adapter),
            trunk_kept_b: self.trunk_kept_b(),
            adapter_maps_b: bytes(false) * self.settings.slots as u64,
            adapter_state_b: bytes(true),
            largest_buffer_b: program.buffers.iter().map(|b| 4 * b.words as u64).max().unwrap_or(0),
            binding_limit_b: self.device.max_binding_bytes(),
        }
    }

    fn read(&mut self, buffer: BufferId, words: usize) -> Result<Vec<f32>, RunError> {
        read(self.device.as_mut(), buffer, words)
    }

    fn write(&mut self, buffer: BufferId, values: &[f32]) -> Result<(), RunError> {
        Ok(self.device.write(0, buffer, bytemuck::cast_slice(values))?)
    }
}

/// What a side was to keep, and what it kept.
fn same_bytes(side: &'static str, planned_b: u64, held_b: u64) -> Result<(), RunError> {
    if planned_b == held_b { Ok(()) } else { Err(RunError::HeldNotAsPlanned { side, planned_b, held_b }) }
}

fn read(device: &mut dyn Device, buffer: BufferId, words: usize) -> Result<Vec<f32>, RunError> {
    Ok(bytemuck::cast_vec(device.read(0, buffer, words)?))
}

/// Where the device holds each parameter of a batch norm: a buffer, the first value in it and their number.
fn held(graph: &Graph, learning: &Learning) -> HashMap<ParamId, (BufferId, usize, usize)> {
    let trained = learning.trained.iter().map(|t| (t.param, (t.value, 0, t.elements)));
    let running = learning.running.iter().flat_map(|&(node, buffer)| {
        let [mean, variance] = [2, 3].map(|i| graph.node(node).params[i]);
        let channels = graph.param(mean).value.len();
        [(mean, (buffer, 0, channels)), (variance, (buffer, channels, channels))]
    });
    trained.chain(running).collect()
}
