//! Adapters: one file each, which builds a small subgraph of ordinary operations in the adapter's
//! hardware domain and joins it to the trunk.
//!
//! Forward, work, memory and taps come from the operations and the graph. An adapter declares no
//! tap and implements no arithmetic.

use crate::graph::{EdgeId, Graph, GraphError, NodeId, ParamId, ParamKind, ParamValue};
use crate::op::{Activation, BatchNorm, Conv2d, Dropout, Op};
use crate::quant::{CodeType, QuantParams};
use crate::seed;
use crate::units::HardwareDomain;
use std::fmt;
use std::str::FromStr;

pub mod adaptive_attention;
pub mod additive;
pub mod additive_attention;
pub mod cbam;
pub mod lite_residual;
pub mod low_rank;
pub mod parallel;
mod resize;
pub mod series;
pub mod side_path;
pub mod spatial_attention;
pub mod squeeze_excite;

/// How the trainable arrays of an adapter start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// The paper's random start.
    He,
    /// The start at which the adapter does nothing (with a gate that is 1 at 0).
    Zero,
}

/// The function that turns an attention logit into a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The paper's form, ½ at logit 0.
    Sigmoid,
    /// `2σ`, exactly 1 at logit 0.
    TwoSigmoid,
}

impl Gate {
    pub fn gain(self) -> f32 {
        match self {
            Gate::Sigmoid => 1.0,
            Gate::TwoSigmoid => 2.0,
        }
    }

    /// How the mask is coded: 1/256 for σ; 1/128 for 2σ, so that 1.0 is the exact code 0.
    pub fn mask_codes(self) -> QuantParams {
        let scale = self.gain() / 256.0;
        QuantParams { scale, zero_point: -128, codes: CodeType::I8 }
    }
}

/// What of an attention module crosses back to the trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// The mask alone (h×w); the trunk multiplies.
    Mask,
    /// The attended map (h×w×c); it replaces the trunk's.
    Map,
}

/// What an adapter taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tapped {
    /// The map as it is; what is pooled is pooled on the adapter device.
    Map,
    /// The trunk pools, and only the pooled map crosses; what comes back pooled is enlarged in the trunk.
    Pooled,
}

impl Tapped {
    /// Where pooling, and enlarging what was made of it, takes place.
    pub fn domain(self) -> HardwareDomain {
        match self {
            Tapped::Map => HardwareDomain::Adapter,
            Tapped::Pooled => HardwareDomain::Trunk,
        }
    }
}

/// A part of an adapter's width: a number of channels, or a share of those that it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filters {
    Fixed(usize),
    /// max(1, C / divisor).
    ChannelsOver(usize),
}

impl fmt::Display for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filters::Fixed(m) => write!(f, "{m}"),
            Filters::ChannelsOver(divisor) => write!(f, "c/{divisor}"),
        }
    }
}

impl FromStr for Filters {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const MOST: usize = 4096;
        let (number, wrap): (&str, fn(usize) -> Filters) = match text.strip_prefix("c/") {
            Some(divisor) => (divisor, Filters::ChannelsOver),
            None => (text, Filters::Fixed),
        };
        match number.parse::<usize>() {
            Ok(n) if (1..=MOST).contains(&n) => Ok(wrap(n)),
            _ => Err(format!("should be 1..={MOST}, or c/N for the channel count over N")),
        }
    }
}

impl Filters {
    pub fn count(self, channels: usize) -> usize {
        match self {
            Filters::Fixed(m) => m,
            Filters::ChannelsOver(divisor) => (channels / divisor).max(1),
        }
    }
}

/// Adds adapter nodes that belong to one site.
pub(crate) struct Build<'a> {
    pub graph: &'a mut Graph,
    /// The site's name; every node, edge and array of the adapter starts with it.
    pub site: String,
    pub seed: u64,
}

impl Build<'_> {
    /// Adds one node in `domain`, marked with the site.
    pub fn node(
        &mut self,
        part: &str,
        op: Op,
        inputs: &[EdgeId],
        params: &[ParamId],
        domain: HardwareDomain,
    ) -> Result<EdgeId, GraphError> {
        let end = self.graph.output;
        let name = format!("{}.{part}", self.site);
        let output = self.graph.add_node(&name, op, inputs, params)?;
        // Inserting beside the network does not move its end.
        self.graph.output = end;
        let node = self.graph.nodes.last_mut().expect("just added");
        node.domain = domain;
        node.site = Some(self.site.clone());
        Ok(output)
    }

    /// Leaves elements of a map out in training, or whole channels; the map itself where nothing goes.
    pub fn dropout(
        &mut self,
        part: &str,
        input: EdgeId,
        probability: f64,
        channels: bool,
    ) -> Result<EdgeId, GraphError> {
        if probability == 0.0 {
            return Ok(input);
        }
        let op = Op::Dropout(Dropout { probability, channels, seed: self.seed });
        self.node(part, op, &[input], &[], HardwareDomain::Adapter)
    }

    /// Adds a bias-free trainable convolution on the adapter device, initialised N(0, `sigma`²) or zero.
    pub fn conv(
        &mut self,
        part: &str,
        conv: Conv2d,
        input: EdgeId,
        sigma: f64,
        init: Init,
    ) -> Result<EdgeId, GraphError> {
        let key = format!("{}.{part}.weight", self.site);
        let values = match init {
            Init::He => seed::normal(self.seed, &key, conv.weights(), sigma),
            Init::Zero => vec![0.0; conv.weights()],
        };
        let dims = [conv.out_c, conv.kernel[0], conv.kernel[1], conv.in_c / conv.groups];
        let weight = self.graph.add_param(&key, &dims, ParamKind::Weight, ParamValue::F32(values));
        self.graph.params[weight.index()].trainable = true;
        self.node(part, Op::Conv2d(conv), &[input], &[weight], HardwareDomain::Adapter)
    }

    /// A batch norm of the adapter's own: gamma and beta train, gamma starts as given.
    pub fn batch_norm(&mut self, part: &str, input: EdgeId, gamma: f32) -> Result<EdgeId, GraphError> {
        let channels = self.graph.shape(input).c;
        let mut param = |end: &str, kind, value: f32, trainable| {
            let values = ParamValue::F32(vec![value; channels]);
            let id = self.graph.add_param(&format!("{}.{part}.{end}", self.site), &[channels], kind, values);
            self.graph.params[id.index()].trainable = trainable;
            id
        };
        let params = [
            param("gamma", ParamKind::NormAffine, gamma, true),
            param("beta", ParamKind::NormAffine, 0.0, true),
            param("mean", ParamKind::NormStats, 0.0, false),
            param("variance", ParamKind::NormStats, 1.0, false),
        ];
        let norm = Op::BatchNorm(BatchNorm { channels, epsilon: 1e-5 });
        self.node(part, norm, &[input], &params, HardwareDomain::Adapter)
    }

    /// Two 1×1 convolutions with biases and a ReLU between them, as gates have them. The first starts
    /// N(0, 2/inputs), the second N(0, 1/hidden) or zero.
    pub fn perceptron(&mut self, input: EdgeId, hidden: usize, init: Init) -> Result<EdgeId, GraphError> {
        let channels = self.graph.shape(input).c;
        let (first, second) = ((2.0 / channels as f64).sqrt(), (1.0 / hidden as f64).sqrt());
        let reduced = self.conv("reduce", Conv2d::square(channels, hidden, 1, 1, 0), input, first, Init::He)?;
        self.add_bias(hidden);
        let relu = self.on_device("relu", Op::Activation(Activation::Relu), &[reduced])?;
        let expanded = self.conv("expand", Conv2d::square(hidden, channels, 1, 1, 0), relu, second, init)?;
        self.add_bias(channels);
        Ok(expanded)
    }

    /// Gives the convolution that was added last a bias of zeros that trains.
    fn add_bias(&mut self, channels: usize) {
        let node = self.graph.nodes.last().expect("just added");
        let name = format!("{}.bias", node.name);
        let bias = self.graph.add_param(&name, &[channels], ParamKind::Bias, ParamValue::F32(vec![0.0; channels]));
        self.graph.params[bias.index()].trainable = true;
        self.graph.nodes.last_mut().expect("just added").params.push(bias);
    }

    /// A node without parameters on the adapter device.
    pub fn on_device(&mut self, part: &str, op: Op, inputs: &[EdgeId]) -> Result<EdgeId, GraphError> {
        self.node(part, op, inputs, &[], HardwareDomain::Adapter)
    }

    /// The gate's function of a logit.
    pub fn gate(&mut self, part: &str, gate: Gate, logit: EdgeId) -> Result<EdgeId, GraphError> {
        self.on_device(part, Op::Activation(Activation::Sigmoid { gain: gate.gain() }), &[logit])
    }

    /// Multiplies the map `edge` by `mask` and lets every former reader of `edge` read the product,
    /// which keeps the map's codes.
    pub fn attend(
        &mut self,
        edge: EdgeId,
        mask: EdgeId,
        gate: Gate,
        back: Return,
        own: &[NodeId],
    ) -> Result<(), GraphError> {
        let product = self.product("product", [edge, mask], gate, back)?;
        self.stand_in(edge, product, own);
        Ok(())
    }

    /// The product of a map and a mask, under the map's codes.
    pub fn product(
        &mut self,
        part: &str,
        [edge, mask]: [EdgeId; 2],
        gate: Gate,
        back: Return,
    ) -> Result<EdgeId, GraphError> {
        let domain = match back {
            Return::Mask => HardwareDomain::Trunk,
            Return::Map => HardwareDomain::Adapter,
        };
        let product = self.node(part, Op::Mul, &[edge, mask], &[], domain)?;
        self.graph.edge_mut(mask).quant = Some(gate.mask_codes());
        self.graph.edge_mut(product).quant = self.graph.edge(edge).quant;
        Ok(product)
    }

    /// Lets every reader of `edge` but the adapter's `own` nodes, and the last one added, read `new`.
    pub fn stand_in(&mut self, edge: EdgeId, new: EdgeId, own: &[NodeId]) {
        let maker = self.graph.edge(new).producer;
        let others = |n: &NodeId| !own.contains(n) && Some(*n) != maker;
        let readers: Vec<NodeId> = self.graph.consumers(edge).into_iter().filter(others).collect();
        for reader in readers {
            self.graph.rewire(reader, edge, new);
        }
        if self.graph.output == edge {
            self.graph.output = new;
        }
    }

    /// The nodes added since there were `first` of them.
    pub fn since(&self, first: usize) -> Vec<NodeId> {
        (first as u32..self.graph.nodes.len() as u32).map(NodeId).collect()
    }
}
