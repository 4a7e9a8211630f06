//! A training step in time: micro-batches in flight through forward and backward, then the update.
//!
//! A layer's backward pass on the trunk is timed as its forward pass, for as many operations as its
//! gradients take. What it does not model: gradients of several micro-batches summed while others
//! run, which our device does in order, and the host's reading of data.

use super::prepared::Prepared;
use super::schedule::{Costed, bottleneck, busy, utilisation};
use super::timeline::{Schedule, Timeline};
use crate::hw::System;
use serde::Serialize;
use std::collections::BTreeMap;

/// How a batch is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub micro_batches: usize,
    /// Images of each.
    pub images: u64,
    pub in_flight: usize,
}

/// Simulated time of a training step; nothing here was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepTime {
    /// From the first micro-batch's arrival until the update is done.
    pub step_ps: u64,
    /// The part of it that is the update, during which nothing else runs.
    pub update_ps: u64,
    pub images_per_s: f64,
    /// The resource that is taken longest, or `latency` where none is taken nearly all the time.
    pub bottleneck: String,
    pub busy_ps: BTreeMap<String, u64>,
    pub utilisation: BTreeMap<String, f64>,
    /// Time in which something crossed the link, and the part of it in which nothing computed.
    pub link_ps: u64,
    pub exposed_link_ps: u64,
    pub lower_bound: bool,
}

impl Prepared {
    /// Simulates a step on a system.
    pub fn train(&self, system: &System, batch: Batch) -> StepTime {
        self.on(system, batch.images).train(batch)
    }
}

impl Costed {
    /// Simulates a step.
    pub fn train(&self, batch: Batch) -> StepTime {
        let body = Timeline::new(&self.jobs, &self.resources).run(batch.micro_batches, batch.in_flight, false);
        let end = Timeline::new(&self.update, &self.resources).run(1, 1, false);
        let step_ps = body.makespan_ps().saturating_add(end.makespan_ps());
        let both = |f: fn(&Schedule) -> u64| f(&body).saturating_add(f(&end));
        let sums: Vec<u64> = body.busy_ps.iter().zip(&end.busy_ps).map(|(a, b)| a.saturating_add(*b)).collect();
        let (busy_ps, longest) = busy(&self.places, &sums);
        StepTime {
            step_ps,
            update_ps: end.makespan_ps(),
            images_per_s: (batch.micro_batches as u64 * batch.images) as f64 * 1e12 / step_ps.max(1) as f64,
            bottleneck: bottleneck(longest, step_ps),
            utilisation: utilisation(&busy_ps, step_ps),
            busy_ps,
            link_ps: both(|s| s.link_ps),
            exposed_link_ps: both(|s| s.exposed_link_ps),
            lower_bound: !self.unknown.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::gradient::Gradients;
    use crate::hw::library::load_system;
    use crate::model::zoo::ZooSpec;
    use crate::plan::tap::{TapPrecision, taps};
    use crate::plan::{backward, schedule};
    use crate::quant::error_code::GradFormat;
    use crate::scheme::{BatchNormMode, Request, SchemeSpec, Sites, place};
    use crate::units::Phase;

    fn prepared(scheme: &str) -> (Prepared, u64, u64) {
        let trunk = ZooSpec::parse("resnet26", Some(64), Some(10), 1).unwrap().build().unwrap();
        let sites = (scheme == "parallel").then_some(Sites::AllButStem);
        let request =
            Request { scheme: SchemeSpec(scheme.into()), sites, batch_norm: Some(BatchNormMode::Frozen), seed: 1 };
        let placed = place(&trunk, &request).unwrap();
        let forward = taps(&placed, TapPrecision::codes(8)).unwrap();
        let gradients = Gradients::of(&placed.graph).unwrap();
        let back = backward::taps(&placed, &gradients, GradFormat::F32);
        let bytes =
            |taps: &[crate::plan::tap::Tap], phase| taps.iter().filter(|t| t.phase == phase).map(|t| t.bytes).sum();
        let sums = (bytes(&forward, Phase::Forward), bytes(&back, Phase::Backward));
        (Prepared::step(&placed.graph, &forward, &gradients, &back, &[]).unwrap(), sums.0, sums.1)
    }

    #[test]
    fn a_step_moves_what_its_taps_say() {
        for scheme in ["parallel", "head-only", "adaptive-attention"] {
            let (prepared, forward_b, backward_b) = prepared(scheme);
            let costed = prepared.on(&load_system("asic-h200-pcie").unwrap(), 1);
            assert_eq!(costed.link.payload_bytes, forward_b + backward_b, "{scheme}");
        }
    }

    #[test]
    fn micro_batches_in_flight_overlap_and_a_step_is_longer_than_its_forward_pass() {
        let (prepared, ..) = prepared("parallel");
        let batch = |micro_batches, in_flight| Batch { micro_batches, images: 1, in_flight };
        for name in ["asic-h200-pcie", "edge-nvdla-orin-ucie", "nvdla-m1-usb"] {
            let system = load_system(name).unwrap();
            let step = |m, f| prepared.train(&system, batch(m, f));
            let (one, alone, together) = (step(1, 1), step(8, 1), step(8, 8));
            assert!(together.step_ps <= alone.step_ps && one.step_ps < together.step_ps, "{name}");
            assert_eq!(alone.step_ps - alone.update_ps, 8 * (one.step_ps - one.update_ps), "{name}");
            assert!(together.exposed_link_ps <= together.link_ps && together.utilisation.values().all(|u| *u <= 1.0));
            assert_eq!(together, step(8, 8));
        }
    }

    #[test]
    fn a_link_without_overlap_lets_nothing_compute_meanwhile() {
        let (prepared, ..) = prepared("parallel");
        let system = load_system("nvdla-m1-usb").unwrap();
        let costed = prepared.on(&system, 1);
        let s = Timeline::new(&costed.jobs, &costed.resources).run(4, 4, true);
        assert!(s.link_ps > 0 && s.exposed_link_ps == s.link_ps);
        let place = |job: usize| costed.places[costed.jobs[job].resource];
        assert!(s.spans.iter().any(|x| place(x.job) == schedule::Place::TapIn));
        let full = crate::hw::System {
            link: crate::hw::Link { overlap: Some(crate::hw::Overlap::Full), ..system.link.clone() },
            ..system
        };
        let overlapped = prepared.train(&full, Batch { micro_batches: 4, images: 1, in_flight: 4 });
        assert!(overlapped.exposed_link_ps < overlapped.link_ps);
    }
}
