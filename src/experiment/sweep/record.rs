//! What a sweep writes of each point: a line of `points.jsonl`.
//!
//! A reader looks at `schema` first; under a schema that it knows, a field that it does not know is an
//! error. What was counted, what was modelled, what was learned and what was measured stand apart: the
//! first three are the same on every machine, the last only where it was asked for.

use super::point::{FORMAT, Point};
use crate::experiment::training_account::Traffic;
use crate::plan::connections::Connections;
use crate::plan::macs::MacCounts;
use crate::plan::params::ParamCounts;
use crate::units::{Direction, Phase};
use serde::{Deserialize, Serialize};

/// Version of the lines.
pub const SCHEMA: &str = "trunkline/sweep-point/1";

/// A finished point: with an `error`, one that cannot be done, and then nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: String,
    /// Where the point is in its sweep, from 0; records of a finished sweep stand in this order.
    pub index: u64,
    /// SHA-256 of the point, by which it is known over sweeps.
    pub id: String,
    pub point: Point,
    /// Why the point cannot be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modelled: Option<Modelled>,
    /// Of a trained point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Learned>,
    /// Only where measuring was asked for: no two runs give the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// Every transfer of an image; only where taps were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taps: Option<Vec<TapRow>>,
}

/// Integers of the plan: per image, unless they say otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    pub classes: u64,
    /// Sites that have an adapter.
    pub adapted_sites: u64,
    pub params: ParamCounts,
    /// By hardware domain, of an image of the point's visual domain (`point.data`).
    pub macs: MacCounts,
    /// The papers' count, and the unfiltered one.
    pub connections: Connections,
    pub forward: Traffic,
    /// Bytes that load another task's registers.
    pub switch_bytes: u64,
    /// Of a training step; `None` where the network has an operation without a gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingCounts>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingCounts {
    pub macs_backward: MacCounts,
    pub backward: Traffic,
    /// Once per step.
    pub update: Traffic,
    /// Kept from forward to backward, by the published rules: 32-bit values, each map once.
    pub kept_published_b: u64,
    pub kept_adapter_b: u64,
    pub kept_trunk_b: u64,
    /// Values that train, once; their gradients, and what SGD with momentum remembers, are as much again.
    pub trainable_b: u64,
    pub gradients_b: u64,
    pub momentum_b: u64,
}

/// What the point's system makes of one image: simulated and priced, nothing measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modelled {
    pub latency_ps: u64,
    pub exposed_link_ps: u64,
    pub throughput_per_s: f64,
    pub bottleneck: String,
    /// Whether a figure that the time needs is unknown.
    pub time_lower_bound: bool,
    pub link_wire_bytes: u64,
    pub energy_pj: f64,
    /// Bounds of the known part.
    pub energy_low_pj: f64,
    pub energy_high_pj: f64,
    pub energy_lower_bound: bool,
    /// The worst confidence that the energy rests on.
    pub energy_confidence: String,
    pub energy_trunk_pj: f64,
    pub energy_adapter_pj: f64,
    pub energy_host_pj: f64,
    pub energy_link_pj: f64,
    pub energy_memory_pj: f64,
    pub energy_idle_pj: f64,
    /// Figures that time or energy would need and nobody knows.
    pub unknown_figures: u64,
}

/// What a training came to: on the bit-exact trunk, and so the same on every machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    pub train_images: u64,
    pub val_images: u64,
    pub steps: u64,
    /// Of the last epoch.
    pub train_loss: f64,
    pub train_accuracy: f64,
    pub val_loss: f64,
    /// Fraction of the validation images with the right class, after the last epoch.
    pub accuracy: f64,
    /// Of the epoch that did best; choosing it by the validation set flatters it.
    pub best_accuracy: f64,
    /// Counted from 1.
    pub best_epoch: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Wall time of the training, in its last sitting.
    pub train_wall_s: f64,
}

/// One transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TapRow {
    pub name: String,
    pub direction: Direction,
    pub phase: Phase,
    pub elements: u64,
    pub bits: u32,
    pub bytes: u64,
}

impl Record {
    /// A point that cannot be done.
    pub fn failed(index: u64, point: Point, error: String) -> Self {
        let (schema, id) = (SCHEMA.into(), point.id());
        Self {
            schema,
            index,
            id,
            point,
            error: Some(error),
            counted: None,
            modelled: None,
            learned: None,
            measured: None,
            taps: None,
        }
    }

    /// The record of a line.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        let head: Head = serde_json::from_slice(line).map_err(|e| e.to_string())?;
        if head.schema != SCHEMA {
            return Err(format!("its schema is '{}', this program reads {SCHEMA}", head.schema));
        }
        let record: Self = serde_json::from_slice(line).map_err(|e| e.to_string())?;
        if record.point.format != FORMAT {
            let has = record.point.format;
            return Err(format!("its point is of format {has}, this program reads {FORMAT}"));
        }
        if record.point.id() != record.id {
            return Err("its id is not that of its point: the line was changed".into());
        }
        Ok(record)
    }

    /// Its line, with the end of it.
    pub fn line(&self) -> Vec<u8> {
        // A struct of texts and numbers: nothing that JSON cannot hold.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}
