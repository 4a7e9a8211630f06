//! CBAM's channel and spatial gates on the maps of blocks (Woo et al. 2018).

use super::options::Options;
use super::{Placing, Scheme, SchemeError, Sites};
use crate::adapter::Filters;
use crate::adapter::cbam::{self, Gates};

pub const SCHEME: Scheme = Scheme {
    name: "cbam",
    about: "a gate per channel, then one per position (default hidden width c/16)",
    paper: "Woo et al. 2018",
    crosses: "the blocks' maps out; one factor per channel and one per position in",
    options: &[
        ("gates", "both|channel|spatial"),
        ("hidden", "N|c/N"),
        ("gate", "sigmoid|2sigmoid"),
        ("return", "mask|map"),
        ("init", "he|zero"),
    ],
    default_sites: Some(Sites::EachBlock),
    trains_norm: true,
    counted_only: None,
    apply,
};

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let gates = [("both", Gates::Both), ("channel", Gates::Channel), ("spatial", Gates::Spatial)];
    let chosen = cbam::Options {
        gates: options.choice("gates", Gates::Both, &gates)?,
        hidden: options.filters("hidden", Filters::ChannelsOver(16))?,
        gate: options.gate()?,
        back: options.back()?,
        init: options.init()?,
    };
    for (site, edge) in placing.chosen_maps()? {
        let site = format!("cbam.{site}");
        cbam::insert(&mut placing.graph, edge, &site, chosen, placing.seed).map_err(|e| placing.graph_error(e))?;
    }
    Ok(())
}
