//! Parallel residual adapters beside the trunk's convolutions (Rebuffi et al. 2018).

use super::options::Options;
use super::{Placing, Scheme, SchemeError, Sites};
use crate::adapter::parallel;

pub const SCHEME: Scheme = Scheme {
    name: "parallel",
    about: "1x1 adapters parallel to the trunk's convolutions, added to their accumulators",
    paper: "Rebuffi et al. 2018",
    crosses: "what every convolution reads out; a sum into its accumulator in",
    options: &[("init", "he|zero"), ("dropout", "P of whole channels of the adapters' inputs, in training")],
    default_sites: Some(Sites::All),
    trains_norm: true,
    counted_only: None,
    apply,
};

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let (init, dropout) = (options.init()?, options.dropout()?);
    for conv in placing.chosen_convs()? {
        parallel::insert(&mut placing.graph, conv, init, dropout, placing.seed).map_err(|e| placing.graph_error(e))?;
    }
    Ok(())
}
