//! What every operator's conversion uses: looking edges up, adding nodes, checking what the file declares.

use super::source::{Operator, Source};
use super::tensor::TensorRef;
use crate::graph::{EdgeId, Graph, ParamId, ParamKind, ParamValue};
use crate::model::Fault;
use crate::op::{Activation, Op};
use crate::quant::QuantParams;

/// A graph being built from a file.
pub struct Importer<'a> {
    pub source: Source<'a>,
    pub graph: Graph,
    /// Images in the file's maps, which a graph does not have.
    batch: usize,
    /// The edge that carries a tensor, once it is computed.
    edges: Vec<Option<EdgeId>>,
    /// Parameter bytes that may still be copied: a file may name one buffer many times.
    copies_left_bytes: usize,
}

/// One operator being converted.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    pub operator: Operator<'a>,
    pub output: TensorRef<'a>,
}

impl<'a> Step<'a> {
    pub fn place(&self) -> String {
        self.operator.place_with(&self.output)
    }
    pub fn malformed(&self, why: impl Into<String>) -> Fault {
        Fault::malformed(self.place(), why)
    }
    pub fn unsupported(&self, why: impl Into<String>) -> Fault {
        Fault::unsupported(self.place(), why)
    }
    pub fn input(&self, position: usize) -> Result<i32, Fault> {
        self.operator.input(position).ok_or_else(|| self.malformed(format!("has no input {position}")))
    }
    /// The operator's options, without which it is not defined.
    pub fn options<T>(&self, options: Option<T>) -> Result<T, Fault> {
        options.ok_or_else(|| self.malformed("has no options of its kind"))
    }
    /// `conv2d_03`: the operation and the operator's number in the file, by which goldens name it.
    fn node_name(&self, op: &Op) -> String {
        let kind = match op {
            Op::Conv2d(conv) if conv.is_depthwise() => "depthwise",
            op => op.name(),
        };
        format!("{}_{:02}", kind.replace('-', "_"), self.operator.index)
    }
}

impl<'a> Importer<'a> {
    /// An importer of `source` whose graph reads the map `input`.
    pub fn new(name: &str, source: Source<'a>, input: &TensorRef, file_bytes: usize) -> Result<Self, Fault> {
        let dims = input.dims()?;
        let batch = if dims.len() > 1 { dims[0] } else { 1 };
        let mut graph = Graph::new(name, input.map_shape(batch)?);
        let edge = graph.input;
        graph.edge_mut(edge).quant = Some(input.coding()?);
        graph.edge_mut(edge).origin = Some(input.index);
        let mut edges = vec![None; source.tensor_count()];
        edges[input.index as usize] = Some(edge);
        // Tied weights are legitimate; copying one buffer without end is not.
        let copies_left_bytes = file_bytes.saturating_mul(4);
        Ok(Self { source, graph, batch, edges, copies_left_bytes })
    }

    pub fn batch(&self) -> usize {
        self.batch
    }

    pub fn edge_of(&self, tensor: i32) -> Option<EdgeId> {
        self.edges.get(usize::try_from(tensor).ok()?).copied().flatten()
    }

    /// The edge that carries the operator's input `position`.
    pub fn edge(&self, step: &Step, position: usize) -> Result<EdgeId, Fault> {
        let index = step.input(position)?;
        if let Some(edge) = self.edge_of(index) {
            return Ok(edge);
        }
        let tensor = self.source.tensor(index)?;
        Err(match tensor.data {
            Some(_) => step.unsupported(format!(
                "reads the constant {tensor} as a map; fold it into the layer before or after, then convert again"
            )),
            None => step.malformed(format!("reads {tensor} before any operator computes it")),
        })
    }

    /// How the map on the operator's input `position` is coded.
    pub fn coding(&self, step: &Step, position: usize) -> Result<QuantParams, Fault> {
        self.source.tensor(step.input(position)?)?.coding()
    }

    /// The constant at input `position`, whose copy is charged to the file's allowance.
    pub fn constant(&mut self, step: &Step, position: usize) -> Result<TensorRef<'a>, Fault> {
        let tensor = self.source.tensor(step.input(position)?)?;
        let bytes = tensor.data.map_or(0, <[u8]>::len);
        self.copies_left_bytes = self
            .copies_left_bytes
            .checked_sub(bytes)
            .ok_or_else(|| step.malformed("the model's operators share buffers until they hold 4 times the file"))?;
        Ok(tensor)
    }

    /// Refuses an operator that would have to change codes although it is defined to copy them.
    pub fn same_coding(&self, step: &Step, position: usize) -> Result<(), Fault> {
        let (x, y) = (self.coding(step, position)?, step.output.coding()?);
        if x.same_coding(&y) {
            return Ok(());
        }
        let why = "its input and output are coded differently, but it copies codes; the converter should have put a QUANTIZE before it";
        Err(step.unsupported(why))
    }

    /// Names a parameter after its node: `conv2d_03.weight`.
    pub fn add_param(&mut self, step: &Step, op: &Op, kind: ParamKind, dims: &[usize], value: ParamValue) -> ParamId {
        let role = if kind == ParamKind::Bias { "bias" } else { "weight" };
        let name = format!("{}.{role}", step.node_name(op));
        self.graph.add_param(&name, dims, kind, value)
    }

    /// Adds the operator's node, and one more for its fused activation. The last edge carries the
    /// output tensor; the one before a fused activation is the bare accumulator and has no coding.
    pub fn emit(&mut self, step: &Step, op: Op, inputs: &[EdgeId], params: &[ParamId], fused: i8) -> Result<(), Fault> {
        let coding = step.output.coding()?;
        let mixed = inputs.iter().any(|&e| self.graph.edge(e).quant.is_some_and(|q| q.codes != coding.codes));
        if mixed && op != Op::Requantise {
            return Err(step.unsupported("mixes INT8 and UINT8 maps; convert between them with a QUANTIZE"));
        }
        let name = step.node_name(&op);
        let mut edge = self.node(step, &name, op, inputs, params)?;
        if let Some(activation) = fused_activation(step, fused)? {
            let name = format!("{name}_{}", activation.name().replace('-', "_"));
            edge = self.node(step, &name, Op::Activation(activation), &[edge], &[])?;
        }
        let declared = step.output.map_shape(self.batch)?;
        let computed = self.graph.shape(edge);
        if computed != declared {
            return Err(step.malformed(format!("computes a map of {computed} but declares {declared}")));
        }
        let done = &mut self.edges[step.output.index as usize];
        if done.is_some() {
            return Err(step.malformed("writes a tensor that is already computed"));
        }
        *done = Some(edge);
        let edge = self.graph.edge_mut(edge);
        edge.quant = Some(coding);
        edge.origin = Some(step.output.index);
        Ok(())
    }

    fn node(
        &mut self,
        step: &Step,
        name: &str,
        op: Op,
        inputs: &[EdgeId],
        params: &[ParamId],
    ) -> Result<EdgeId, Fault> {
        self.graph.add_node(name, op, inputs, params).map_err(|error| step.malformed(error.to_string()))
    }
}

/// The clamp behind a fused-activation code.
fn fused_activation(step: &Step, code: i8) -> Result<Option<Activation>, Fault> {
    match code {
        0 => Ok(None),
        1 => Ok(Some(Activation::Relu)),
        2 => Ok(Some(Activation::ReluN1To1)),
        3 => Ok(Some(Activation::Relu6)),
        4 => Err(step.unsupported("has a fused TANH; make it an operator of its own")),
        other => Err(step
            .unsupported(format!("has fused activation {other}; 0 to 3 (none, RELU, RELU_N1_TO_1, RELU6) are read"))),
    }
}
