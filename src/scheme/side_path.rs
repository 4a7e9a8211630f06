//! A side path from the image, added to the trunk at stage boundaries (after Rep-Net, Yang et al. 2022).

use super::options::Options;
use super::{Placing, Scheme, SchemeError, Sites};
use crate::adapter::{Filters, side_path};

pub const SCHEME: Scheme = Scheme {
    name: "side-path",
    about: "a small network of its own beside the trunk, added to it at the end of every stage (default \
            width c/4); the connections between its modules are our reconstruction",
    paper: "Rep-Net, Yang et al. 2022",
    crosses: "the image, pooled or not, out; what is added at every stage in",
    options: &[("width", "N|c/N"), ("pool", "N"), ("tap", "map|pooled")],
    default_sites: Some(Sites::AfterEachStage),
    trains_norm: false,
    counted_only: None,
    apply,
};

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let chosen = side_path::Options {
        width: options.filters("width", Filters::ChannelsOver(4))?,
        pool: options.count("pool", 4)?,
        tap: options.tap()?,
    };
    let junctions = placing.chosen_junctions()?;
    side_path::insert(&mut placing.graph, &junctions, chosen, placing.seed).map_err(|e| placing.graph_error(e))
}
