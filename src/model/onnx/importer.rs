//! What every operator's conversion uses: values by name, attributes, constants, adding nodes.

use super::fold::Budget;
use super::proto;
use super::tensor::{self, Constant, Refusal};
use crate::graph::{EdgeId, Graph, ParamId, ParamKind, ParamValue};
use crate::model::{Fault, printable};
use crate::op::Op;
use crate::quant::CodeType;
use crate::tensor::Shape;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// How ONNX sees a map that the graph holds as height × width × channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum View {
    /// N×C×H×W.
    Map,
    /// N×(C·H·W): a flattened map of this shape. ONNX counts channels first, the graph last.
    Flat(Shape),
}

impl View {
    /// Whether ONNX and the graph have the elements in one order.
    pub fn in_order(self) -> bool {
        match self {
            View::Map => true,
            View::Flat(from) => from.pixels() == 1 || from.c == 1,
        }
    }
}

/// What a name in the file gives of a map that the trunk holds as codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Real values that no QuantizeLinear has rounded (yet).
    Real,
    /// The codes, as integers.
    Codes,
    /// The values that the codes stand for.
    Dequantised,
}

/// A map and ONNX's view of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Map {
    pub edge: EdgeId,
    pub view: View,
    pub form: Form,
}

impl Map {
    /// A map of real values.
    pub fn real(edge: EdgeId, view: View) -> Self {
        Self { edge, view, form: Form::Real }
    }

    /// The map, which must be N×C×H×W.
    pub fn four(self, step: &Step) -> Result<Self, Fault> {
        match self.view {
            View::Map => Ok(self),
            View::Flat(_) => Err(step.unsupported("works on a flattened map; only N×C×H×W is done here")),
        }
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Value {
    Map(Map),
    Constant(Rc<Constant>),
}

/// One node being converted.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    pub index: usize,
    pub node: &'a proto::Node,
    pub opset: i64,
}

/// A graph being built from a file.
pub struct Importer<'a> {
    pub graph: Graph,
    /// Images in the file's maps (1 if it leaves that open), which a graph does not have.
    pub batch: usize,
    pub notes: Vec<String>,
    values: HashMap<&'a str, Value>,
    initialisers: HashMap<&'a str, &'a proto::Tensor>,
    /// The type of the input's codes, if the file's input is codes.
    pub input_codes: CodeType,
    /// Maps that a node reads.
    read: HashSet<EdgeId>,
    /// What may still be copied and folded.
    pub budget: Budget,
}

/// Larger attributes are refused, so that sizes computed from a few of them cannot overflow.
const MAX_ATTRIBUTE: i64 = u16::MAX as i64;

/// Elements of the largest map.
const MAX_ELEMENTS: usize = i32::MAX as usize;

/// Whether a map of this shape is neither empty nor beyond what is addressed.
pub fn is_sound(shape: Shape) -> bool {
    let elements = shape.h.checked_mul(shape.w).and_then(|n| n.checked_mul(shape.c));
    elements.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n))
}

impl<'a> Step<'a> {
    pub fn place(&self) -> String {
        let name = printable(&self.node.name);
        let domain = if self.is_standard() { String::new() } else { format!("{}.", printable(&self.node.domain)) };
        format!("node {} '{name}' ({domain}{})", self.index, printable(&self.node.op_type))
    }

    pub fn is_standard(&self) -> bool {
        matches!(self.node.domain.as_str(), "" | "ai.onnx")
    }

    pub fn malformed(&self, why: impl Into<String>) -> Fault {
        Fault::malformed(self.place(), why)
    }

    pub fn unsupported(&self, why: impl Into<String>) -> Fault {
        Fault::unsupported(self.place(), why)
    }

    pub fn refused(&self, what: &str, refusal: Refusal) -> Fault {
        let why = format!("{what} {}", refusal.why);
        if refusal.unsupported { self.unsupported(why) } else { self.malformed(why) }
    }

    /// The name of input `position`; an empty name is an input left out.
    pub fn input(&self, position: usize) -> Option<&'a str> {
        self.node.input.get(position).map(String::as_str).filter(|name| !name.is_empty())
    }

    pub fn attribute(&self, name: &str) -> Option<&'a proto::Attribute> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    pub fn integer(&self, name: &str, default: i64) -> Result<i64, Fault> {
        let value = self.attribute(name).map_or(default, |a| a.i);
        if value.abs_diff(0) <= MAX_ATTRIBUTE as u64 {
            Ok(value)
        } else {
            Err(self.malformed(format!("has {name} {value}")))
        }
    }

    pub fn float(&self, name: &str, default: f32) -> Result<f32, Fault> {
        let value = self.attribute(name).map_or(default, |a| a.f);
        if value.is_finite() { Ok(value) } else { Err(self.malformed(format!("has {name} {value}"))) }
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        let text = self.attribute(name).map(|a| std::str::from_utf8(&a.s)).transpose();
        text.map_err(|_| self.malformed(format!("has a {name} that is no text")))
    }

    /// A list of sizes: none negative, none huge.
    pub fn sizes(&self, name: &str) -> Result<Option<Vec<usize>>, Fault> {
        let size = |&v: &i64| {
            if (0..=MAX_ATTRIBUTE).contains(&v) {
                Ok(v as usize)
            } else {
                Err(self.unsupported(format!("has {name} {v}; 0 to {MAX_ATTRIBUTE} are done")))
            }
        };
        self.attribute(name).map(|a| a.ints.iter().map(size).collect()).transpose()
    }

    /// `conv2d_03`: the operation and the node's number in the file.
    pub fn node_name(&self, op: &Op) -> String {
        let kind = match op {
            Op::Conv2d(conv) if conv.is_depthwise() => "depthwise",
            op => op.name(),
        };
        format!("{}_{:02}", kind.replace('-', "_"), self.index)
    }
}

impl<'a> Importer<'a> {
    pub fn new(graph: Graph, batch: usize, file: &'a proto::Graph) -> Self {
        let initialisers = file.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
        Self {
            graph,
            batch,
            notes: vec![],
            values: HashMap::new(),
            initialisers,
            input_codes: CodeType::U8,
            read: HashSet::new(),
            budget: Budget::of_file(file),
        }
    }

    pub fn shape(&self, map: Map) -> Shape {
        self.graph.shape(map.edge)
    }

    /// The dimensions that ONNX gives a map.
    pub fn dims(&self, map: Map) -> Vec<usize> {
        let shape = self.shape(map);
        match map.view {
            View::Map => vec![self.batch, shape.c, shape.h, shape.w],
            View::Flat(_) => vec![self.batch, shape.elements()],
        }
    }

    /// Whether a node reads this map.
    pub fn is_read(&self, edge: EdgeId) -> bool {
        self.read.contains(&edge)
    }

    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Whether every input that the node has is a constant.
    pub fn is_all_constant(&self, step: &Step) -> bool {
        let mut given = (0..step.node.input.len()).filter(|&i| step.input(i).is_some()).peekable();
        given.peek().is_some() && given.all(|i| self.is_constant(step, i))
    }

    pub fn is_constant(&self, step: &Step, position: usize) -> bool {
        step.input(position).is_some_and(|name| match self.values.get(name) {
            Some(value) => matches!(value, Value::Constant(_)),
            None => self.initialisers.contains_key(name),
        })
    }

    /// The map on input `position`, whatever form it has.
    pub fn any_map(&self, step: &Step, position: usize) -> Result<Map, Fault> {
        let name = step.input(position).ok_or_else(|| step.malformed(format!("has no input {position}")))?;
        match self.values.get(name) {
            Some(Value::Map(map)) => Ok(*map),
            None if !self.initialisers.contains_key(name) => {
                Err(step.malformed(format!("reads '{}' before any node computes it", printable(name))))
            }
            _ => Err(step.unsupported(format!(
                "reads the constant '{}' as a map; fold it into the layer before or after (onnxsim does)",
                printable(name)
            ))),
        }
    }

    /// The map of real values on input `position`.
    pub fn map(&self, step: &Step, position: usize) -> Result<Map, Fault> {
        let map = self.any_map(step, position)?;
        let shown = || printable(step.input(position).unwrap_or(""));
        match map.form {
            Form::Codes => Err(step.malformed(format!("computes with the codes '{}' as if they were values", shown()))),
            Form::Real if self.graph.edge(map.edge).quant.is_some() => Err(step.unsupported(format!(
                "reads '{}', which a QuantizeLinear rounds, as it is before that; quantise every reader of the map",
                shown()
            ))),
            _ => Ok(map),
        }
    }

    /// The map on input `position`, which must be N×C×H×W.
    pub fn map4(&self, step: &Step, position: usize) -> Result<Map, Fault> {
        self.map(step, position)?.four(step)
    }

    /// The N×C×H×W map on input `position` of an operator that moves codes or values alike.
    pub fn moved_map4(&self, step: &Step, position: usize) -> Result<Map, Fault> {
        self.moved_map(step, position)?.four(step)
    }

    /// The map on input `position` of an operator that moves codes or values alike.
    pub fn moved_map(&self, step: &Step, position: usize) -> Result<Map, Fault> {
        match self.any_map(step, position)? {
            map if map.form == Form::Codes => Ok(map),
            _ => self.map(step, position),
        }
    }

    /// The constant on input `position`, if that input is there. Its copy is charged to the file's
    /// allowance.
    pub fn optional(&mut self, step: &Step, position: usize) -> Result<Option<Rc<Constant>>, Fault> {
        let Some(name) = step.input(position) else { return Ok(None) };
        match self.values.get(name) {
            Some(Value::Constant(constant)) => return Ok(Some(constant.clone())),
            Some(Value::Map(_)) => {
                let why = format!("its input {position} '{}' is computed; it must be a constant", printable(name));
                return Err(step.unsupported(why));
            }
            None => {}
        }
        let tensor = self.initialisers.get(name).copied().ok_or_else(|| {
            step.malformed(format!("reads '{}', which is neither computed nor an initialiser", printable(name)))
        })?;
        self.read(step, &format!("its constant '{}'", printable(name)), tensor).map(Some)
    }

    pub fn constant(&mut self, step: &Step, position: usize) -> Result<Rc<Constant>, Fault> {
        let found = self.optional(step, position)?;
        found.ok_or_else(|| step.malformed(format!("has no input {position}")))
    }

    /// Reads a tensor of the file.
    pub fn read(&mut self, step: &Step, what: &str, tensor: &proto::Tensor) -> Result<Rc<Constant>, Fault> {
        self.charge(step, tensor::held(tensor))?;
        Constant::read(tensor).map(Rc::new).map_err(|refusal| step.refused(what, refusal))
    }

    /// Takes elements of constants or parameters from the file's allowance.
    pub fn charge(&mut self, step: &Step, elements: usize) -> Result<(), Fault> {
        self.budget.take_elements(step, elements)
    }

    /// Finite values of a constant.
    pub fn floats<'c>(&self, step: &Step, what: &str, constant: &'c Constant) -> Result<Cow<'c, [f32]>, Fault> {
        constant.floats().map_err(|refusal| step.refused(what, refusal))
    }

    pub fn integers<'c>(&self, step: &Step, what: &str, constant: &'c Constant) -> Result<&'c [i64], Fault> {
        constant.integers().map_err(|refusal| step.refused(what, refusal))
    }

    /// The list that was an attribute in old opsets and became an input.
    pub fn list(&mut self, step: &Step, name: &str, position: usize) -> Result<Option<Vec<i64>>, Fault> {
        if let Some(attribute) = step.attribute(name) {
            return Ok(Some(attribute.ints.clone()));
        }
        let Some(constant) = self.optional(step, position)? else { return Ok(None) };
        Ok(Some(self.integers(step, name, &constant)?.to_vec()))
    }

    /// Names a parameter after its node: `conv2d_03.weight`.
    pub fn add_param(&mut self, name: &str, role: &str, kind: ParamKind, dims: &[usize], value: ParamValue) -> ParamId {
        self.graph.add_param(&format!("{name}.{role}"), dims, kind, value)
    }

    /// Adds a node to the graph.
    pub fn node(
        &mut self,
        step: &Step,
        name: &str,
        op: Op,
        inputs: &[EdgeId],
        params: &[ParamId],
    ) -> Result<EdgeId, Fault> {
        self.read.extend(inputs);
        let edge = self.graph.add_node(name, op, inputs, params).map_err(|e| step.malformed(e.to_string()))?;
        let shape = self.graph.shape(edge);
        if is_sound(shape) {
            Ok(edge)
        } else {
            Err(step.malformed(format!("computes a map of {} × {} × {} elements", shape.h, shape.w, shape.c)))
        }
    }

    /// Adds the one node of an operation without parameters.
    pub fn apply(&mut self, step: &Step, op: Op, inputs: &[Map], view: View) -> Result<Map, Fault> {
        let edges: Vec<EdgeId> = inputs.iter().map(|m| m.edge).collect();
        let name = step.node_name(&op);
        Ok(Map::real(self.node(step, &name, op, &edges, &[])?, view))
    }

    /// Adds the one node of an operation without parameters and gives its map the step's output name.
    pub fn emit(&mut self, step: &Step<'a>, op: Op, inputs: &[Map], view: View) -> Result<(), Fault> {
        let map = self.apply(step, op, inputs, view)?;
        self.define(step, Value::Map(map))
    }

    /// The same for an operation that moves codes without changing them: its map has its input's
    /// coding, and is of the form that its input is of.
    pub fn emit_moved(&mut self, step: &Step<'a>, op: Op, input: Map, view: View) -> Result<(), Fault> {
        let mut map = self.apply(step, op, &[input], view)?;
        if input.form != Form::Real {
            map.form = input.form;
            let quant = self.graph.edge(input.edge).quant;
            let edge = self.graph.edge_mut(map.edge);
            edge.quant = quant;
            edge.origin = (map.form == Form::Codes).then_some(step.index as u32);
        }
        self.define(step, Value::Map(map))
    }

    /// Gives a map or constant the step's first output name.
    pub fn define(&mut self, step: &Step<'a>, value: Value) -> Result<(), Fault> {
        self.define_at(step, 0, value)
    }

    /// Gives a map or constant the name of output `position`.
    pub fn define_at(&mut self, step: &Step<'a>, position: usize, value: Value) -> Result<(), Fault> {
        let name = step.node.output.get(position).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| step.malformed("has no output"))?;
        if self.initialisers.contains_key(name.as_str()) || self.values.insert(name, value).is_some() {
            return Err(step.malformed(format!("computes '{}', which is there already", printable(name))));
        }
        Ok(())
    }

    /// Names the graph's input.
    pub fn define_input(&mut self, name: &'a str, map: Map) {
        self.values.insert(name, Value::Map(map));
    }
}
