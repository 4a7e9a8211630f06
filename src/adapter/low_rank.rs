//! Low-rank parallel adapter: `y = BN(f⋆x + β⋆(γ⋆x))`, γ into `rank` channels with the stride of f, β out
//! of them; their product is a parallel adapter of that rank (Rebuffi et al. 2018, section 3.4).

use super::{Build, Filters, Init};
use crate::graph::{Graph, GraphError, NodeId, ParamId};
use crate::op::{Conv2d, Op};
use crate::units::HardwareDomain;

/// Adds a low-rank adapter beside the trunk convolution `conv`. `init` is β's: with zeros the adapter
/// does nothing at first, and γ's random start lets β learn. Gives β's weight.
pub fn insert(graph: &mut Graph, conv: NodeId, rank: Filters, init: Init, seed: u64) -> Result<ParamId, GraphError> {
    let trunk = graph.node(conv).clone();
    let Op::Conv2d(f) = &trunk.op else {
        return Err(GraphError::Node { node: trunk.name, why: "a low-rank adapter sits beside a convolution".into() });
    };
    let rank = rank.count(f.in_c.min(f.out_c));
    let mut build = Build { graph, site: format!("low-rank.{}", trunk.name), seed };
    let first = build.graph.nodes.len();
    let gamma = Conv2d { stride: f.stride, ..Conv2d::square(f.in_c, rank, 1, 1, 0) };
    let sigma = |inputs: usize| (1.0 / inputs as f64).sqrt();
    let inner = build.conv("gamma", gamma, trunk.inputs[0], sigma(f.in_c), Init::He)?;
    let added = build.conv("beta", Conv2d::square(rank, f.out_c, 1, 1, 0), inner, sigma(rank), init)?;
    let beta = ParamId(build.graph.params.len() as u32 - 1);
    let sum = build.node("sum", Op::Add, &[trunk.output, added], &[], HardwareDomain::Trunk)?;
    build.graph.move_codes(trunk.output, sum);
    let own = build.since(first);
    build.stand_in(trunk.output, sum, &own);
    Ok(beta)
}
