//! A side path (after Rep-Net, Yang et al. 2022): the image, averaged, runs through a small network of
//! the adapter's own, which adds something to the trunk at every junction. It taps no map of the trunk.
//!
//! Reconstructed: a module's hidden map goes on to the next module, and an expansion that starts at zero
//! is what it adds.

use super::additive::Junction;
use super::{Build, Filters, Tapped};
use crate::graph::{Graph, GraphError};

/// The choices of a path.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The path's width beside that of the junction's map.
    pub width: Filters,
    /// How the image is averaged.
    pub pool: usize,
    pub tap: Tapped,
}

/// The site of what the path makes of the image.
pub const IMAGE: &str = "side.image";

/// Adds a path through the junctions, which lie along the trunk, each with the name of its site.
pub fn insert(
    graph: &mut Graph,
    junctions: &[(String, Junction)],
    options: Options,
    seed: u64,
) -> Result<(), GraphError> {
    let image = graph.input;
    let mut build = Build { graph, site: IMAGE.into(), seed };
    let mut state = build.pooled("pool", image, [options.pool; 2], options.tap)?;
    for (site, junction) in junctions {
        build.site = format!("side.{site}");
        let first = build.graph.nodes.len();
        let (seen, branch) = (build.graph.shape(state), build.graph.shape(junction.branch));
        // Down to half the junction's map, as far as whole strides come.
        let stride = |seen: usize, branch: usize| seen.div_ceil(branch.div_ceil(2)).max(1);
        let stride = [stride(seen.h, branch.h), stride(seen.w, branch.w)];
        state = build.spatial("w1", state, options.width.count(branch.c), stride)?;
        let added = build.expansion("w2", state, branch.c)?;
        // What is enlarged in the trunk crosses small.
        build.join(*junction, added, options.tap, first)?;
    }
    Ok(())
}
