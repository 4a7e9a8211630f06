//! Evaluates a node whose inputs are all constants: shape arithmetic, weights that an exporter left
//! behind a Transpose or a DequantizeLinear, and whole graphs fed with constants.
//!
//! Plain loops over dimensions of any number, in ONNX's own layout; nothing here is fast. What a
//! node may compute is bounded by what the file holds ([`Budget`]), so that a few nodes cannot ask for
//! endless work. An operator that is not in [`OPERATORS`] is refused by name.

use super::importer::Step;
use super::proto;
use super::tensor::{self, Constant, Element, Values, elements};
use crate::model::Fault;
use std::rc::Rc;

mod elementwise;
mod moves;
mod products;
mod quantise;
mod reduce;

/// What the nodes of a file may still copy and compute.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Elements of constants that may still be read or made: many nodes may name one initialiser. An
    /// int8 code is one byte of the file and 8 here, a float 4 and 4.
    pub elements: usize,
    /// Products and sums that may still be formed while constants are folded.
    pub work: usize,
}

impl Budget {
    const WORK: usize = 1 << 28;
    /// Parameters that a file of any size may have: those of a map plus one value are spread by us.
    const FREE_ELEMENTS: usize = 1 << 18;
    /// A quantised file's weights are read, dequantised, and perhaps transposed; some weights are tied.
    const COPIES: usize = 4;

    /// Copying one initialiser a few times is legitimate; without end it is not.
    pub fn of_file(file: &proto::Graph) -> Self {
        let elements = tensor::held_elements(file).saturating_mul(Self::COPIES);
        Self { elements: elements.saturating_add(Self::FREE_ELEMENTS), work: Self::WORK }
    }

    pub fn take_elements(&mut self, step: &Step, elements: usize) -> Result<(), Fault> {
        let left = self.elements.checked_sub(elements);
        self.elements = left
            .ok_or_else(|| step.malformed("the nodes share constants until they hold 4 times the file's elements"))?;
        Ok(())
    }

    fn take_work(&mut self, step: &Step, work: usize) -> Result<(), Fault> {
        let why = "computes too much with constants; simplify the model first (onnxsim)";
        self.work = self.work.checked_sub(work).ok_or_else(|| step.unsupported(why))?;
        Ok(())
    }
}

/// A node and its constant inputs.
pub struct Fold<'s> {
    pub step: &'s Step<'s>,
    pub inputs: &'s [Option<Rc<Constant>>],
    pub budget: &'s mut Budget,
}

type Evaluate = fn(&mut Fold) -> Result<Constant, Fault>;

/// The operators that are evaluated, and how. Those of several outputs are in [`evaluate`].
const OPERATORS: &[(&str, Evaluate)] = &[
    ("Abs", |f| elementwise::unary(f, f32::abs)),
    ("Add", |f| elementwise::binary(f, |a, b| a + b, i64::checked_add)),
    ("AveragePool", reduce::average_pool),
    ("BatchNormalization", elementwise::batch_norm),
    ("Cast", elementwise::cast),
    ("Ceil", |f| elementwise::unary(f, f32::ceil)),
    ("Clip", elementwise::clip),
    ("Concat", moves::concat),
    ("ConstantOfShape", moves::constant_of_shape),
    ("Conv", products::conv),
    ("ConvInteger", products::conv_integer),
    ("DequantizeLinear", quantise::dequantize_linear),
    ("Div", |f| elementwise::binary(f, |a, b| a / b, i64::checked_div)),
    ("Dropout", moves::identity),
    ("Exp", |f| elementwise::unary(f, f32::exp)),
    ("Flatten", moves::flatten),
    ("Floor", |f| elementwise::unary(f, f32::floor)),
    ("Gather", moves::gather),
    ("Gemm", products::gemm),
    ("GlobalAveragePool", reduce::global_average_pool),
    ("HardSigmoid", elementwise::hard_sigmoid),
    ("HardSwish", |f| elementwise::unary(f, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0))),
    ("Identity", moves::identity),
    ("LeakyRelu", elementwise::leaky_relu),
    ("MatMul", products::matmul),
    ("MatMulInteger", products::matmul_integer),
    ("MaxPool", reduce::max_pool),
    ("Mul", |f| elementwise::binary(f, |a, b| a * b, i64::checked_mul)),
    ("Neg", |f| elementwise::unary(f, |x| -x)),
    ("QLinearConv", products::qlinear_conv),
    ("QLinearMatMul", products::qlinear_matmul),
    ("QuantizeLinear", quantise::quantize_linear),
    ("Reciprocal", |f| elementwise::unary(f, f32::recip)),
    ("ReduceMean", reduce::reduce_mean),
    ("Relu", |f| elementwise::unary(f, |x| x.max(0.0))),
    ("Reshape", moves::reshape),
    ("Shape", moves::shape),
    ("Sigmoid", |f| elementwise::unary(f, |x| 1.0 / (1.0 + (-x).exp()))),
    ("Slice", moves::slice),
    ("Sqrt", |f| elementwise::unary(f, f32::sqrt)),
    ("Squeeze", moves::squeeze),
    ("Sub", |f| elementwise::binary(f, |a, b| a - b, i64::checked_sub)),
    ("Tanh", |f| elementwise::unary(f, f32::tanh)),
    ("Transpose", moves::transpose),
    ("Unsqueeze", moves::unsqueeze),
];

/// The outputs of a node of constants, in order.
pub fn evaluate(step: &Step, inputs: &[Option<Rc<Constant>>], budget: &mut Budget) -> Result<Vec<Constant>, Fault> {
    let mut fold = Fold { step, inputs, budget };
    let name = step.node.op_type.as_str();
    if step.is_standard() && name == "DynamicQuantizeLinear" {
        return quantise::dynamic_quantize_linear(&mut fold);
    }
    match OPERATORS.iter().find(|(known, _)| step.is_standard() && *known == name) {
        Some((_, evaluate)) => Ok(vec![evaluate(&mut fold)?]),
        None => Err(step.unsupported(
            "computes with constants alone, which is not done for this operator; simplify the model first (onnxsim)",
        )),
    }
}

impl<'s> Fold<'s> {
    /// The input at `position`, if it is there.
    fn get(&self, position: usize) -> Option<&'s Constant> {
        self.inputs.get(position).and_then(Option::as_deref)
    }

    fn at(&self, position: usize) -> Result<&'s Constant, Fault> {
        self.get(position).ok_or_else(|| self.step.malformed(format!("has no input {position}")))
    }

    fn floats(&self, position: usize) -> Result<std::borrow::Cow<'s, [f32]>, Fault> {
        let refused = |refusal| self.step.refused(&format!("its input {position}"), refusal);
        self.at(position)?.floats().map_err(refused)
    }

    fn integers(&self, position: usize) -> Result<&'s [i64], Fault> {
        let refused = |refusal| self.step.refused(&format!("its input {position}"), refusal);
        self.at(position)?.integers().map_err(refused)
    }

    /// The list that was an attribute in old opsets and became an input.
    fn list(&self, name: &str, position: usize) -> Result<Option<Vec<i64>>, Fault> {
        match self.step.attribute(name) {
            Some(attribute) => Ok(Some(attribute.ints.clone())),
            None if self.get(position).is_some() => Ok(Some(self.integers(position)?.to_vec())),
            None => Ok(None),
        }
    }

    /// How many elements these dimensions have; they are taken from the budget, and so is the work.
    fn room(&mut self, dims: &[usize], work_per_element: usize) -> Result<usize, Fault> {
        let elements = elements(dims).ok_or_else(|| self.step.malformed(format!("computes a constant of {dims:?}")))?;
        self.budget.take_elements(self.step, elements)?;
        self.budget.take_work(self.step, elements.saturating_mul(work_per_element))?;
        Ok(elements)
    }

    /// An axis counted from the first of `rank`, or from the last if negative.
    fn axis(&self, axis: i64, rank: usize) -> Result<usize, Fault> {
        let from_first = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        let axis = usize::try_from(from_first).ok().filter(|&a| a < rank);
        axis.ok_or_else(|| self.step.malformed(format!("has axis {from_first} of a constant of rank {rank}")))
    }
}

impl Constant {
    /// Elements of this constant at the indices given, under new dimensions. Codes of one scale stay
    /// codes; `axis` says where the axis of several scales has gone.
    fn picked(&self, dims: Vec<usize>, axis: Option<usize>, order: impl Iterator<Item = usize>) -> Self {
        let keeps = self.coding.as_ref().is_none_or(|c| c.scales.len() == 1 || axis.is_some());
        match &self.values {
            Values::Float(v) => Self::float(dims, order.map(|i| v[i]).collect()),
            Values::Integer(v) if keeps => {
                let mut picked = Self::new(dims, self.element, Values::Integer(order.map(|i| v[i]).collect()));
                picked.coding = self.coding.clone();
                if let (Some(coding), Some(axis)) = (&mut picked.coding, axis) {
                    coding.axis = axis;
                }
                picked
            }
            Values::Integer(codes) => {
                let values = self.coding.as_ref().map_or(vec![], |coding| self.dequantised(codes, coding));
                Self::float(dims, order.map(|i| values[i]).collect())
            }
        }
    }
}

/// Saturates to an integer type.
fn saturated(value: i64, element: Element) -> i64 {
    value.clamp(*element.range().start(), *element.range().end())
}

/// How far the index moves per step along every dimension.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        strides[i - 1] = strides[i] * dims[i].max(1);
    }
    strides
}

/// Calls `visit` with every position within `dims`, the last dimension moving fastest.
fn each(dims: &[usize], mut visit: impl FnMut(&[usize])) {
    if dims.contains(&0) {
        return;
    }
    let mut at = vec![0; dims.len()];
    loop {
        visit(&at);
        let Some(axis) = (0..dims.len()).rev().find(|&i| at[i] + 1 < dims[i]) else { return };
        at[axis] += 1;
        at[axis + 1..].fill(0);
    }
}

/// The dimensions of two operands spread over each other, aligned at the last.
fn broadcast(step: &Step, a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
    let join = |i| match (at(a, i), at(b, i)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => Err(step.malformed(format!("combines constants of {a:?} and {b:?}"))),
    };
    (0..rank).map(join).collect()
}

/// Where a position of a broadcast result lies in an operand of these dimensions.
fn spread(dims: &[usize], strides: &[usize], at: &[usize]) -> usize {
    let first = at.len() - dims.len();
    (0..dims.len()).map(|i| if dims[i] == 1 { 0 } else { at[first + i] * strides[i] }).sum()
}
