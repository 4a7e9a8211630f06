//! What the values of a run did to the trunk, layer by layer: codes cut off and sums that overflowed.

use crate::ledger::{DataEvent, Place};
use crate::run::Outcome;
use crate::trunk::TrunkProgram;
use crate::units::Phase;
use serde::Serialize;

/// One step of the trunk, over all images of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerEvents {
    pub layer: String,
    pub op: &'static str,
    /// Codes written, of which any may saturate and, in a layer of products, any sum overflow.
    pub outputs: u64,
    /// Outputs that the code's range cut off, and no activation.
    pub saturations: u64,
    /// Sums that left their accumulator, or a left shift that wrapped; whatever the output then was.
    pub overflows: u64,
}

/// The steps of a trunk in running order, those without events included.
pub fn layer_events(program: &TrunkProgram, outcomes: &[Outcome], images: usize) -> Vec<LayerEvents> {
    let of_step = |step: &crate::trunk::TrunkStep| {
        let place = Place::Node(step.nodes[0]);
        let sum = |event| outcomes.iter().map(|o| o.observed.data(Phase::Forward, place, event)).sum();
        LayerEvents {
            layer: step.name.clone(),
            op: step.op,
            outputs: step.output_elements().0 * images as u64,
            saturations: sum(DataEvent::Saturations),
            overflows: sum(DataEvent::Overflows),
        }
    };
    program.steps.iter().map(of_step).collect()
}
