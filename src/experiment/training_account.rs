//! What a training step of a placed trunk does and holds, counted without running it.

use crate::graph::GraphError;
use crate::graph::gradient::Gradients;
use crate::plan::backward;
use crate::plan::kept::{self, Kept, MapsAs, kept};
use crate::plan::macs::MacCounts;
use crate::plan::params;
use crate::plan::tap::Tap;
use crate::quant::error_code::GradFormat;
use crate::scheme::Placed;
use crate::units::{Direction, HardwareDomain, Phase};
use serde::{Deserialize, Serialize};

/// What crosses in one phase, by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    pub tap_out_elements: u64,
    pub tap_out_bytes: u64,
    pub tap_in_elements: u64,
    pub tap_in_bytes: u64,
}

impl Traffic {
    pub fn of(taps: &[Tap], phase: Phase) -> Self {
        let mut traffic = Self::default();
        for tap in taps.iter().filter(|t| t.phase == phase) {
            let (elements, bytes) = match tap.direction {
                Direction::TapOut => (&mut traffic.tap_out_elements, &mut traffic.tap_out_bytes),
                Direction::TapIn => (&mut traffic.tap_in_elements, &mut traffic.tap_in_bytes),
            };
            *elements += tap.elements;
            *bytes += tap.bytes;
        }
        traffic
    }
}

/// A map that a training step keeps for one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptMap {
    #[serde(flatten)]
    pub kept: Kept,
    pub bytes: u64,
}

/// A training step: per image unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingAccount {
    pub grad: GradFormat,
    pub macs_backward: MacCounts,
    pub forward: Traffic,
    pub backward: Traffic,
    /// Once per step, however many images it has.
    pub update: Traffic,
    /// Bytes kept from forward to backward, by the published rules: 32-bit values, each map once.
    pub kept_published_b: u64,
    /// The same on the adapter device as it is run here, taps kept as codes.
    pub kept_adapter_b: u64,
    /// On the trunk, where a bit per element of an activation is kept.
    pub kept_trunk_b: u64,
    pub kept: Vec<KeptMap>,
    pub trainable_b: u64,
    pub gradients_b: u64,
    /// Of SGD with momentum; Adam has twice as much.
    pub momentum_b: u64,
}

/// Counts a training step whose forward taps are `taps`.
pub fn training_account(placed: &Placed, taps: &[Tap], grad: GradFormat) -> Result<TrainingAccount, GraphError> {
    let graph = &placed.graph;
    let gradients = Gradients::of(graph)?;
    let errors = backward::taps(placed, &gradients, grad);
    let mut macs = MacCounts::default();
    for &id in gradients.nodes() {
        macs.add(graph.node(id).domain, gradients.macs(graph, id));
    }
    let held = kept(graph, &gradients, MapsAs::Codes)?;
    let on = |side| {
        let of_side: Vec<Kept> = held.iter().filter(|k| k.side == side).cloned().collect();
        kept::bytes(&of_side)
    };
    let trainable_b = 4 * params::count(placed).trainable;
    Ok(TrainingAccount {
        grad,
        macs_backward: macs,
        forward: Traffic::of(taps, Phase::Forward),
        backward: Traffic::of(&errors, Phase::Backward),
        update: Traffic::of(&errors, Phase::Update),
        kept_published_b: kept::bytes_once(&kept(graph, &gradients, MapsAs::Values)?),
        kept_adapter_b: on(HardwareDomain::Adapter),
        kept_trunk_b: on(HardwareDomain::Trunk),
        kept: held.iter().map(|k| KeptMap { bytes: k.bytes(), kept: k.clone() }).collect(),
        trainable_b,
        gradients_b: trainable_b,
        momentum_b: trainable_b,
    })
}
