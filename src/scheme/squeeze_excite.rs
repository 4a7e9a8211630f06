//! Squeeze-and-excitation gates on the maps of blocks (Hu et al. 2018).

use super::options::Options;
use super::{Placing, Scheme, SchemeError, Sites};
use crate::adapter::{Filters, squeeze_excite};

pub const SCHEME: Scheme = Scheme {
    name: "squeeze-excite",
    about: "a gate per channel from the channels' means (default hidden width c/16)",
    paper: "Hu et al. 2018",
    crosses: "the blocks' maps, or their means, out; one factor per channel in",
    options: &[
        ("hidden", "N|c/N"),
        ("gate", "sigmoid|2sigmoid"),
        ("return", "mask|map"),
        ("init", "he|zero"),
        ("tap", "map|pooled"),
    ],
    default_sites: Some(Sites::EachBlock),
    trains_norm: true,
    counted_only: None,
    apply,
};

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let (tap, back) = options.tap_and_back()?;
    let chosen = squeeze_excite::Options {
        hidden: options.filters("hidden", Filters::ChannelsOver(16))?,
        gate: options.gate()?,
        back,
        init: options.init()?,
        tap,
    };
    for (site, edge) in placing.chosen_maps()? {
        let site = format!("se.{site}");
        squeeze_excite::insert(&mut placing.graph, edge, &site, chosen, placing.seed)
            .map_err(|e| placing.graph_error(e))?;
    }
    Ok(())
}
