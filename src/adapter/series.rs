//! Series residual adapter: `ρ(z) = z + A⋆BN(z)`, A a 1×1 convolution, BN the adapter's own (Rebuffi et
//! al. 2017). The map leaves the trunk and what comes back takes its place.

use super::{Build, Init};
use crate::graph::{EdgeId, Graph, GraphError};
use crate::op::{Conv2d, Op};

/// Adapts the map `edge` at the site `site`.
pub fn insert(graph: &mut Graph, edge: EdgeId, site: &str, init: Init, seed: u64) -> Result<(), GraphError> {
    let (first, channels) = (graph.nodes.len(), graph.shape(edge).c);
    let mut build = Build { graph, site: site.into(), seed };
    let normed = build.batch_norm("bn", edge, 1.0)?;
    let sigma = (2.0 / channels as f64).sqrt();
    let adapted = build.conv("a", Conv2d::square(channels, channels, 1, 1, 0), normed, sigma, init)?;
    let sum = build.on_device("sum", Op::Add, &[edge, adapted])?;
    build.graph.edge_mut(sum).quant = build.graph.edge(edge).quant;
    let own = build.since(first);
    build.stand_in(edge, sum, &own);
    Ok(())
}
