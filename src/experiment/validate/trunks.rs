//! Trunks against what was published of whole networks.

use crate::hw::timing::{Residency, TrunkTiming, layers};
use crate::hw::{Body, Trunk, Validation};
use crate::model::zoo::ZooSpec;

/// Time of one image of a zoo network, layer after layer; none of a network that the zoo lacks.
fn network_ps(trunk: &Trunk, point: &Validation) -> Option<u64> {
    let name = point.model.as_deref()?;
    // As `3x224x224`.
    let size = point.input.as_deref()?.rsplit('x').next()?.parse().ok()?;
    let graph = ZooSpec::parse(name, Some(size), Some(1000), 0).ok()?.build().ok()?;
    let (timing, mut residency) = (TrunkTiming::new(trunk), Residency::new(trunk));
    let layers = layers::of(&graph).ok()?;
    Some(layers.into_iter().map(|layer| timing.step(&residency.place(layer.work)).total_ps).sum())
}

pub fn fps(body: &Body, point: &Validation) -> Option<f64> {
    match body {
        Body::Trunk(trunk) => network_ps(trunk, point).filter(|ps| *ps > 0).map(|ps| 1e12 / ps as f64),
        _ => None,
    }
}

pub fn latency_ms(body: &Body, point: &Validation) -> Option<f64> {
    fps(body, point).map(|fps| 1e3 / fps)
}
