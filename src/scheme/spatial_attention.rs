//! Spatial attention on the maps at stage boundaries (Aswani et al. 2021, the design before the
//! adaptive one).

use super::options::Options;
use super::{Placing, Scheme, SchemeError, Sites};
use crate::adapter::spatial_attention;

pub const SCHEME: Scheme = Scheme {
    name: "spatial-attention",
    about: "a 7x7 spatial mask from channel mean and maximum",
    paper: "Aswani et al. 2021",
    crosses: "the maps at stage boundaries out; masks of one channel in",
    options: &[("gate", "sigmoid|2sigmoid"), ("return", "mask|map"), ("init", "he|zero")],
    default_sites: Some(Sites::BeforeEachStage),
    trains_norm: true,
    counted_only: None,
    apply,
};

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let (gate, back, init) = (options.gate()?, options.back()?, options.init()?);
    for (site, edge) in placing.chosen_maps()? {
        let site = format!("spatial.{site}");
        spatial_attention::insert(&mut placing.graph, edge, &site, gate, back, init, placing.seed)
            .map_err(|e| placing.graph_error(e))?;
    }
    Ok(())
}
