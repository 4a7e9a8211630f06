//! Adaptive attention on the maps at stage boundaries (Aswani et al. 2021).

use super::options::Options;
use super::{Placing, Scheme, SchemeError, Sites};
use crate::adapter::adaptive_attention;

pub const SCHEME: Scheme = Scheme {
    name: "adaptive-attention",
    about: "a 7x7 spatial mask from learned channel mixtures (default m=2)",
    options: &[("m", "N|c/N"), ("gate", "sigmoid|2sigmoid"), ("return", "mask|map"), ("init", "he|zero")],
    default_sites: Some(Sites::BeforeEachStage),
    trains_norm: true,
    apply,
};

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let chosen = adaptive_attention::Options {
        m: options.filters()?,
        gate: options.gate()?,
        back: options.back()?,
        init: options.init()?,
    };
    for (site, edge) in placing.chosen_maps()? {
        let site = format!("attention.{site}");
        adaptive_attention::insert(&mut placing.graph, edge, &site, chosen, placing.seed)
            .map_err(|e| placing.graph_error(e))?;
    }
    Ok(())
}
