//! Additive attention beside blocks (after DA³, Yang & Fan 2020).

use super::options::Options;
use super::{Placing, Scheme, SchemeError, Sites};
use crate::adapter::{Filters, additive_attention, lite_residual};

pub const SCHEME: Scheme = Scheme {
    name: "da3",
    about: "something small added to every block, so that no map need be kept, with the trunk's biases; \
            our reconstruction (only the paper's abstract was at hand)",
    paper: "Yang & Fan 2020, reconstructed",
    crosses: "the blocks' inputs, pooled or not, out; what is added to them in",
    options: &[("form", "attn|res"), ("m", "N|c/N"), ("pool", "N"), ("tap", "map|pooled"), ("bias", "true|false")],
    default_sites: Some(Sites::EachBlock),
    trains_norm: true,
    counted_only: None,
    apply,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Attention,
    Residual,
}

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let form = options.choice("form", Form::Attention, &[("attn", Form::Attention), ("res", Form::Residual)])?;
    let m = options.filters("m", Filters::Fixed(2))?;
    let (pool, tap) = (options.count("pool", 2)?, options.tap()?);
    placing.train_shifts_only(options.flag("bias", true)?);
    // Last first: of plain blocks, one makes what the next one reads.
    for (site, at) in placing.chosen_junctions()?.into_iter().rev() {
        let (site, graph, seed) = (format!("da3.{site}"), &mut placing.graph, placing.seed);
        let inserted = match form {
            Form::Attention => {
                additive_attention::insert(graph, at, &site, additive_attention::Options { m, pool, tap }, seed)
            }
            Form::Residual => lite_residual::insert(graph, at, &site, lite_residual::Options { pool, tap }, seed),
        };
        inserted.map_err(|e| placing.graph_error(e))?;
    }
    Ok(())
}
