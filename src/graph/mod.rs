//! The network as data: nodes joined by edges, every node in a hardware domain.
//!
//! A graph is built by `model` (files, zoo), rewritten by `scheme` (which moves nodes and inserts
//! adapter subgraphs), and read by everything after. It holds weights as they came (float, or
//! int8 codes with their scales) and refuses to know how anything is executed. Nobody declares a
//! tap: taps are the edges whose ends lie in different hardware domains (`crossing`).

use crate::op::{BatchNorm, Op};
use crate::quant::QuantParams;
use crate::tensor::Shape;
use crate::units::HardwareDomain;

mod check;
pub mod crossing;
pub mod gradient;
pub mod structure;

pub use check::GraphError;

/// Elements of one image's map, beyond which a graph is a mistake or an attack: 64 Mi.
pub const MAX_MAP_ELEMENTS: usize = 1 << 26;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);
        impl $name {
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )+ };
}
ids!(
    /// Index into [`Graph::nodes`].
    NodeId,
    /// Index into [`Graph::edges`].
    EdgeId,
    /// Index into [`Graph::params`].
    ParamId,
);

/// A map flowing from one producer (or the graph's input) to any number of consumers.
#[derive(Clone, Debug)]
pub struct Edge {
    pub name: String,
    pub shape: Shape,
    /// How the map is coded when the trunk holds it; `None` before calibration.
    pub quant: Option<QuantParams>,
    pub producer: Option<NodeId>,
    /// The number, in the file it was imported from, of the tensor (TFLite) or of the node that codes
    /// it (ONNX): by this, goldens name it.
    pub origin: Option<u32>,
}

/// One operation on a device.
#[derive(Clone, Debug)]
pub struct Node {
    pub name: String,
    pub op: Op,
    pub inputs: Vec<EdgeId>,
    pub params: Vec<ParamId>,
    pub output: EdgeId,
    pub domain: HardwareDomain,
    /// The site this node adapts, when an adapter inserted it.
    pub site: Option<String>,
}

/// What a parameter is to the accounting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParamKind {
    Weight,
    Bias,
    /// Gamma or beta of a batch norm.
    NormAffine,
    /// Running mean or variance: state, never counted as a parameter.
    NormStats,
}

/// A parameter's values as they came.
#[derive(Clone, Debug)]
pub enum ParamValue {
    F32(Vec<f32>),
    /// Weight codes; scales and zero points are one (per tensor) or one per output channel, apart.
    I8 {
        codes: Vec<i8>,
        scales: Vec<f32>,
        zero_points: Vec<i32>,
    },
    /// Bias codes of scale `input scale × weight scale`.
    I32 {
        codes: Vec<i32>,
        scales: Vec<f32>,
    },
    /// So many values that nobody knows: the network can be counted and timed, not executed.
    ShapeOnly(usize),
}

impl ParamValue {
    pub fn len(&self) -> usize {
        match self {
            ParamValue::F32(v) => v.len(),
            ParamValue::I8 { codes, .. } => codes.len(),
            ParamValue::I32 { codes, .. } => codes.len(),
            ParamValue::ShapeOnly(len) => *len,
        }
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The real values; codes are dequantised, the first dimension being the output channel. Zeros
    /// stand for values that nobody knows.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            ParamValue::F32(v) => v.clone(),
            ParamValue::I8 { codes, scales, zero_points } => {
                let channel = |i: usize, channels: usize| i / (codes.len() / channels.max(1)).max(1);
                codes
                    .iter()
                    .enumerate()
                    .map(|(i, &q)| {
                        let zero_point = zero_points[channel(i, zero_points.len())];
                        (i32::from(q) - zero_point) as f32 * scales[channel(i, scales.len())]
                    })
                    .collect()
            }
            ParamValue::I32 { codes, scales } => codes
                .iter()
                .enumerate()
                .map(|(i, &q)| (f64::from(q) * f64::from(scales[if scales.len() == 1 { 0 } else { i }])) as f32)
                .collect(),
            ParamValue::ShapeOnly(len) => vec![0.0; *len],
        }
    }
}

/// A named array that a node owns.
#[derive(Clone, Debug)]
pub struct Param {
    pub name: String,
    pub dims: Vec<usize>,
    pub value: ParamValue,
    pub kind: ParamKind,
    /// Of a weight that our quantiser will round: the mean of what each input channel brought it on
    /// the calibration images, so that the shift that rounding causes can be taken out. Empty else.
    pub input_means: Vec<f32>,
    /// Whether the scheme trains it. Set by `scheme`; nothing is trainable in a bare trunk.
    pub trainable: bool,
}

/// A network with one input and one output. Nodes may stand in any order: see [`Graph::order`].
#[derive(Clone, Debug)]
pub struct Graph {
    pub name: String,
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    pub params: Vec<Param>,
    pub input: EdgeId,
    pub output: EdgeId,
}

impl Graph {
    /// A graph of nothing but its input map; its output is the input until nodes are added.
    pub fn new(name: &str, input: Shape) -> Self {
        let edge = Edge { name: "input".into(), shape: input, quant: None, producer: None, origin: None };
        Self {
            name: name.into(),
            nodes: vec![],
            edges: vec![edge],
            params: vec![],
            input: EdgeId(0),
            output: EdgeId(0),
        }
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }
    pub fn edge(&self, id: EdgeId) -> &Edge {
        &self.edges[id.index()]
    }
    pub fn edge_mut(&mut self, id: EdgeId) -> &mut Edge {
        &mut self.edges[id.index()]
    }
    pub fn param(&self, id: ParamId) -> &Param {
        &self.params[id.index()]
    }
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }
    pub fn shape(&self, id: EdgeId) -> Shape {
        self.edge(id).shape
    }

    /// Adds an array that a node will own.
    pub fn add_param(&mut self, name: &str, dims: &[usize], kind: ParamKind, value: ParamValue) -> ParamId {
        let (name, dims) = (name.into(), dims.to_vec());
        self.params.push(Param { name, dims, value, kind, input_means: vec![], trainable: false });
        ParamId(self.params.len() as u32 - 1)
    }

    /// Appends a trunk node and its output edge (named like the node). Fails if the operation
    /// does not accept the shapes of its inputs.
    pub fn add_node(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[EdgeId],
        params: &[ParamId],
    ) -> Result<EdgeId, GraphError> {
        let shapes: Vec<Shape> = inputs.iter().map(|&e| self.shape(e)).collect();
        let shape = op.output_shape(&shapes).map_err(|why| GraphError::Shape {
            node: name.into(),
            op: op.name(),
            inputs: shapes.clone(),
            why,
        })?;
        if shape.checked_elements().is_none_or(|n| n > MAX_MAP_ELEMENTS) {
            let why = format!("makes a map of {shape}, larger than {MAX_MAP_ELEMENTS} elements for one image");
            return Err(GraphError::Node { node: name.into(), why });
        }
        let id = NodeId(self.nodes.len() as u32);
        let output = EdgeId(self.edges.len() as u32);
        self.edges.push(Edge { name: name.into(), shape, quant: None, producer: Some(id), origin: None });
        self.nodes.push(Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
            params: params.to_vec(),
            output,
            domain: HardwareDomain::Trunk,
            site: None,
        });
        self.output = output;
        Ok(output)
    }

    /// Appends a batch norm that is the identity (up to its epsilon): gamma 1, beta 0, mean 0, variance 1.
    pub fn add_batch_norm(&mut self, name: &str, input: EdgeId, op: BatchNorm) -> Result<EdgeId, GraphError> {
        let c = op.channels;
        let mut param = |part: &str, kind, value| {
            self.add_param(&format!("{name}.{part}"), &[c], kind, ParamValue::F32(vec![value; c]))
        };
        let params = [
            param("gamma", ParamKind::NormAffine, 1.0),
            param("beta", ParamKind::NormAffine, 0.0),
            param("mean", ParamKind::NormStats, 0.0),
            param("variance", ParamKind::NormStats, 1.0),
        ];
        self.add_node(name, Op::BatchNorm(op), &[input], &params)
    }

    /// The nodes that read `edge`, in order.
    pub fn consumers(&self, edge: EdgeId) -> Vec<NodeId> {
        self.node_ids().filter(|&n| self.node(n).inputs.contains(&edge)).collect()
    }

    /// The node that reads `edge` if exactly one does and the edge is not the graph's output.
    pub fn sole_consumer(&self, edge: EdgeId) -> Option<NodeId> {
        match self.consumers(edge)[..] {
            [one] if edge != self.output => Some(one),
            _ => None,
        }
    }

    /// Lets `reader` read `to` wherever it read `from`.
    pub fn rewire(&mut self, reader: NodeId, from: EdgeId, to: EdgeId) {
        for input in &mut self.nodes[reader.index()].inputs {
            if *input == from {
                *input = to;
            }
        }
    }

    /// Lets `to` be the map that has the codes of `from`, whose values stay an accumulator's.
    pub fn move_codes(&mut self, from: EdgeId, to: EdgeId) {
        let held = self.edge_mut(from);
        let (quant, origin) = (held.quant.take(), held.origin.take());
        let edge = self.edge_mut(to);
        (edge.quant, edge.origin) = (quant, origin);
    }

    /// Input shapes of a node.
    pub fn input_shapes(&self, id: NodeId) -> Vec<Shape> {
        self.node(id).inputs.iter().map(|&e| self.shape(e)).collect()
    }

    /// Multiply-accumulates of a node for one image.
    pub fn macs(&self, id: NodeId) -> u64 {
        let node = self.node(id);
        node.op.macs(&self.input_shapes(id), self.shape(node.output))
    }
}
