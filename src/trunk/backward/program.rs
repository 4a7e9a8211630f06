//! A prepared trunk run backward: which steps work, what they keep, and how errors go through them.

use super::errors::Errors;
use super::format::{Events, Origin, StepContext};
use super::linear::{self, Factors, Linear};
use super::mask;
use super::moves::{Crop, Part, Shrink, Untranspose};
use super::norm::{NormGrads, Normed};
use super::packed::{Packed, write};
use super::product::{self, Transposed};
use super::scale::{self, Given, Slope};
use super::slopes::Slopes;
use super::tape::{Kept, KeptForm, KeptMap, Tape};
use super::windows::{self, Average, Maximum};
use crate::graph::gradient::Gradients;
use crate::graph::{EdgeId, Graph, NodeId};
use crate::op::product::Join;
use crate::op::upsample::Between;
use crate::op::{Counts, Op, Registers};
use crate::quant::error_code::GradFormat;
use crate::quant::{Clamp, QuantParams};
use crate::tensor::{Shape, Tensor};
use crate::trunk::fast::Kernels;
use crate::trunk::fast::backward::PackedGrad;
use crate::trunk::work::Work;
use crate::trunk::{Map, TrunkError, TrunkProgram, TrunkStep};
use crate::units::Macs;
use rayon::prelude::*;

/// The backward pass of a [`TrunkProgram`] for errors of one format. It holds no registers: every call is
/// given the program, whose registers may have been loaded in between.
#[derive(Clone, Debug)]
pub struct BackwardProgram {
    format: GradFormat,
    steps: Vec<Option<Role>>,
}

/// What a step does in the backward pass.
#[derive(Clone, Debug)]
struct Role {
    /// Which of its inputs have an error, and how all of them are coded.
    inputs: Vec<bool>,
    quants: Vec<QuantParams>,
    /// Whether its join has one.
    join: bool,
    /// The bounds behind which errors do not pass.
    clamp: Option<Clamp>,
    slopes: Option<Slopes>,
    /// The batch norm in its registers, if that trains.
    norm: Option<NodeId>,
    /// Whether its gains do, whose gradients need the codes that it made.
    gains_train: bool,
    /// A layer's weights, transposed, where the fast kernels take it.
    packed: Option<Box<PackedGrad>>,
}

impl Role {
    /// The maps whose codes it needs again.
    fn codes<'a>(&'a self, step: &'a TrunkStep) -> impl Iterator<Item = EdgeId> + 'a {
        let operand = |i: usize| matches!(step.work, Work::Mul(_)) && self.inputs[1 - i];
        let sloped = |_: usize| self.slopes.as_ref().is_some_and(|s| s.classes.is_none());
        let inputs = step.inputs.iter().enumerate().filter(move |&(i, _)| operand(i) || sloped(i)).map(|(_, &e)| e);
        inputs.chain(self.norm.filter(|_| self.gains_train).map(|_| step.output))
    }
}

/// What a step sends back.
#[derive(Clone, Debug)]
pub struct BackwardOut {
    /// The errors of its inputs that have one, in their order; one map may come twice.
    pub inputs: Vec<(EdgeId, Errors)>,
    pub join: Option<(EdgeId, Errors)>,
    pub norm: Option<NormGrads>,
    /// Of the whole batch.
    pub macs: Macs,
    pub events: Events,
}

impl BackwardProgram {
    /// Finds what every step does, and packs the weights of the layers that `kernels` take. Refuses steps
    /// that have no gradient, and batch norms that train but are folded into weights.
    pub fn new(
        graph: &Graph,
        program: &TrunkProgram,
        gradients: &Gradients,
        format: GradFormat,
        kernels: Kernels,
    ) -> Result<Self, TrunkError> {
        let role = |step: &TrunkStep| -> Result<Option<Role>, TrunkError> {
            let mut role = role(graph, program, gradients, step)?;
            role.packed = role.inputs[0].then(|| packed_weights(step, format, kernels)).flatten();
            Ok(Some(role))
        };
        let roles = program.steps.iter().map(|step| if gradients.has(step.output) { role(step) } else { Ok(None) });
        Ok(Self { format, steps: roles.collect::<Result<_, _>>()? })
    }

    /// How many layers run on fast kernels.
    pub fn fast_layers(&self) -> usize {
        self.steps.iter().flatten().filter(|role| role.packed.is_some()).count()
    }

    /// The steps that work backward, by their number in the program, last first.
    pub fn steps(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.steps.len()).rev().filter(|&i| self.steps[i].is_some())
    }

    /// Whether the forward pass must make this map, because a step that works backward reads or makes it: what
    /// it keeps is computed from both.
    pub fn needs(&self, program: &TrunkProgram, edge: EdgeId) -> bool {
        let mut works = program.steps.iter().zip(&self.steps).filter(|(_, role)| role.is_some()).map(|(step, _)| step);
        works.any(|step| step.output == edge || step.inputs.contains(&edge))
    }

    /// What every image makes the trunk keep.
    pub fn kept(&self, program: &TrunkProgram) -> Vec<KeptMap> {
        let mut kept: Vec<KeptMap> = Vec::new();
        for (step, role) in program.steps.iter().zip(&self.steps) {
            let Some(role) = role else { continue };
            let elements = step.output_shape.elements() as u64;
            let mut keep = |edge, form, elements, bits| {
                let map = KeptMap { edge, form, elements, bits };
                if form != KeptForm::Codes || !kept.contains(&map) {
                    kept.push(map);
                }
            };
            if role.clamp.is_some() {
                keep(step.output, KeptForm::Mask, elements, 1);
            }
            match (&step.work, &role.slopes) {
                (Work::MaxPool(op, _), _) => {
                    keep(step.output, KeptForm::Numbers, elements, windows::position_bits(op) as u64);
                }
                (_, Some(slopes)) if slopes.classes.is_some() => {
                    keep(step.output, KeptForm::Numbers, elements, slopes.bits as u64);
                }
                _ => {}
            }
            for edge in role.codes(step) {
                keep(edge, KeptForm::Codes, shape_of(step, edge).elements() as u64, 8);
            }
        }
        kept
    }

    /// An empty tape for a batch.
    pub fn tape(&self, batch: usize) -> Tape {
        Tape::new(batch, self.steps.len())
    }

    /// Keeps what the backward pass needs of a step that has just run: its inputs, its output, and what
    /// it counted on them.
    pub fn record(&self, program: &TrunkProgram, step: usize, ran: Ran<'_>, tape: &mut Tape) {
        self.record_cut(program, step, ran, &[], tape);
    }

    /// The same for a step that told which of its codes were cut off, as [`TrunkStep::run_cutting`] does: none is
    /// computed again.
    pub fn record_cut(&self, program: &TrunkProgram, step: usize, ran: Ran<'_>, cut: &[u8], tape: &mut Tape) {
        let (number, step) = (step, &program.steps[step]);
        let Some(role) = &self.steps[number] else { return };
        assert_eq!(ran.output.batch, tape.batch, "a tape is of one batch");
        let join = ran.join.map(|values| Join { values, shift: step.join_shift });
        let mask = role.clamp.map(|clamp| match cut {
            [] => mask::mask(step, clamp, ran.inputs, join, ran.output, ran.counts),
            _ => mask::told(clamp, ran.output, cut),
        });
        let numbers = match (&step.work, &role.slopes) {
            (Work::MaxPool(op, _), _) => Some(windows::first_maxima(op, ran.inputs[0], step.output_shape)),
            (_, Some(Slopes { classes: Some(classes), bits, .. })) => Some(packed(classes, *bits, ran.inputs[0])),
            _ => None,
        };
        tape.steps[number] = Kept { mask, numbers };
        for edge in role.codes(step) {
            let input = step.inputs.iter().position(|&input| input == edge);
            let map = input.map_or(ran.output, |i| ran.inputs[i]);
            tape.maps.entry(edge).or_insert_with(|| map.codes.to_vec());
        }
    }

    /// The errors that a step sends back for the error of its output.
    pub fn run(
        &self,
        program: &TrunkProgram,
        step: usize,
        tape: &Tape,
        error: &Errors,
        context: &StepContext<'_>,
    ) -> BackwardOut {
        let role = self.steps[step].as_ref().expect("only steps with an error run backward");
        assert_eq!(context.format.format, self.format, "a backward program is made for one format");
        let (number, step) = (step, &program.steps[step]);
        assert_eq!((error.batch(), error.shape()), (tape.batch, step.output_shape), "the error of '{}'", step.name);
        let running = Running { number, step, role, tape, kept: &tape.steps[number], error, context };
        running.run()
    }

    /// The sum of two errors of a map, the second being that of its reader number `ordinal`.
    pub fn add(
        &self,
        edge: EdgeId,
        ordinal: usize,
        errors: [&Errors; 2],
        context: &StepContext<'_>,
    ) -> (Errors, Events) {
        errors[0].add(errors[1], context, Origin::Sum { edge, ordinal })
    }
}

/// A step that has just run.
#[derive(Clone, Copy)]
pub struct Ran<'a> {
    pub inputs: &'a [Map<'a>],
    pub join: Option<&'a Tensor<i16>>,
    pub output: Map<'a>,
    pub counts: Counts,
}

fn shape_of(step: &TrunkStep, edge: EdgeId) -> Shape {
    let input = step.inputs.iter().position(|&input| input == edge);
    input.map_or(step.output_shape, |i| step.input_shapes[i])
}

/// What a step does, its output having an error.
fn role(graph: &Graph, program: &TrunkProgram, gradients: &Gradients, step: &TrunkStep) -> Result<Role, TrunkError> {
    let head = graph.node(step.nodes[0]);
    let quant = |edge: EdgeId| {
        let why = || "has no quantisation parameters".into();
        graph.edge(edge).quant.ok_or_else(|| TrunkError::Edge { edge: graph.edge(edge).name.clone(), why: why() })
    };
    let quants = step.inputs.iter().map(|&e| quant(e)).collect::<Result<Vec<_>, _>>()?;
    let slopes = match &step.work {
        Work::Softmax(_) => {
            return Err(TrunkError::node(head, "has no gradient on the trunk; place it on the adapter device"));
        }
        Work::Table(table, _) => {
            let clamp = step.nodes[1..].iter().find_map(|&n| match &graph.node(n).op {
                Op::Activation(a) => a.code_clamp(&step.output_quant),
                _ => None,
            });
            Some(Slopes::new(&head.op, clamp, table, &quants[0], &step.output_quant, &program.profile))
        }
        _ => None,
    };
    let trains = |id: NodeId| graph.node(id).params.iter().any(|&p| graph.param(p).trainable);
    let norms = || step.nodes.iter().copied().filter(|&n| matches!(graph.node(n).op, Op::BatchNorm(_)));
    if let (Some(folded), None) = (norms().find(|&n| trains(n)), step.norm) {
        let why = format!("trains, but arithmetic profile {} folds it into weights", program.profile);
        return Err(TrunkError::node(graph.node(folded), why));
    }
    Ok(Role {
        inputs: step.inputs.iter().map(|&e| gradients.has(e)).collect(),
        quants,
        join: step.join.is_some_and(|e| gradients.has(e)),
        clamp: mask::clamp(&step.work),
        slopes,
        norm: step.norm.filter(|&n| trains(n)),
        gains_train: step.norm.is_some_and(|n| graph.param(graph.node(n).params[0]).trainable),
        packed: None,
    })
}

fn packed_weights(step: &TrunkStep, format: GradFormat, kernels: Kernels) -> Option<Box<PackedGrad>> {
    let weights = step.weights.as_ref()?;
    let packed = match &step.work {
        Work::Conv2d(conv, _) => product::pack(conv, step.input_shapes[0], weights, format, kernels),
        Work::Linear(op, _) => product::pack(&op.as_conv2d(), Shape::vector(op.inputs), weights, format, kernels),
        _ => None,
    };
    packed.map(Box::new)
}

/// The classes of a map's codes.
fn packed(classes: &[u32], bits: usize, x: Map<'_>) -> Packed {
    let mut packed = Packed::zeros(bits, x.batch, x.shape.elements());
    let (bits, images) = packed.images_mut();
    let images: Vec<(usize, &mut [u8])> = images.enumerate().collect();
    images.into_par_iter().for_each(|(n, data)| {
        write(bits, data, x.image(n).iter().map(|&q| classes[(i32::from(q) + 128) as usize]));
    });
    packed
}

/// A step while it runs backward.
struct Running<'a> {
    number: usize,
    step: &'a TrunkStep,
    role: &'a Role,
    tape: &'a Tape,
    kept: &'a Kept,
    error: &'a Errors,
    context: &'a StepContext<'a>,
}

impl Running<'_> {
    fn run(&self) -> BackwardOut {
        let mut events = Events::default();
        let mut inputs = Vec::new();
        for (i, &edge) in self.step.inputs.iter().enumerate() {
            if self.role.inputs[i] {
                let (error, happened) = self.input(i);
                events.merge(&happened);
                inputs.push((edge, error));
            }
        }
        let join = self.step.join.filter(|_| self.role.join).map(|edge| {
            let (factors, origin) = (Factors::new(self.join_gains()), Origin::Join { step: self.number });
            let (error, happened) = scale::channels(&factors, self.error, self.mask(), self.context, origin);
            events.merge(&happened);
            (edge, error)
        });
        let macs = match inputs.is_empty() {
            true => Macs(0),
            false => Macs(self.step.macs.0 * self.error.batch() as u64),
        };
        BackwardOut { inputs, join, norm: self.norm(), macs, events }
    }

    fn mask(&self) -> Option<&Packed> {
        self.kept.mask.as_ref()
    }

    fn codes(&self, edge: EdgeId) -> &[i8] {
        self.tape.maps.get(&edge).expect("the tape has recorded this step")
    }

    /// The error for input `i`.
    fn input(&self, i: usize) -> (Errors, Events) {
        let (to, output) = (self.step.input_shapes[i], self.step.output_shape);
        let numbers = || self.kept.numbers.as_ref().expect("the tape has recorded this step");
        match &self.step.work {
            Work::Conv2d(conv, _) => self.product(conv, to, to),
            Work::Linear(op, _) => self.product(&op.as_conv2d(), Shape::vector(op.inputs), to),
            Work::BatchNorm(p) => {
                let gains = gains(&p.registers, self.step.output_quant, |c| {
                    f64::from(self.role.quants[0].scale) / f64::from(p.factors[c])
                });
                let origin = Origin::Input { step: self.number, input: i };
                scale::channels(&Factors::new(gains), self.error, self.mask(), self.context, origin)
            }
            // Both operands' units are the output's.
            Work::Add(_) => self.as_it_is(to),
            Work::Mul(_) => {
                let shapes = [self.step.input_shapes[0], self.step.input_shapes[1]];
                let factors = scale::reals(&self.role.quants[1 - i]);
                let other = self.codes(self.step.inputs[1 - i]);
                self.through(&scale::Product { shapes, operand: i, other, factors }, i)
            }
            Work::AvgPool(op, ..) => self.through(&Average::new(*op, to, output), i),
            Work::MaxPool(op, _) => self.through(&Maximum { pool: *op, input: to, output, first: numbers() }, i),
            Work::Mean(_) => self.through(&windows::mean(to, output), i),
            Work::Pad(op, _) => self.moved(&Crop { pad: *op, input: to, output }, to),
            Work::Transpose(op) => self.moved(&Untranspose { op: *op, input: to, output }, to),
            Work::Upsample(op, _) => {
                let shrink = Shrink { op: *op, input: to, output };
                if op.between == Between::Zeros { self.moved(&shrink, to) } else { self.through(&shrink, i) }
            }
            Work::Concat(_) => {
                let first = self.step.input_shapes[..i].iter().map(|s| s.c).sum();
                self.moved(&Part { first, channels: to.c, of: output.c }, to)
            }
            Work::Reshape(_) => self.as_it_is(to),
            Work::Table(..) => {
                let slopes = self.role.slopes.as_ref().expect("a table has slopes");
                let given = match slopes.classes {
                    Some(_) => Given::Classes(numbers()),
                    None => Given::Codes(self.codes(self.step.inputs[0])),
                };
                self.through(&Slope { given, factors: &slopes.factors }, i)
            }
            Work::Softmax(_) => unreachable!("a softmax on the trunk has no role"),
        }
    }

    fn through(&self, linear: &impl Linear, input: usize) -> (Errors, Events) {
        let origin = Origin::Input { step: self.number, input };
        let to = self.step.input_shapes[input];
        linear::transpose(linear, self.error, self.mask(), to, self.context, origin)
    }

    fn moved(&self, linear: &impl Linear, to: Shape) -> (Errors, Events) {
        (linear::moved(self.error, self.mask(), to, linear), Events::default())
    }

    /// The error where it passes, under the shape `to`.
    fn as_it_is(&self, to: Shape) -> (Errors, Events) {
        let error = match linear::passed(self.error, self.mask()) {
            Errors::Values(values) => Errors::Values(Tensor { shape: to, ..values }),
            Errors::Codes { mantissas, exponents } => {
                Errors::Codes { mantissas: Tensor { shape: to, ..mantissas }, exponents }
            }
        };
        (error, Events::default())
    }

    fn product(&self, conv: &crate::op::Conv2d, input: Shape, to: Shape) -> (Errors, Events) {
        let registers = self.step.registers().expect("a layer has registers");
        let weights = self.step.weights.as_ref().expect("a layer has weights");
        let gains = gains(registers, self.step.output_quant, |_| f64::from(self.role.quants[0].scale));
        let packed = self.role.packed.as_deref();
        let transposed = Transposed { conv, input, weights, factors: Factors::new(gains), packed };
        let origin = Origin::Input { step: self.number, input: 0 };
        transposed.run(self.error, self.mask(), to, self.context, origin)
    }

    /// Per channel: the real error of what an adapter adds, for an error of 1.
    fn join_gains(&self) -> Vec<f32> {
        let registers = self.step.registers().expect("only layers are joined");
        let weights = self.step.weights.as_ref().expect("only layers are joined");
        let unit = |c: usize| f64::from(self.role.quants[0].scale) * f64::from(weights.scale(c));
        gains(registers, self.step.output_quant, unit)
    }

    fn norm(&self) -> Option<NormGrads> {
        let (node, mask) = self.role.norm.zip(self.mask())?;
        let loadable = self.step.loadable.as_ref()?;
        let registers = self.step.registers()?;
        let normed = Normed {
            node,
            gamma: &loadable.gamma,
            beta: &loadable.beta,
            constant: registers.multipliers.iter().map(|m| m.mantissa == 0).collect(),
            codes: self.role.gains_train.then(|| self.codes(self.step.output)),
            quant: self.step.output_quant,
        };
        Some(normed.gradients(self.error, mask))
    }
}

/// Per channel: what a unit of the accumulator is in the output, over what it is worth before. Registers
/// know nothing finer, so this is the derivative of what the chip computes.
fn gains(registers: &Registers, y: QuantParams, unit: impl Fn(usize) -> f64) -> Vec<f32> {
    let gain = |(c, m): (usize, &crate::quant::Multiplier)| match m.mantissa {
        0 => 0.0,
        _ => (f64::from(y.scale) * m.to_f64() / unit(c)) as f32,
    };
    registers.multipliers.iter().enumerate().map(gain).collect()
}
