//! What an adapter crosses and how it does, to be told before and after.

use crate::data::Subset;
use crate::experiment::adapters::request;
use crate::experiment::eval::{EvalError, EvalJob, EvalSettings, eval};
use crate::experiment::train::adapter_file::Adapter;
use crate::experiment::train::prepared;
use crate::experiment::trunk::Trunk;
use crate::hw::System;
use crate::plan::connections;
use serde::Serialize;

/// An adapter on its trunk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The papers' count, and everything that crosses for one image.
    pub connections: u64,
    pub connections_unfiltered: u64,
    /// Labelled images; nothing where there is no data to measure on.
    pub images: Option<u64>,
    pub accuracy: Option<f64>,
    pub loss: Option<f64>,
}

/// Counts an adapter's connections on `trunk`, and evaluates it where there is data.
pub fn measure(
    trunk: &Trunk,
    adapter: &Adapter,
    data: Option<&Subset>,
    system: &System,
    settings: &EvalSettings,
) -> Result<Measured, EvalError> {
    let request = request(&adapter.config)?;
    let (placed, _, taps) = prepared(trunk, &request, system, adapter.config.tap_in_bits)?;
    let counted = connections::count(&placed, &taps);
    let evaluated = data.map(|data| {
        let (trunk, adapter, data) = (trunk.clone(), adapter.clone(), data.clone());
        eval(EvalJob { trunk, adapter, data, system }, settings)
    });
    let evaluated = evaluated.transpose()?;
    Ok(Measured {
        connections: counted.total,
        connections_unfiltered: counted.unfiltered,
        images: evaluated.as_ref().map(|e| e.images),
        accuracy: evaluated.as_ref().and_then(|e| e.accuracy),
        loss: evaluated.as_ref().and_then(|e| e.loss),
    })
}
