//! CBAM (Woo et al. 2018): a gate per channel from the map's means and maxima through one perceptron,
//! then a gate per position from the channels' means and maxima, 7×7 with a batch norm.
//!
//! The perceptron sees both descriptors as two positions of one map, so its weights are shared; the
//! gate is of their mean where the paper has their sum, a factor that the last weights carry. The
//! position gate sees [mean, max] where the paper's code has [max, mean]. Where the trunk multiplies,
//! the map crosses once: the adapter device makes the channel-gated map again for itself.

use super::{Build, Filters, Gate, Init, Return};
use crate::graph::{EdgeId, Graph, GraphError};
use crate::op::{Conv2d, Op, Pool};
use crate::tensor::Shape;

/// Which gates a module has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gates {
    Both,
    Channel,
    Spatial,
}

/// The choices of one module.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub gates: Gates,
    pub hidden: Filters,
    pub gate: Gate,
    pub back: Return,
    pub init: Init,
}

/// Gates the map `edge` at the site `site`.
pub fn insert(graph: &mut Graph, edge: EdgeId, site: &str, options: Options, seed: u64) -> Result<(), GraphError> {
    let first = graph.nodes.len();
    let mut build = Build { graph, site: site.into(), seed };
    let (gate, back) = (options.gate, options.back);
    let (mut seen, mut product) = (edge, edge);
    if options.gates != Gates::Spatial {
        let mask = channel_mask(&mut build, edge, options)?;
        product = build.product("channel.product", [edge, mask], gate, back)?;
        seen = match back {
            Return::Mask if options.gates == Gates::Both => build.on_device("channel.seen", Op::Mul, &[edge, mask])?,
            _ => product,
        };
    }
    if options.gates != Gates::Channel {
        let pooled = build.on_device("channel-pool", Op::ChannelPool, &[seen])?;
        let f = build.conv("f", Conv2d::square(2, 1, 7, 1, 3), pooled, 0.01, options.init)?;
        let logit = build.batch_norm("bn", f, 1.0)?;
        let mask = build.gate("mask", gate, logit)?;
        product = build.product("product", [product, mask], gate, back)?;
    }
    let own = build.since(first);
    build.stand_in(edge, product, &own);
    Ok(())
}

fn channel_mask(build: &mut Build<'_>, edge: EdgeId, options: Options) -> Result<EdgeId, GraphError> {
    let map = build.graph.shape(edge);
    let means = build.on_device("channel.mean", Op::Mean, &[edge])?;
    let whole = Pool { kernel: [map.h, map.w], stride: [map.h, map.w], pad: [0; 4] };
    let maxima = build.on_device("channel.max", Op::MaxPool(whole), &[edge])?;
    let both = build.on_device("channel.both", Op::Concat, &[means, maxima])?;
    let rows = build.on_device("channel.rows", Op::Reshape(Shape::new(2, 1, map.c)), &[both])?;
    let logits = build.perceptron(rows, options.hidden.count(map.c), options.init)?;
    let logit = build.on_device("channel.logit", Op::Mean, &[logits])?;
    build.gate("channel.mask", options.gate, logit)
}
