//! Parallel residual adapter: `y = BN(f⋆x + α⋆x)`, α a 1×1 convolution with the stride of f, its
//! result added to the accumulator before requantisation (Rebuffi et al. 2018, section 3.1).

use super::{Build, Init};
use crate::graph::{Graph, GraphError, NodeId};
use crate::op::{Conv2d, Op};
use crate::units::HardwareDomain;

/// Adds a parallel adapter beside the trunk convolution `conv`, whose own input alone loses channels with
/// the probability `dropout`.
pub fn insert(graph: &mut Graph, conv: NodeId, init: Init, dropout: f64, seed: u64) -> Result<(), GraphError> {
    let trunk = graph.node(conv).clone();
    let Op::Conv2d(f) = &trunk.op else {
        return Err(GraphError::Node { node: trunk.name, why: "a parallel adapter sits beside a convolution".into() });
    };
    let alpha = Conv2d { kernel: [1, 1], stride: f.stride, pad: [0; 4], ..Conv2d::square(f.in_c, f.out_c, 1, 1, 0) };
    let readers = graph.consumers(trunk.output);
    let mut build = Build { graph, site: format!("parallel.{}", trunk.name), seed };
    let sigma = (2.0 / f.out_c as f64).sqrt();
    let input = build.dropout("dropout", trunk.inputs[0], dropout, true)?;
    let added = build.conv("alpha", alpha, input, sigma, init)?;
    let sum = build.node("sum", Op::Add, &[trunk.output, added], &[], HardwareDomain::Trunk)?;
    graph.move_codes(trunk.output, sum);
    for reader in readers {
        graph.rewire(reader, trunk.output, sum);
    }
    if graph.output == trunk.output {
        graph.output = sum;
    }
    Ok(())
}
