//! Built-in networks with seeded weights, written `NAME[:width=W,classes=C,input=H]`.
//!
//! One file per network and one line in [`NETWORKS`]. Weights are random (He, fan out), batch
//! norm is the identity: a zoo network has the right shapes and counts and knows nothing. Those of
//! [`SHAPES`] have not even weights.

use crate::graph::{EdgeId, Graph, GraphError, ParamId, ParamKind, ParamValue};
use crate::op::{Activation, BatchNorm, Conv2d, Linear, Op};
use crate::seed;
use crate::tensor::Shape;
use thiserror::Error;

mod alexnet;
mod mobilenetv3_large;
mod pretrained;
mod residual;
mod resnet18;
mod resnet26;
mod resnet34;
mod resnet50;
mod resnet50_v1;
mod resnet8;
mod vgg;

pub use pretrained::{PRETRAINED, Pretrained, pretrained};

/// What to build.
#[derive(Clone, Debug, PartialEq)]
pub struct ZooSpec {
    pub name: String,
    /// Height and width of the input.
    pub input: usize,
    pub classes: usize,
    /// Multiplies every channel count.
    pub width: f64,
    pub seed: u64,
}

/// A network of the zoo.
pub struct Network {
    pub name: &'static str,
    pub about: &'static str,
    pub default_input: usize,
    build: fn(&mut Builder) -> Result<(), GraphError>,
}

/// Every network of the zoo.
pub const NETWORKS: &[Network] = &[
    resnet8::NETWORK,
    resnet18::NETWORK,
    resnet26::NETWORK,
    resnet34::NETWORK,
    resnet50::NETWORK,
    mobilenetv3_large::NETWORK,
];

/// Networks of shape only: no weights, for validating hardware models against what was published of
/// them. They are counted and timed like others, and not executed.
pub const SHAPES: &[Network] = &[alexnet::NETWORK, vgg::VGG16, vgg::VGG19, resnet50_v1::NETWORK];

/// Classes of ImageNet, which the networks of shape only were made for.
const IMAGENET_CLASSES: usize = 1000;

#[derive(Debug, Error)]
pub enum ZooError {
    #[error("no network '{name}' in the zoo; there are {known}")]
    Unknown { name: String, known: String },
    #[error("zoo network '{spec}': {why}")]
    Option { spec: String, why: String },
    #[error("zoo network '{spec}' cannot be built: {source}")]
    Shape { spec: String, source: GraphError },
}

/// Bounds that keep a typing error from asking for terabytes.
const MAX_INPUT: usize = 2048;
const MAX_CLASSES: usize = 100_000;
const MAX_WIDTH: f64 = 16.0;
const MAX_WEIGHTS: usize = 1 << 28;

/// The zoo's network of that name.
pub fn find(name: &str) -> Option<&'static Network> {
    NETWORKS.iter().chain(SHAPES).find(|n| n.name == name)
}

/// Whether that network has shapes and no weights.
pub fn is_shape_only(name: &str) -> bool {
    SHAPES.iter().any(|n| n.name == name)
}

impl ZooSpec {
    /// Reads `NAME[:key=value,…]`; `classes` and `input` hold where the text gives none.
    pub fn parse(text: &str, input: Option<usize>, classes: Option<usize>, seed: u64) -> Result<Self, ZooError> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let network = find(name).ok_or_else(|| ZooError::Unknown { name: name.into(), known: known() })?;
        let mut spec = Self {
            name: name.into(),
            input: input.unwrap_or(network.default_input),
            classes: classes.unwrap_or(if is_shape_only(name) { IMAGENET_CLASSES } else { 10 }),
            width: 1.0,
            seed,
        };
        let fault = |why: String| ZooError::Option { spec: text.into(), why };
        for option in options.split(',').filter(|o| !o.is_empty()) {
            let (key, value) = option.split_once('=').ok_or_else(|| fault(format!("'{option}' is not key=value")))?;
            let whole = || value.parse::<usize>().map_err(|_| fault(format!("{key}={value}: not a whole number")));
            match key {
                "input" => spec.input = whole()?,
                "classes" => spec.classes = whole()?,
                "width" => spec.width = value.parse().map_err(|_| fault(format!("width={value}: not a number")))?,
                _ => return Err(fault(format!("no option '{key}'; there are width, classes, input"))),
            }
        }
        spec.check().map_err(fault)?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), String> {
        if self.input == 0 || self.input > MAX_INPUT {
            return Err(format!("input {} is not in 1..={MAX_INPUT}", self.input));
        }
        if self.classes == 0 || self.classes > MAX_CLASSES {
            return Err(format!("{} classes is not in 1..={MAX_CLASSES}", self.classes));
        }
        if !(self.width > 0.0 && self.width <= MAX_WIDTH) {
            return Err(format!("width {} is not in (0, {MAX_WIDTH}]", self.width));
        }
        Ok(())
    }

    /// Builds the network.
    pub fn build(&self) -> Result<Graph, ZooError> {
        let network = find(&self.name).ok_or_else(|| ZooError::Unknown { name: self.name.clone(), known: known() })?;
        let graph = Graph::new(&self.name, Shape::new(self.input, self.input, 3));
        let mut builder =
            Builder { at: graph.input, graph, spec: self, weights: 0, shape_only: is_shape_only(&self.name) };
        (network.build)(&mut builder).map_err(|source| ZooError::Shape { spec: self.name.clone(), source })?;
        Ok(builder.graph)
    }
}

fn known() -> String {
    NETWORKS.iter().chain(SHAPES).map(|n| n.name).collect::<Vec<_>>().join(", ")
}

/// Appends layers to a graph, initialising their weights; `at` is where the next layer reads.
struct Builder<'a> {
    graph: Graph,
    at: EdgeId,
    spec: &'a ZooSpec,
    /// Drawn so far.
    weights: usize,
    shape_only: bool,
}

impl Builder<'_> {
    /// A channel count under the width multiplier.
    fn width(&self, channels: usize) -> usize {
        ((channels as f64 * self.spec.width).round() as usize).max(1)
    }

    fn add(&mut self, name: &str, op: Op) -> Result<EdgeId, GraphError> {
        self.at = self.graph.add_node(name, op, &[self.at], &[])?;
        Ok(self.at)
    }

    /// Refuses weights beyond [`MAX_WEIGHTS`] before they are drawn.
    fn reserve(&mut self, name: &str, weights: usize) -> Result<(), GraphError> {
        self.weights = self.weights.saturating_add(weights);
        if self.weights > MAX_WEIGHTS {
            let why = format!("takes the network beyond {MAX_WEIGHTS} weights; lower width or classes");
            return Err(GraphError::Node { node: name.into(), why });
        }
        Ok(())
    }

    /// A bias-free convolution, padded to keep the size up to its stride.
    fn conv(&mut self, name: &str, out_c: usize, kernel: usize, stride: usize) -> Result<EdgeId, GraphError> {
        self.convolution(name, Conv2d::square(self.graph.shape(self.at).c, out_c, kernel, stride, kernel / 2), false)
    }

    /// A convolution, initialised N(0, √(2 / (k² C_out / groups))) (SPEC 1.0), with a bias of zeros or none.
    fn convolution(&mut self, name: &str, conv: Conv2d, biased: bool) -> Result<EdgeId, GraphError> {
        self.reserve(name, conv.weights())?;
        let fan_out = conv.kernel[0] * conv.kernel[1] * conv.out_c / conv.groups;
        let sigma = (2.0 / fan_out as f64).sqrt();
        let key = format!("{name}.weight");
        let values = self.draw(&key, conv.weights(), sigma);
        let dims = [conv.out_c, conv.kernel[0], conv.kernel[1], conv.in_c / conv.groups];
        let mut params = vec![self.graph.add_param(&key, &dims, ParamKind::Weight, values)];
        if biased {
            params.push(self.zero_bias(name, conv.out_c));
        }
        self.at = self.graph.add_node(name, Op::Conv2d(conv), &[self.at], &params)?;
        Ok(self.at)
    }

    /// Random weights, or none for a network of shape only.
    fn draw(&self, key: &str, weights: usize, sigma: f64) -> ParamValue {
        if self.shape_only {
            return ParamValue::ShapeOnly(weights);
        }
        ParamValue::F32(seed::normal(self.spec.seed, key, weights, sigma))
    }

    fn zero_bias(&mut self, name: &str, outputs: usize) -> ParamId {
        let zeros = ParamValue::F32(vec![0.0; outputs]);
        self.graph.add_param(&format!("{name}.bias"), &[outputs], ParamKind::Bias, zeros)
    }

    /// A batch norm that is the identity up to its epsilon, that of PyTorch.
    fn batch_norm(&mut self, name: &str) -> Result<EdgeId, GraphError> {
        self.batch_norm_of(name, 1e-5)
    }

    fn batch_norm_of(&mut self, name: &str, epsilon: f32) -> Result<EdgeId, GraphError> {
        let channels = self.graph.shape(self.at).c;
        self.at = self.graph.add_batch_norm(name, self.at, BatchNorm { channels, epsilon })?;
        Ok(self.at)
    }

    fn relu(&mut self, name: &str) -> Result<EdgeId, GraphError> {
        self.add(name, Op::Activation(Activation::Relu))
    }

    /// The classifier: mean over positions, then a linear layer with bias.
    fn classifier(&mut self) -> Result<EdgeId, GraphError> {
        self.add("pool", Op::Mean)?;
        self.linear("fc", self.spec.classes)
    }

    /// A linear layer, initialised N(0, 1 / √inputs), with a bias of zeros.
    fn linear(&mut self, name: &str, outputs: usize) -> Result<EdgeId, GraphError> {
        let linear = Linear { inputs: self.graph.shape(self.at).elements(), outputs };
        self.reserve(name, linear.inputs.saturating_mul(linear.outputs))?;
        let sigma = 1.0 / (linear.inputs as f64).sqrt();
        let key = format!("{name}.weight");
        let values = self.draw(&key, linear.inputs * linear.outputs, sigma);
        let dims = [linear.outputs, linear.inputs];
        let weight = self.graph.add_param(&key, &dims, ParamKind::Weight, values);
        let bias = self.zero_bias(name, outputs);
        self.at = self.graph.add_node(name, Op::Linear(linear), &[self.at], &[weight, bias])?;
        Ok(self.at)
    }
}
