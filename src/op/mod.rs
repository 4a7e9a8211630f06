//! The operations a graph is made of: one file per operation, each with its shape rule, its work,
//! what it reads, and its plain int8 reference loop (the definition the fast engine is held to).
//!
//! An operation here is attributes only. It owns no weights (the graph does), knows no hardware
//! domain, and has no float loop: the float definition of an operation is the twin of the kernel
//! that it lowers to (`kernel`).

use crate::tensor::Shape;
use serde::{Deserialize, Serialize};

pub mod activation;
pub mod add;
pub mod batch_norm;
pub mod channel_pool;
pub mod concat;
pub mod conv2d;
pub mod conv2d_grad;
mod counts;
pub mod dropout;
mod gate;
pub mod hard_swish;
pub mod linear;
pub mod mean;
pub mod mul;
mod output;
pub mod pad;
pub mod pool;
pub mod product;
pub mod requantise;
pub mod reshape;
pub mod softmax;
pub mod table;
pub mod transpose;
pub mod upsample;

pub use activation::Activation;
pub use batch_norm::BatchNorm;
pub use conv2d::Conv2d;
pub use counts::Counts;
pub use dropout::Dropout;
pub use linear::Linear;
pub use output::{Output, Registers};
pub use pad::Pad;
pub use pool::Pool;
pub use softmax::Softmax;
pub use table::Table;
pub use transpose::Transpose;
pub use upsample::Upsample;

/// One operation. Every variant's rules live in the file of its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Op {
    /// 2-D convolution, grouped or not; parameters: weight `[out][kh][kw][in/groups]`, optional bias `[out]`.
    Conv2d(Conv2d),
    /// Fully connected; parameters: weight `[out][in]`, optional bias `[out]`. Flattens its input.
    Linear(Linear),
    /// Inference batch norm; parameters: gamma, beta, running mean, running variance, each `[c]`.
    BatchNorm(BatchNorm),
    /// An elementwise function of one map.
    Activation(Activation),
    /// Elementwise sum of two maps of one shape.
    Add,
    /// Elementwise product; the second operand may be h×w×1 (a mask) or 1×1×c and is broadcast.
    Mul,
    AvgPool(Pool),
    MaxPool(Pool),
    /// Mean over all positions: h×w×c to 1×1×c.
    Mean,
    /// Zero padding in space and in channels.
    Pad(Pad),
    /// Concatenation along channels.
    Concat,
    /// The same elements in the same order under another shape.
    Reshape(Shape),
    /// Height, width and channels in another order.
    Transpose(Transpose),
    /// Enlargement by whole factors.
    Upsample(Upsample),
    /// Softmax over channels.
    Softmax(Softmax),
    /// Mean and maximum over channels: h×w×c to h×w×2, order [mean, max].
    ChannelPool,
    /// Elements or channels left out at random while something learns, an identity otherwise.
    Dropout(Dropout),
    /// A map under new quantisation parameters (an identity on real values).
    Requantise,
}

/// Which positions of its input map an operation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Every position.
    All,
    /// Every `stride`-th row and column, starting at the first: a strided 1×1 convolution.
    Strided { h: usize, w: usize },
}

impl Op {
    /// The field's name of the operation, as printed in tables and errors.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv2d(_) => "conv2d",
            Op::Linear(_) => "linear",
            Op::BatchNorm(_) => "batch-norm",
            Op::Activation(a) => a.name(),
            Op::Add => "add",
            Op::Mul => "mul",
            Op::AvgPool(_) => "avg-pool",
            Op::MaxPool(_) => "max-pool",
            Op::Mean => "mean",
            Op::Pad(_) => "pad",
            Op::Concat => "concat",
            Op::Reshape(_) => "reshape",
            Op::Transpose(_) => "transpose",
            Op::Upsample(_) => "upsample",
            Op::Softmax(_) => "softmax",
            Op::ChannelPool => "channel-pool",
            Op::Dropout(_) => "dropout",
            Op::Requantise => "requantise",
        }
    }

    /// The output shape for these input shapes, or why there is none.
    pub fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match self {
            Op::Conv2d(o) => o.output_shape(only(inputs)?),
            Op::Linear(o) => o.output_shape(only(inputs)?),
            Op::BatchNorm(o) => o.output_shape(only(inputs)?),
            Op::Activation(_) | Op::Dropout(_) | Op::Requantise => only(inputs),
            Op::Softmax(_) => only(inputs),
            Op::Add => add::output_shape(inputs),
            Op::Mul => mul::output_shape(inputs),
            Op::AvgPool(o) | Op::MaxPool(o) => o.output_shape(only(inputs)?),
            Op::Mean => Ok(mean::output_shape(only(inputs)?)),
            Op::Pad(o) => o.output_shape(only(inputs)?),
            Op::Concat => concat::output_shape(inputs),
            Op::Transpose(o) => o.output_shape(only(inputs)?),
            Op::Upsample(o) => o.output_shape(only(inputs)?),
            Op::Reshape(to) => reshape::output_shape(only(inputs)?, *to),
            Op::ChannelPool => Ok(channel_pool::output_shape(only(inputs)?)),
        }
    }

    /// Multiply-accumulates for one image: convolution and linear layers only.
    pub fn macs(&self, inputs: &[Shape], output: Shape) -> u64 {
        match self {
            Op::Conv2d(o) => o.macs(inputs[0], output),
            Op::Linear(o) => o.macs(),
            _ => 0,
        }
    }

    /// How many elements each parameter of the operation has, in the order a node owns them; a
    /// trailing bias is optional.
    pub fn param_lengths(&self) -> Vec<usize> {
        match self {
            Op::Conv2d(o) => vec![o.weights(), o.out_c],
            Op::Linear(o) => vec![o.inputs * o.outputs, o.outputs],
            Op::BatchNorm(o) => vec![o.channels; 4],
            _ => vec![],
        }
    }

    /// The positions of its map inputs that this operation reads.
    pub fn reads(&self) -> Reads {
        match self {
            Op::Conv2d(o) => o.reads(),
            _ => Reads::All,
        }
    }
}

/// The single input's shape.
fn only(inputs: &[Shape]) -> Result<Shape, String> {
    match inputs {
        [one] => Ok(*one),
        _ => Err(format!("takes one input, has {}", inputs.len())),
    }
}
