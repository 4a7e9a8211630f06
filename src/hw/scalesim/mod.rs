//! SCALE-Sim's files in and out: topologies and configurations read, its report written.
//!
//! Reports have the columns of SCALE-Sim 3.0.0 for an array with all the bandwidth it asks for
//! (`InterfaceBandwidth: CALC`): cycles, utilisation, accesses of the memories beside the array.
//! What it refuses: sparse layers, a bandwidth of the user's, and sizes that are no layer. Prefetching
//! from DRAM is not modelled, so the columns that need it are left out.

mod config;
pub mod export;
mod topology;

pub use config::Config;
pub use topology::{Layer, Topology};

use super::timing::systolic::{Array, Dataflow, FoldMode};
use serde::Serialize;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum ScalesimError {
    #[error("{}: {source}", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{}: larger than {MOST_BYTES} bytes; a topology or a configuration is a few KiB", file.display())]
    Large { file: PathBuf },
    #[error("{}: byte {at} is not UTF-8", file.display())]
    Text { file: PathBuf, at: usize },
    #[error("{file}:{line}: {wrong}; {right}")]
    Row { file: String, line: usize, wrong: String, right: String },
    #[error("{file}: {key}: {wrong}; {right}")]
    Key { file: String, key: String, wrong: String, right: String },
}

/// A file beyond this is a wrong file.
const MOST_BYTES: u64 = 1 << 20;

/// Reads a small text file that a user names.
fn read(path: &Path) -> Result<String, ScalesimError> {
    use std::io::Read;
    let unreadable = |source| ScalesimError::Read { file: path.into(), source };
    let (file, size) = crate::door::open_file(path).map_err(unreadable)?;
    if size > MOST_BYTES {
        return Err(ScalesimError::Large { file: path.into() });
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|e| ScalesimError::Text { file: path.into(), at: e.utf8_error().valid_up_to() })
}

/// A layer's line of the report, under SCALE-Sim's names; the last five are ours.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    #[serde(rename = "LayerID")]
    pub layer_id: usize,
    #[serde(rename = "Layer name")]
    pub name: String,
    #[serde(rename = "Total Cycles")]
    pub total_cycles: u64,
    #[serde(rename = "Stall Cycles")]
    pub stall_cycles: u64,
    #[serde(rename = "Overall Util %")]
    pub overall_util_pct: f64,
    #[serde(rename = "Mapping Efficiency %")]
    pub mapping_efficiency_pct: f64,
    #[serde(rename = "Compute Util %")]
    pub compute_util_pct: f64,
    #[serde(rename = "SRAM IFMAP Reads")]
    pub ifmap_reads: u64,
    #[serde(rename = "SRAM Filter Reads")]
    pub filter_reads: u64,
    #[serde(rename = "SRAM OFMAP Writes")]
    pub ofmap_writes: u64,
    #[serde(rename = "Folds")]
    pub folds: u64,
    #[serde(rename = "M")]
    pub m: u64,
    #[serde(rename = "N")]
    pub n: u64,
    #[serde(rename = "K")]
    pub k: u64,
    #[serde(rename = "MACs")]
    pub macs: u64,
}

/// A topology on an array.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub schema: &'static str,
    pub topology: String,
    pub rows: u64,
    pub cols: u64,
    pub dataflow: Dataflow,
    pub mode: FoldMode,
    pub layers: Vec<Row>,
    /// Sum over the layers of their "Total Cycles".
    pub total_cycles_reported: u64,
}

/// Runs every layer of a topology on an array.
pub fn run(topology: &Topology, array: &Array) -> Report {
    let layers: Vec<Row> = topology.layers.iter().enumerate().map(|(id, layer)| row(id, layer, array)).collect();
    Report {
        schema: "trunkline/scalesim/1",
        topology: topology.name.clone(),
        rows: array.rows,
        cols: array.cols,
        dataflow: array.dataflow,
        mode: array.mode,
        total_cycles_reported: layers.iter().fold(0, |sum: u64, row| sum.saturating_add(row.total_cycles)),
        layers,
    }
}

fn row(layer_id: usize, layer: &Layer, array: &Array) -> Row {
    let gemm = layer.gemm();
    let cost = array.gemm(gemm);
    let macs = [gemm.m, gemm.n, gemm.k].into_iter().fold(1, u64::saturating_mul);
    let slots = cost.cycles as f64 * array.rows as f64 * array.cols as f64;
    Row {
        layer_id,
        name: layer.name.clone(),
        total_cycles: cost.cycles,
        stall_cycles: 0,
        overall_util_pct: if slots > 0.0 { 100.0 * macs as f64 / slots } else { 0.0 },
        mapping_efficiency_pct: 100.0 * cost.mapping_frac,
        compute_util_pct: 100.0 * cost.compute_frac,
        ifmap_reads: cost.ifmap_reads,
        filter_reads: cost.filter_reads,
        ofmap_writes: cost.ofmap_writes,
        folds: cost.folds,
        m: gemm.m,
        n: gemm.n,
        k: gemm.k,
        macs,
    }
}
