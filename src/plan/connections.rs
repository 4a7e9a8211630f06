//! The papers' count of connections: a filter over the derived taps.
//!
//! Preset `aswani2021` (Aswani et al. 2021, Table 3): elements of one image, forward only; the
//! adapter beside the stem, the head and residual shortcuts are not counted.

use super::tap::Tap;
use crate::adapter::side_path;
use crate::graph::Node;
use crate::scheme::Placed;
use crate::units::{Direction, HardwareDomain, Phase};
use serde::{Deserialize, Serialize};

/// Elements that cross for one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connections {
    pub tap_out: u64,
    pub tap_in: u64,
    /// `tap_out + tap_in`, under the preset.
    pub total: u64,
    /// Every forward element, nothing left out.
    pub unfiltered: u64,
}

/// Counts the connections of a placed graph under `aswani2021`.
pub fn count(placed: &Placed, taps: &[Tap]) -> Connections {
    let mut counts = Connections::default();
    for tap in taps.iter().filter(|t| t.phase == Phase::Forward) {
        counts.unfiltered += tap.elements;
        if is_counted(placed, tap) {
            match tap.direction {
                Direction::TapOut => counts.tap_out += tap.elements,
                Direction::TapIn => counts.tap_in += tap.elements,
            }
        }
    }
    counts.total = counts.tap_out + counts.tap_in;
    counts
}

/// Whether the preset counts a tap: some use of it is no head, no shortcut and no stem adapter.
fn is_counted(placed: &Placed, tap: &Tap) -> bool {
    let Some(crossing) = &tap.crossing else { return false };
    let graph = &placed.graph;
    // A tap-in belongs to the adapter that made it, a tap-out to the ones that read it.
    let adapters = match tap.direction {
        Direction::TapOut => crossing.consumers.clone(),
        Direction::TapIn => graph.edge(crossing.edge).producer.into_iter().collect(),
    };
    adapters.into_iter().any(|node| {
        let head = placed.structure.head.contains(&node);
        let shortcut = placed.structure.is_shortcut_use(node, crossing.edge);
        !head && !shortcut && !adapts_stem(placed, node)
    })
}

/// Whether `node` belongs to an adapter beside the stem: it reads the network's input, as an
/// inserted module and not as the moved stem itself, nor as a path of its own.
fn adapts_stem(placed: &Placed, node: crate::graph::NodeId) -> bool {
    let graph = &placed.graph;
    let beside = graph.node(node).site.as_deref().is_some_and(|site| site != side_path::IMAGE);
    let on_device = |n: &Node| n.domain == HardwareDomain::Adapter;
    let own = graph.node(node);
    // A module may take several nodes; its first reads the image.
    let reads_image = |n: &Node| n.site == own.site && on_device(n) && n.inputs.contains(&graph.input);
    beside && on_device(own) && graph.nodes.iter().any(reads_image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::model::zoo::ZooSpec;
    use crate::plan::tap::{TapPrecision, taps};
    use crate::scheme::{BatchNormMode, Request, SchemeSpec, Sites, place};

    fn resnet26(side: usize) -> Graph {
        ZooSpec::parse("resnet26", Some(side), Some(10), 1).unwrap().build().unwrap()
    }

    /// Elements out of and into the trunk for one image of resnet26, the head's 256 features left out.
    fn crossing_of(trunk: &Graph, scheme: &str, sites: Option<Sites>) -> [u64; 2] {
        let batch_norm = Some(BatchNormMode::Frozen);
        let request = Request { scheme: SchemeSpec(scheme.into()), sites, batch_norm, seed: 1 };
        let placed = place(trunk, &request).unwrap();
        let taps = taps(&placed, TapPrecision::codes(8)).unwrap();
        let of = |direction| {
            let forward = taps.iter().filter(|t| t.phase == Phase::Forward && t.direction == direction);
            forward.map(|t| t.elements).sum::<u64>()
        };
        let [out, back] = [of(Direction::TapOut), of(Direction::TapIn)];
        [if scheme == "fine-tune" { out } else { out - 256 }, back]
    }

    /// Under the preset the image of a side path counts, whichever side averages it.
    #[test]
    fn a_side_path_is_no_adapter_beside_the_stem() {
        let trunk = resnet26(64);
        for (scheme, image) in [("side-path", 3 * 64 * 64), ("side-path:tap=pooled", 3 * 16 * 16)] {
            let request = Request { scheme: SchemeSpec(scheme.into()), sites: None, batch_norm: None, seed: 1 };
            let placed = place(&trunk, &request).unwrap();
            let taps = taps(&placed, TapPrecision::codes(8)).unwrap();
            assert_eq!(count(&placed, &taps).tap_out, image, "{scheme}");
        }
    }

    /// SPEC 3.2.
    #[test]
    fn what_crosses_is_the_table() {
        let trunks = [resnet26(64), resnet26(72)];
        let crossing = |scheme: &str, sites, side| crossing_of(&trunks[usize::from(side == 72)], scheme, sites);
        for (scheme, sites, at_64, total_at_72) in [
            ("fine-tune", None, [12_288, 0], 15_552),
            ("parallel", Some(Sites::AllButStem), [860_160, 917_504], 2_249_856),
            ("parallel", None, [872_448, 1_048_576], 2_431_296),
            ("low-rank", None, [872_448, 1_048_576], 2_431_296),
            ("parallel", Some(Sites::Half), [458_752, 458_752], 1_161_216),
            ("series", None, [1_048_576, 1_048_576], 2_654_208),
            ("adaptive-attention", None, [229_376, 5_376], 297_108),
            ("spatial-attention", None, [229_376, 5_376], 297_108),
            ("adaptive-attention:return=map", None, [229_376, 229_376], 580_608),
            ("da3", None, [573_440, 458_752], 1_306_368),
            ("da3:form=res", None, [573_440, 458_752], 1_306_368),
            ("lite-residual", None, [573_440, 458_752], 1_306_368),
            ("head-only", None, [0, 0], 0),
            // The features before they are averaged.
            ("head-only:tap=map", None, [16_384 - 256, 0], 20_736 - 256),
            ("bias-only", None, [0, 0], 0),
            ("batch-norm", None, [0, 0], 0),
        ] {
            assert_eq!(crossing(scheme, sites.clone(), 64), at_64, "{scheme}, {sites:?}");
            assert_eq!(crossing(scheme, sites, 72).iter().sum::<u64>(), total_at_72, "{scheme} at 72");
        }
    }

    /// SPEC 3.2: pooled in the trunk. Attention's gain runs before the map is enlarged, at the resolution
    /// of the block's input; a residual module's stride is the block's.
    #[test]
    fn what_is_pooled_in_the_trunk_crosses_small() {
        let trunks = [resnet26(64), resnet26(72)];
        let crossing = |scheme: &str, sites, side| crossing_of(&trunks[usize::from(side == 72)], scheme, sites);
        assert_eq!(crossing("lite-residual:tap=pooled", None, 64), [143_360, 114_688]);
        assert_eq!(crossing("lite-residual:tap=pooled", None, 72).iter().sum::<u64>(), 318_976);
        assert_eq!(crossing("da3:tap=pooled", None, 64)[0], 143_360);
        assert_eq!(crossing("adaptive-attention:tap=pooled", None, 64), [229_376 / 4, 5_376 / 4]);
        let channels = 4 * (64 + 128 + 256);
        assert_eq!(crossing("squeeze-excite:tap=pooled", None, 64), [channels, channels]);
        assert_eq!(crossing("squeeze-excite", None, 64), [458_752, channels]);
        assert_eq!(crossing("squeeze-excite:return=map", None, 64), [458_752, 458_752]);
        assert_eq!(crossing("cbam", None, 64), [458_752, channels + 4 * (1024 + 256 + 64)]);
        assert_eq!(crossing("cbam:gates=spatial", None, 64), [458_752, 4 * (1024 + 256 + 64)]);
        // The image, averaged 4×4; whole, it is no adapter beside the stem.
        assert_eq!(crossing("side-path:tap=pooled", None, 64)[0], 3 * 16 * 16);
        assert_eq!(crossing("side-path", None, 64), [3 * 64 * 64, 65_536 + 32_768 + 16_384]);
    }
}
