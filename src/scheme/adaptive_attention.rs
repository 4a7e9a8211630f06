//! Adaptive attention on the maps at stage boundaries (Aswani et al. 2021).

use super::options::Options;
use super::{Placing, Scheme, SchemeError, Sites};
use crate::adapter::{Filters, adaptive_attention};

pub const SCHEME: Scheme = Scheme {
    name: "adaptive-attention",
    about: "a 7x7 spatial mask from learned channel mixtures (default m=2)",
    paper: "Aswani et al. 2021",
    crosses: "the maps at stage boundaries out; masks of one channel in",
    options: &[
        ("m", "N|c/N"),
        ("gate", "sigmoid|2sigmoid"),
        ("return", "mask|map"),
        ("init", "he|zero"),
        ("tap", "map|pooled"),
    ],
    default_sites: Some(Sites::BeforeEachStage),
    trains_norm: true,
    counted_only: None,
    apply,
};

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let (tap, back) = options.tap_and_back()?;
    let chosen = adaptive_attention::Options {
        m: options.filters("m", Filters::Fixed(2))?,
        gate: options.gate()?,
        back,
        init: options.init()?,
        tap,
    };
    for (site, edge) in placing.chosen_maps()? {
        let site = format!("attention.{site}");
        adaptive_attention::insert(&mut placing.graph, edge, &site, chosen, placing.seed)
            .map_err(|e| placing.graph_error(e))?;
    }
    Ok(())
}
