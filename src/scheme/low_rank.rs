//! Parallel adapters of low rank beside the trunk's convolutions.

use super::options::Options;
use super::{Placing, Scheme, SchemeError, Sites};
use crate::adapter::{Filters, low_rank};

pub const SCHEME: Scheme = Scheme {
    name: "low-rank",
    about: "parallel adapters as two 1x1 convolutions through few channels (default rank c/8)",
    paper: "Rebuffi et al. 2018, 3.4",
    crosses: "what every convolution reads out; a sum into its accumulator in",
    options: &[("rank", "N|c/N"), ("init", "he|zero"), ("beta", "trained|frozen")],
    default_sites: Some(Sites::All),
    trains_norm: true,
    counted_only: None,
    apply,
};

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let (rank, init) = (options.filters("rank", Filters::ChannelsOver(8))?, options.init()?);
    // β of several tasks that were compressed together is theirs all: only γ is a task's own.
    let trains = options.choice("beta", true, &[("trained", true), ("frozen", false)])?;
    for conv in placing.chosen_convs()? {
        let beta = low_rank::insert(&mut placing.graph, conv, rank, init, placing.seed);
        let beta = beta.map_err(|e| placing.graph_error(e))?;
        placing.graph.params[beta.index()].trainable = trains;
    }
    Ok(())
}
