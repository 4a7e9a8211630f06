//! The columns of a sweep's tables: a name, and where a record has the value.

use super::fault;
use crate::experiment::sweep::SweepError;
use crate::experiment::sweep::point::{Point, Training};
use crate::experiment::sweep::record::{Counted, Learned, Modelled, Record, TrainingCounts};
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// How a column's value is found; the variant is also its type.
pub enum Of {
    Text(fn(&Record) -> Option<String>),
    Int(fn(&Record) -> Option<u64>),
    Float(fn(&Record) -> Option<f64>),
    Flag(fn(&Record) -> Option<bool>),
}

pub struct Column {
    pub name: &'static str,
    pub of: Of,
}

const fn column(name: &'static str, of: Of) -> Column {
    Column { name, of }
}

/// A word of a closed list, as it is serialised.
fn word<T: Serialize>(value: T) -> Option<String> {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(String::from))
}

fn point(f: fn(&Point) -> Option<String>, record: &Record) -> Option<String> {
    f(&record.point)
}
fn training<T>(f: fn(&Training) -> T, record: &Record) -> Option<T> {
    record.point.training.as_ref().map(f)
}
fn counted<T>(f: fn(&Counted) -> T, record: &Record) -> Option<T> {
    record.counted.as_ref().map(f)
}
fn step<T>(f: fn(&TrainingCounts) -> T, record: &Record) -> Option<T> {
    record.counted.as_ref().and_then(|c| c.training.as_ref()).map(f)
}
fn modelled<T>(f: fn(&Modelled) -> T, record: &Record) -> Option<T> {
    record.modelled.as_ref().map(f)
}
fn learned<T>(f: fn(&Learned) -> T, record: &Record) -> Option<T> {
    record.learned.as_ref().map(f)
}

/// What says which point it is.
#[rustfmt::skip]
pub const POINT: &[Column] = &[
    column("trunk", Of::Text(|r| point(|p| Some(p.trunk.clone()), r))),
    column("scheme", Of::Text(|r| point(|p| Some(p.scheme.clone()), r))),
    column("sites", Of::Text(|r| point(|p| p.sites.clone(), r))),
    column("batch_norm", Of::Text(|r| word(r.point.batch_norm))),
    column("tap_bits", Of::Text(|r| Some(r.point.tap_bits.to_string()))),
    column("grad", Of::Text(|r| word(r.point.grad))),
    column("system", Of::Text(|r| point(|p| Some(p.system.clone()), r))),
    column("data", Of::Text(|r| point(|p| p.data.clone(), r))),
    column("val", Of::Text(|r| training(|t| t.val.clone(), r))),
    column("subset", Of::Float(|r| training(|t| t.subset, r))),
    column("noise", Of::Float(|r| training(|t| t.noise, r))),
    column("epochs", Of::Int(|r| training(|t| t.epochs, r))),
    column("batch", Of::Int(|r| training(|t| t.batch as u64, r))),
    column("optimizer", Of::Text(|r| training(|t| t.optimizer.clone(), r))),
    column("lr", Of::Float(|r| training(|t| t.lr, r))),
];

/// What it costs.
#[rustfmt::skip]
pub const COSTS: &[Column] = &[
    column("classes", Of::Int(|r| counted(|c| c.classes, r))),
    column("adapted_sites", Of::Int(|r| counted(|c| c.adapted_sites, r))),
    column("params", Of::Int(|r| counted(|c| c.params.total, r))),
    column("trainable", Of::Int(|r| counted(|c| c.params.trainable, r))),
    column("trainable_without_head", Of::Int(|r| counted(|c| c.params.trainable_without_head, r))),
    column("trainable_percent", Of::Float(|r| counted(|c| c.params.trainable_percent, r))),
    column("connections", Of::Int(|r| counted(|c| c.connections.total, r))),
    column("connections_unfiltered", Of::Int(|r| counted(|c| c.connections.unfiltered, r))),
    column("tap_out_bytes", Of::Int(|r| counted(|c| c.forward.tap_out_bytes, r))),
    column("tap_in_bytes", Of::Int(|r| counted(|c| c.forward.tap_in_bytes, r))),
    column("switch_bytes", Of::Int(|r| counted(|c| c.switch_bytes, r))),
    column("macs_trunk", Of::Int(|r| counted(|c| c.macs.trunk, r))),
    column("macs_adapter", Of::Int(|r| counted(|c| c.macs.adapter, r))),
    column("macs_host", Of::Int(|r| counted(|c| c.macs.host, r))),
    column("backward_macs_trunk", Of::Int(|r| step(|t| t.macs_backward.trunk, r))),
    column("backward_macs_adapter", Of::Int(|r| step(|t| t.macs_backward.adapter, r))),
    column("backward_tap_out_bytes", Of::Int(|r| step(|t| t.backward.tap_out_bytes, r))),
    column("backward_tap_in_bytes", Of::Int(|r| step(|t| t.backward.tap_in_bytes, r))),
    column("kept_published_bytes", Of::Int(|r| step(|t| t.kept_published_b, r))),
    column("kept_adapter_bytes", Of::Int(|r| step(|t| t.kept_adapter_b, r))),
    column("kept_trunk_bytes", Of::Int(|r| step(|t| t.kept_trunk_b, r))),
    column("modelled_latency_ps", Of::Int(|r| modelled(|m| m.latency_ps, r))),
    column("modelled_throughput_per_s", Of::Float(|r| modelled(|m| m.throughput_per_s, r))),
    column("modelled_bottleneck", Of::Text(|r| modelled(|m| m.bottleneck.clone(), r))),
    column("modelled_time_lower_bound", Of::Flag(|r| modelled(|m| m.time_lower_bound, r))),
    column("modelled_link_wire_bytes", Of::Int(|r| modelled(|m| m.link_wire_bytes, r))),
    column("modelled_energy_pj", Of::Float(|r| modelled(|m| m.energy_pj, r))),
    column("modelled_energy_low_pj", Of::Float(|r| modelled(|m| m.energy_low_pj, r))),
    column("modelled_energy_high_pj", Of::Float(|r| modelled(|m| m.energy_high_pj, r))),
    column("modelled_energy_lower_bound", Of::Flag(|r| modelled(|m| m.energy_lower_bound, r))),
    column("modelled_energy_confidence", Of::Text(|r| modelled(|m| m.energy_confidence.clone(), r))),
    column("modelled_energy_trunk_pj", Of::Float(|r| modelled(|m| m.energy_trunk_pj, r))),
    column("modelled_energy_adapter_pj", Of::Float(|r| modelled(|m| m.energy_adapter_pj, r))),
    column("modelled_energy_host_pj", Of::Float(|r| modelled(|m| m.energy_host_pj, r))),
    column("modelled_energy_link_pj", Of::Float(|r| modelled(|m| m.energy_link_pj, r))),
    column("modelled_energy_memory_pj", Of::Float(|r| modelled(|m| m.energy_memory_pj, r))),
    column("modelled_energy_idle_pj", Of::Float(|r| modelled(|m| m.energy_idle_pj, r))),
];

/// What only a single point has.
#[rustfmt::skip]
const RESULTS: &[Column] = &[
    column("seed", Of::Int(|r| training(|t| t.seed, r))),
    column("learned_train_images", Of::Int(|r| learned(|l| l.train_images, r))),
    column("learned_val_images", Of::Int(|r| learned(|l| l.val_images, r))),
    column("learned_train_loss", Of::Float(|r| learned(|l| l.train_loss, r))),
    column("learned_train_accuracy", Of::Float(|r| learned(|l| l.train_accuracy, r))),
    column("learned_val_loss", Of::Float(|r| learned(|l| l.val_loss, r))),
    column("learned_accuracy", Of::Float(|r| learned(|l| l.accuracy, r))),
    column("learned_best_accuracy", Of::Float(|r| learned(|l| l.best_accuracy, r))),
    column("learned_best_epoch", Of::Int(|r| learned(|l| l.best_epoch, r))),
    column("measured_train_wall_s", Of::Float(|r| r.measured.as_ref().map(|m| m.train_wall_s))),
    column("error", Of::Text(|r| r.error.clone())),
    column("index", Of::Int(|r| Some(r.index))),
    column("id", Of::Text(|r| Some(r.id.clone()))),
    column("trunk_sha256", Of::Text(|r| Some(r.point.trunk_sha256.clone()))),
    column("system_sha256", Of::Text(|r| Some(r.point.system_sha256.clone()))),
];

/// All columns of a point's row.
pub fn all() -> impl Iterator<Item = &'static Column> {
    POINT.iter().chain(COSTS).chain(RESULTS)
}

impl Column {
    /// As text; empty where the record has no value. A number comes back from it to the bit.
    pub fn text(&self, record: &Record) -> String {
        match &self.of {
            Of::Text(of) => of(record),
            Of::Int(of) => of(record).map(|n| n.to_string()),
            Of::Float(of) => of(record).map(|x| x.to_string()),
            Of::Flag(of) => of(record).map(|b| b.to_string()),
        }
        .unwrap_or_default()
    }
}

/// Rows of CSV.
pub struct Csv<'a> {
    writer: csv::Writer<&'a mut dyn Write>,
    path: &'a Path,
}

pub fn csv_writer<'a>(to: &'a mut dyn Write, path: &'a Path) -> Result<Csv<'a>, SweepError> {
    let mut writer = csv::Writer::from_writer(to);
    writer.write_record(all().map(|c| c.name)).map_err(|e| fault(path)(e.to_string()))?;
    Ok(Csv { writer, path })
}

impl Csv<'_> {
    pub fn row(&mut self, record: &Record) -> Result<(), SweepError> {
        let cells = all().map(|c| c.text(record));
        self.writer.write_record(cells).map_err(|e| fault(self.path)(e.to_string()))
    }

    pub fn end(mut self) -> Result<(), SweepError> {
        self.writer.flush().map_err(|e| fault(self.path)(e.to_string()))
    }
}
