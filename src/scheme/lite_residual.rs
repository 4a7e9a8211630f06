//! Lite residual modules beside blocks (TinyTL, Cai et al. 2020).

use super::options::Options;
use super::{Placing, Scheme, SchemeError, Sites};
use crate::adapter::lite_residual;

pub const SCHEME: Scheme = Scheme {
    name: "lite-residual",
    about: "a small residual module across every block, at half its resolution, with the trunk's biases",
    paper: "TinyTL, Cai et al. 2020",
    crosses: "the blocks' inputs, pooled or not, out; what is added to them in",
    options: &[("pool", "N"), ("tap", "map|pooled"), ("bias", "true|false")],
    default_sites: Some(Sites::EachBlock),
    trains_norm: true,
    counted_only: None,
    apply,
};

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let chosen = lite_residual::Options { pool: options.count("pool", 2)?, tap: options.tap()? };
    placing.train_shifts_only(options.flag("bias", true)?);
    // Last first: of plain blocks, one makes what the next one reads.
    for (site, at) in placing.chosen_junctions()?.into_iter().rev() {
        let site = format!("lite.{site}");
        lite_residual::insert(&mut placing.graph, at, &site, chosen, placing.seed)
            .map_err(|e| placing.graph_error(e))?;
    }
    Ok(())
}
