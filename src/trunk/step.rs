//! One step of the trunk: a pure function of codes, with its static costs.

use super::Map;
use super::fast::{After, Fast, Kernels};
use super::registers::Loadable;
use super::work::Work;
use crate::graph::{EdgeId, NodeId};
use crate::op::product::Join;
use crate::op::{Counts, Registers};
use crate::quant::QuantParams;
use crate::quant::weights::WeightCodes;
use crate::tensor::{Shape, Tensor};
use crate::units::{Bytes, Elements, Macs};

#[derive(Clone, Debug)]
pub struct TrunkStep {
    /// The first node's name.
    pub name: String,
    /// The first node's operation.
    pub op: &'static str,
    /// The graph's nodes that this step is, in order.
    pub nodes: Vec<NodeId>,
    /// The maps that it reads as 8-bit codes, made by the trunk or tapped in.
    pub inputs: Vec<EdgeId>,
    /// The tap-in that it adds to its accumulators.
    pub join: Option<EdgeId>,
    /// The batch norm in its registers.
    pub norm: Option<NodeId>,
    pub output: EdgeId,
    pub output_quant: QuantParams,
    /// Biases that 32 bits could not hold and were cut.
    pub saturated_biases: usize,
    /// Channels whose output is a constant: gamma is zero, or next to it.
    pub constant_channels: usize,
    pub(super) input_shapes: Vec<Shape>,
    pub(super) output_shape: Shape,
    pub(super) macs: Macs,
    pub(super) weights: Option<WeightCodes>,
    pub(super) join_shift: u32,
    pub(super) work: Work,
    /// The same work on the fast kernels, where they give the same codes and counts.
    pub(super) fast: Option<Fast>,
    /// Those that were asked for.
    pub(super) kernels: Kernels,
    /// What its registers are computed from, if a batch norm is in them.
    pub(super) loadable: Option<Box<Loadable>>,
}

impl TrunkStep {
    /// Runs the step on a batch. `inputs` are those of `self.inputs`, in order; `join` holds the
    /// codes of `self.join` (8-bit codes too are held in 16 bits).
    pub fn run(&self, inputs: &[&Tensor<i8>], join: Option<&Tensor<i16>>) -> (Tensor<i8>, Counts) {
        let maps: Vec<Map<'_>> = inputs.iter().map(|&x| x.into()).collect();
        let join = self.checked(&maps, join);
        let Some(fast) = &self.fast else { return self.work.run(inputs, join) };
        let mut y = Tensor::zeros(inputs[0].batch, self.output_shape);
        let counts = fast.run_into(&self.work, &maps, join, &mut y.data);
        (y, counts)
    }

    /// [`TrunkStep::run`] over all of `out`, whatever that held before; without an allocation of the
    /// engine's own where the step is fast.
    pub fn run_into(&self, inputs: &[Map<'_>], join: Option<&Tensor<i16>>, out: &mut [i8]) -> Counts {
        let join = self.checked(inputs, join);
        if let Some(fast) = &self.fast {
            return fast.run_into(&self.work, inputs, join, out);
        }
        let inputs: Vec<Tensor<i8>> = inputs.iter().map(|x| x.to_tensor()).collect();
        let (y, counts) = self.work.run(&inputs.iter().collect::<Vec<_>>(), join);
        out.copy_from_slice(&y.data);
        counts
    }

    /// [`TrunkStep::run_into`] for a training step: `cut` becomes 1 for every code that its own range cut off and
    /// 0 for the others, or empty where the step's loops do not tell.
    pub fn run_cutting(
        &self,
        inputs: &[Map<'_>],
        join: Option<&Tensor<i16>>,
        out: &mut [i8],
        cut: &mut Vec<u8>,
    ) -> Counts {
        let checked = self.checked(inputs, join);
        let told = self.fast.as_ref().and_then(|fast| fast.run_cutting(&self.work, inputs, checked, out, cut));
        told.unwrap_or_else(|| {
            cut.clear();
            self.run_into(inputs, join, out)
        })
    }

    /// Whether [`TrunkStep::run_before`] can run this step and the addition `add` at once.
    pub fn fuses(&self, add: &TrunkStep) -> bool {
        matches!((&self.fast, &add.fast), (Some(Fast::Product(_)), Some(Fast::Sum(_))))
    }

    /// Runs this step and the addition `add`, whose operand number `operand` it makes, at once; `other`
    /// holds the codes of the other operand. Writes the sum's codes; returns the counts of both.
    pub fn run_before(
        &self,
        add: &TrunkStep,
        inputs: &[Map<'_>],
        join: Option<&Tensor<i16>>,
        other: &[i8],
        operand: usize,
        out: &mut [i8],
    ) -> [Counts; 2] {
        let (Some(fast), Some(Fast::Sum(sum))) = (&self.fast, &add.fast) else {
            unreachable!("only steps that fuse are run at once");
        };
        let join = self.checked(inputs, join);
        fast.run_before(&self.work, inputs, join, After { sum, other, operand }, out)
    }

    /// The join with its shift, once everything has the step's shapes.
    fn checked<'j>(&self, inputs: &[Map<'_>], join: Option<&'j Tensor<i16>>) -> Option<Join<'j>> {
        assert!(inputs.iter().map(|x| &x.shape).eq(&self.input_shapes), "the inputs of step '{}'", self.name);
        assert_eq!(join.map(|j| j.shape), self.join.map(|_| self.output_shape), "the join of step '{}'", self.name);
        let batch = inputs[0].batch;
        assert!(inputs.iter().all(|x| x.batch == batch) && join.is_none_or(|j| j.batch == batch), "one batch size");
        join.map(|values| Join { values, shift: self.join_shift })
    }

    /// Chooses the loops that run the step; its codes and counts stay what they are.
    pub(super) fn choose(&mut self, kernels: Kernels) {
        self.kernels = kernels;
        self.fast = Fast::new(&self.work, &self.input_shapes, self.weights.as_ref(), kernels);
        if let Some(codes) = &self.weights {
            self.work.keep_weights(self.fast.is_none().then_some(codes));
        }
    }

    /// Whether the step runs on a fast kernel.
    pub fn is_fast(&self) -> bool {
        self.fast.is_some()
    }

    /// Multiply-accumulates per image.
    pub fn macs(&self) -> Macs {
        self.macs
    }

    /// Bytes of weight codes.
    pub fn weight_bytes(&self) -> Bytes {
        Bytes(self.weights.as_ref().map_or(0, |w| w.codes.len() as u64))
    }

    /// Bytes of requantisation registers (mantissa, shift and bias per channel) and tables.
    pub fn register_bytes(&self) -> Bytes {
        Bytes(self.work.register_bytes())
    }

    /// Elements read per image, the join not included.
    pub fn input_elements(&self) -> Elements {
        Elements(self.input_shapes.iter().map(|s| s.elements() as u64).sum())
    }

    /// Elements written per image; a join brings as many.
    pub fn output_elements(&self) -> Elements {
        Elements(self.output_shape.elements() as u64)
    }

    pub fn input_shapes(&self) -> &[Shape] {
        &self.input_shapes
    }

    pub fn output_shape(&self) -> Shape {
        self.output_shape
    }

    /// The frozen weights, in the graph's order.
    pub fn weights(&self) -> Option<&WeightCodes> {
        self.weights.as_ref()
    }

    /// The loadable registers of a convolution, linear layer or batch norm.
    pub fn registers(&self) -> Option<&Registers> {
        self.work.registers()
    }
}
