//! The crossings of a training step that a forward pass does not have, and its predicted ledger.
//!
//! A gradient crosses against the map it belongs to: what entered the trunk sends its error back
//! out, what left it takes the error of all its readers in, on the positions that they read.
//! Registers and the sums that update them cross once per step. Nothing here is declared either:
//! it follows from the graph and from what trains.

use super::tap::{Tap, register_load};
use crate::graph::gradient::Gradients;
use crate::graph::{Graph, NodeId};
use crate::ledger::{Event, Ledger, Place};
use crate::op::Op;
use crate::quant::error_code::GradFormat;
use crate::scheme::Placed;
use crate::tensor::Shape;
use crate::units::{Direction, HardwareDomain, Phase};

/// The backward taps of one image, in the order of the forward taps that they answer, then the
/// transfers of one step.
pub fn taps(placed: &Placed, gradients: &Gradients, format: GradFormat) -> Vec<Tap> {
    let graph = &placed.graph;
    let mut taps = vec![];
    for crossing in graph.crossings() {
        let edge = graph.edge(crossing.edge);
        // A reader through which nothing reaches the loss has no error to give.
        let used = crossing.consumers.iter().any(|&n| gradients.has(graph.node(n).output));
        if !gradients.has(crossing.edge) || !used {
            continue;
        }
        let elements = crossing.shape.elements() as u64;
        taps.push(Tap {
            name: format!("{}.error", edge.name),
            direction: match crossing.direction {
                Direction::TapIn => Direction::TapOut,
                Direction::TapOut => Direction::TapIn,
            },
            phase: Phase::Backward,
            shape: crossing.shape,
            elements,
            bits: format.bits(),
            values: false,
            bytes: format.bytes(elements),
            crossing: Some(crossing),
        });
    }
    taps.extend(registers(placed, gradients));
    taps
}

/// Sums of the loadable batch norms leave the trunk, two per channel or one where only the shifts train,
/// two more where it measures their statistics; their registers come back.
fn registers(placed: &Placed, gradients: &Gradients) -> Vec<Tap> {
    if !placed.batch_norm.loads_registers() {
        return vec![];
    }
    let channels: usize = loadable(&placed.graph, gradients).map(|(_, channels)| channels).sum();
    if channels == 0 {
        return vec![];
    }
    let n = channels as u64;
    let registers = register_load(Phase::Update, n, placed.loads_shifts_only());
    let out = |name: &str, elements, bits: u32| Tap {
        name: name.into(),
        direction: Direction::TapOut,
        shape: Shape::vector(elements as usize),
        elements,
        bits,
        bytes: elements * u64::from(bits / 8),
        ..registers.clone()
    };
    let trained = if placed.trains_shifts_only() { n } else { 2 * n };
    let mut taps = vec![out("batch-norm-gradients", trained, 32)];
    if placed.batch_norm.measures_statistics() {
        taps.push(out("batch-norm-sums", 2 * n, 64));
    }
    taps.push(registers);
    taps
}

/// The trunk's batch norms whose statistics a step measures, in the graph's order.
pub fn measured(placed: &Placed, gradients: &Gradients) -> Vec<NodeId> {
    let measures = placed.batch_norm.measures_statistics();
    let mut found: Vec<NodeId> = loadable(&placed.graph, gradients).map(|(id, _)| id).filter(|_| measures).collect();
    found.sort_unstable();
    found
}

/// The trunk's batch norms that a step updates, with their channels.
fn loadable<'a>(graph: &'a Graph, gradients: &'a Gradients) -> impl Iterator<Item = (NodeId, usize)> + 'a {
    gradients.nodes().iter().filter_map(move |&id| match (&graph.node(id).op, graph.node(id).domain) {
        (Op::BatchNorm(norm), HardwareDomain::Trunk) => Some((id, norm.channels)),
        _ => None,
    })
}

/// Adds to a forward prediction what the backward pass of one image and the update of one step do.
pub fn tally(graph: &Graph, gradients: &Gradients, taps: &[Tap], ledger: &mut Ledger) {
    for &id in gradients.nodes() {
        ledger.add(Phase::Backward, Place::Node(id), Event::Macs, gradients.macs(graph, id));
    }
    for tap in taps {
        let place = match &tap.crossing {
            Some(c) => Place::Tap(c.edge, tap.direction),
            None => Place::Registers,
        };
        ledger.add(tap.phase, place, Event::Transfers, 1);
        ledger.add(tap.phase, place, Event::Elements, tap.elements);
        ledger.add(tap.phase, place, Event::PayloadBytes, tap.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zoo::ZooSpec;
    use crate::scheme::{BatchNormMode, Request, SchemeSpec, Sites, place};

    /// Elements that go down and up in the backward pass of resnet26 at 64×64.
    fn errors_on(trunk: &Graph, scheme: &str, sites: Option<Sites>) -> [u64; 2] {
        let batch_norm = Some(BatchNormMode::Frozen);
        let request = Request { scheme: SchemeSpec(scheme.into()), sites, batch_norm, seed: 1 };
        let placed = place(trunk, &request).unwrap();
        let found = taps(&placed, &Gradients::of(&placed.graph).unwrap(), GradFormat::F32);
        let sum = |direction| found.iter().filter(|t| t.direction == direction).map(|t| t.elements).sum();
        [sum(Direction::TapOut), sum(Direction::TapIn)]
    }

    /// SPEC 3.2, and the error of the 256 features that the head reads. Before the first attention
    /// module (131,072 elements) nothing trains, so its map takes no error.
    #[test]
    fn errors_cross_as_the_table_says() {
        let trunk = ZooSpec::parse("resnet26", Some(64), Some(10), 1).unwrap().build().unwrap();
        let errors = |scheme: &str, sites| errors_on(&trunk, scheme, sites);
        assert_eq!(errors("head-only", None), [0, 0]);
        assert_eq!(errors("parallel", Some(Sites::AllButStem)), [917_504, 827_392 + 256]);
        assert_eq!(errors("adaptive-attention:m=2", None), [5_376, 229_376 - 131_072 + 256]);
        assert_eq!(errors("adaptive-attention:m=2,return=map", None), [229_376, 229_376 - 131_072 + 256]);
        assert_eq!(errors("parallel", Some(Sites::Half)), [458_752, 458_752 - 65_536 + 256]);
        assert_eq!(errors("low-rank", Some(Sites::AllButStem)), [917_504, 827_392 + 256]);
        // Nothing trains before the stem's adapter, which reads what the stem made.
        assert_eq!(errors("series", None), [1_048_576, 1_048_576 - 131_072 + 256]);
        assert_eq!(errors("da3", None), [458_752, 573_440 - 131_072 + 256]);
        assert_eq!(errors("lite-residual:tap=pooled", None), [114_688, 143_360 - 32_768 + 256]);
        // Attention's map has the resolution of its input: in strided blocks that of the output.
        assert_eq!(errors("da3:tap=pooled", None), [114_688 + 86_016, 143_360 - 32_768 + 256]);
    }

    #[test]
    fn an_integer_error_brings_its_exponent() {
        assert_eq!(GradFormat::F32.bytes(3), 12);
        assert_eq!(GradFormat::Int16.bytes(3), 7);
        assert_eq!(GradFormat::Int12.bytes(3), 6);
        assert_eq!(GradFormat::Int8.bytes(3), 4);
    }
}
