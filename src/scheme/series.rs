//! Series residual adapters behind the trunk's convolutions (Rebuffi et al. 2017).

use super::options::Options;
use super::{Placing, Scheme, SchemeError, Sites};
use crate::adapter::series;
use crate::graph::{EdgeId, NodeId};
use crate::op::Op;

pub const SCHEME: Scheme = Scheme {
    name: "series",
    about: "1x1 adapters with a batch norm of their own behind the trunk's convolutions, where the chip must then \
            round (at=layer: on the map that the layer ends with, which it rounds anyway)",
    paper: "Rebuffi et al. 2017",
    crosses: "what every convolution makes out; the adapted map in its place in",
    options: &[("at", "conv|layer"), ("init", "he|zero")],
    default_sites: Some(Sites::All),
    trains_norm: true,
    counted_only: None,
    apply,
};

/// Where an adapter sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the batch norm, as in the paper. The chip must round there what it would not have.
    Conv,
    /// On the map that the layer ends with, whose codes the chip has anyway.
    Layer,
}

fn apply(placing: &mut Placing, options: &mut Options) -> Result<(), SchemeError> {
    let at = options.choice("at", At::Conv, &[("conv", At::Conv), ("layer", At::Layer)])?;
    let init = options.init()?;
    for conv in placing.chosen_convs()? {
        let (edge, site) = (placing.series_map(conv, at), format!("series.{}", placing.graph.node(conv).name));
        series::insert(&mut placing.graph, edge, &site, init, placing.seed).map_err(|e| placing.graph_error(e))?;
    }
    Ok(())
}

impl Placing {
    /// The map behind a convolution that is adapted. An imported layer has codes only at its end: where
    /// the chosen map has none, the next one does.
    fn series_map(&self, conv: NodeId, at: At) -> EdgeId {
        let graph = &self.graph;
        let calibrated = graph.edge(graph.input).quant.is_some();
        let mut edge = graph.node(conv).output;
        while let Some(next) = graph.sole_consumer(edge) {
            let fuses = match &graph.node(next).op {
                Op::BatchNorm(_) => true,
                Op::Activation(a) => a.clamp().is_some(),
                _ => false,
            };
            let has_codes = !calibrated || graph.edge(edge).quant.is_some();
            if !fuses || (at == At::Conv && has_codes) {
                break;
            }
            edge = graph.node(next).output;
        }
        edge
    }
}
