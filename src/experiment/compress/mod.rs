//! Trained 1x1 adapters as two factors of small rank (Rebuffi et al. 2018, 3.4): each alone, α ≈ βγ, or
//! those of several tasks together, where all share β and each keeps a γ, which may then be trained on.
//!
//! What comes out is an adapter of the scheme `low-rank`. Refused: adapters that are not 1x1 convolutions
//! beside the trunk's, ranks above their channels, adapters of different trunks; of different sites together.

use super::train::adapter_file::{Adapter, AdapterConfig};
use super::train::snapshot::Array;
use crate::adapter::Filters;
use nalgebra::DMatrix;
use serde::Serialize;
use std::collections::BTreeMap;
use thiserror::Error;

mod factor;
mod measure;

pub use measure::{Measured, measure};

#[derive(Debug, Error)]
pub enum CompressError {
    #[error("adapter '{adapter}' is of scheme '{scheme}'; only parallel and low-rank adapters have a 1x1 matrix alone")]
    Scheme { adapter: String, scheme: String },
    #[error(
        "adapters '{one}' and '{other}' are of different trunks or arithmetics: {one_is}, {other_is}; \
         adapters are compressed together with those of their own trunk"
    )]
    OtherTrunk { one: String, one_is: String, other: String, other_is: String },
    #[error(
        "--rank {rank}: the adapter at '{site}' has {most} channels at its narrower side; c/N goes by each adapter's"
    )]
    Rank { rank: Filters, site: String, most: usize },
    #[error("--joint shares β between tasks and needs two adapters or more")]
    Alone,
    #[error("adapters '{one}' and '{other}' do not sit at the same sites, or have other channels there: {site}")]
    Sites { one: String, other: String, site: String },
    #[error("adapter '{adapter}': array '{array}': {why}")]
    Array { adapter: String, array: String, why: String },
}

/// What became of adapters.
#[derive(Clone, Debug, PartialEq)]
pub struct Compressed {
    /// In the order given, with the folders of those that they were made from.
    pub adapters: Vec<Adapter>,
    pub sizes: Vec<Size>,
    /// Values of β, which joint adapters share.
    pub shared: u64,
}

/// The 1x1 matrices of one adapter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Size {
    pub before: u64,
    /// Shared ones included.
    pub after: u64,
    /// √(Σ(α − βγ)² / Σα²) over all its matrices.
    pub relative_error: f64,
}

/// A site's matrix, outputs × inputs.
type Sites = BTreeMap<String, DMatrix<f64>>;

/// Compresses adapters, each alone or all together.
pub fn compress(adapters: &[Adapter], rank: Filters, joint: bool) -> Result<Compressed, CompressError> {
    same_trunk(adapters)?;
    let all = adapters.iter().map(sites).collect::<Result<Vec<_>, _>>()?;
    if !joint {
        let each = adapters.iter().zip(&all);
        let done = each.map(|(adapter, sites)| factored(&[adapter], &[sites], rank)).collect::<Result<Vec<_>, _>>()?;
        let (made, sizes) = done.into_iter().flatten().unzip();
        return Ok(Compressed { adapters: made, sizes, shared: 0 });
    }
    if adapters.len() < 2 {
        return Err(CompressError::Alone);
    }
    same_sites(adapters, &all)?;
    let (made, sizes): (Vec<Adapter>, _) =
        factored(&adapters.iter().collect::<Vec<_>>(), &all.iter().collect::<Vec<_>>(), rank)?.into_iter().unzip();
    let is_beta = |a: &&Array| a.name.ends_with(BETA);
    let shared = made[0].values.values().filter(is_beta).map(|a| a.values.len() as u64).sum();
    Ok(Compressed { adapters: made, sizes, shared })
}

const ALPHA: &str = ".alpha.weight";
const BETA: &str = ".beta.weight";
const GAMMA: &str = ".gamma.weight";

fn name(adapter: &Adapter) -> String {
    adapter.folder.display().to_string()
}

fn same_trunk(adapters: &[Adapter]) -> Result<(), CompressError> {
    let is = |a: &Adapter| {
        let base = &a.config.base_model;
        format!("{} under {}", base.trunk_sha256, base.profile)
    };
    for pair in adapters.windows(2) {
        if is(&pair[0]) != is(&pair[1]) {
            let [one, other] = [&pair[0], &pair[1]];
            let (one_is, other_is) = (is(one), is(other));
            return Err(CompressError::OtherTrunk { one: name(one), one_is, other: name(other), other_is });
        }
    }
    Ok(())
}

fn same_sites(adapters: &[Adapter], all: &[Sites]) -> Result<(), CompressError> {
    let shapes = |sites: &Sites| sites.iter().map(|(site, m)| (site.clone(), m.shape())).collect::<BTreeMap<_, _>>();
    let first = shapes(&all[0]);
    for (adapter, sites) in adapters.iter().zip(all).skip(1) {
        let own = shapes(sites);
        let mut differing = first
            .iter()
            .filter(|(k, v)| own.get(*k) != Some(v))
            .chain(own.iter().filter(|(k, v)| first.get(*k) != Some(v)));
        if let Some((site, _)) = differing.next() {
            return Err(CompressError::Sites { one: name(&adapters[0]), other: name(adapter), site: site.clone() });
        }
    }
    Ok(())
}

/// The matrix of every site of an adapter.
fn sites(adapter: &Adapter) -> Result<Sites, CompressError> {
    let kind = adapter.config.scheme.split(':').next().unwrap_or_default();
    let mut found = Sites::new();
    for (key, array) in &adapter.values {
        if let Some(site) = key.strip_prefix("parallel.").and_then(|k| k.strip_suffix(ALPHA)) {
            found.insert(site.into(), matrix(adapter, array)?);
        } else if let Some(site) = key.strip_prefix("low-rank.").and_then(|k| k.strip_suffix(GAMMA)) {
            let beta = adapter.values.get(&format!("low-rank.{site}{BETA}"));
            let beta = beta.ok_or_else(|| fault(adapter, array, "has no β beside it".into()))?;
            let (beta, gamma) = (matrix(adapter, beta)?, matrix(adapter, array)?);
            if beta.ncols() != gamma.nrows() {
                return Err(fault(
                    adapter,
                    array,
                    format!("has {} rows, its β {} columns", gamma.nrows(), beta.ncols()),
                ));
            }
            found.insert(site.into(), beta * gamma);
        }
    }
    if !["parallel", "low-rank"].contains(&kind) || found.is_empty() {
        return Err(CompressError::Scheme { adapter: name(adapter), scheme: adapter.config.scheme.clone() });
    }
    Ok(found)
}

fn fault(adapter: &Adapter, array: &Array, why: String) -> CompressError {
    CompressError::Array { adapter: name(adapter), array: array.name.clone(), why }
}

fn matrix(adapter: &Adapter, array: &Array) -> Result<DMatrix<f64>, CompressError> {
    match array.dims[..] {
        [rows, 1, 1, columns] if rows > 0 && columns > 0 => Ok(factor::matrix(rows, columns, &array.values)),
        _ => Err(fault(adapter, array, format!("has dimensions {:?}, not those of a 1x1 convolution", array.dims))),
    }
}

/// Adapters whose matrices, side by side, are factored together: one β for all.
fn factored(adapters: &[&Adapter], all: &[&Sites], rank: Filters) -> Result<Vec<(Adapter, Size)>, CompressError> {
    let joint = adapters.len() > 1;
    let mut made: Vec<Adapter> = adapters.iter().map(|a| bare(a, rank, joint)).collect();
    let mut sizes = vec![Size { before: 0, after: 0, relative_error: 0.0 }; adapters.len()];
    let mut errors = vec![[0.0, 0.0]; adapters.len()];
    for (site, first) in all[0] {
        let ((outputs, inputs), tasks) = (first.shape(), all.len());
        let k = rank.count(inputs.min(outputs));
        let most = outputs.min(inputs * tasks);
        if k > most {
            return Err(CompressError::Rank { rank, site: site.clone(), most });
        }
        let stacked = DMatrix::from_fn(outputs, inputs * tasks, |o, i| all[i / inputs][site][(o, i % inputs)]);
        let unsettled = || CompressError::Array {
            adapter: name(adapters[0]),
            array: site.clone(),
            why: "has values that are not finite, and so no singular values".into(),
        };
        let factors = factor::truncated(&stacked, k).ok_or_else(unsettled)?;
        for (t, adapter) in made.iter_mut().enumerate() {
            let gamma = factors.gamma.columns(t * inputs, inputs).into_owned();
            let [off, of] = factor::squared_error(&all[t][site], &(&factors.beta * &gamma));
            errors[t] = [errors[t][0] + off, errors[t][1] + of];
            sizes[t].after += (factors.beta.len() + gamma.len()) as u64;
            for (end, matrix) in [(BETA, &factors.beta), (GAMMA, &gamma)] {
                let name = format!("low-rank.{site}{end}");
                let dims = vec![matrix.nrows(), 1, 1, matrix.ncols()];
                let values = factor::rows(matrix);
                adapter.values.insert(name.clone(), Array { name, dims, values });
            }
        }
    }
    for ((size, adapter), [off, of]) in sizes.iter_mut().zip(adapters).zip(errors) {
        size.before = adapter.values.values().filter(|a| is_factor(&a.name)).map(|a| a.values.len() as u64).sum();
        size.relative_error = if of > 0.0 { (off / of).sqrt() } else { 0.0 };
    }
    Ok(made.into_iter().zip(sizes).collect())
}

fn is_factor(name: &str) -> bool {
    ["parallel.", "low-rank."].iter().any(|start| name.starts_with(start))
}

/// An adapter of the scheme `low-rank` with everything but its factors.
fn bare(adapter: &Adapter, rank: Filters, joint: bool) -> Adapter {
    let mut made = adapter.clone();
    made.values.retain(|name, _| !is_factor(name));
    let config: &mut AdapterConfig = &mut made.config;
    let frozen = if joint { ",beta=frozen" } else { "" };
    config.scheme = format!("low-rank:rank={rank}{frozen}");
    config.adapter_type = AdapterConfig::adapter_type(&config.scheme);
    let modules = config.modules.iter().flat_map(|module| match module.strip_prefix("parallel.") {
        Some(own) => own
            .strip_suffix(".alpha")
            .map_or(vec![], |site| ["gamma", "beta"].map(|part| format!("low-rank.{site}.{part}")).to_vec()),
        None => vec![module.clone()],
    });
    config.modules = modules.collect();
    // What was measured was measured of the whole matrices.
    config.training.metrics.clear();
    let how = if joint { " --joint" } else { "" };
    config.training.command += &format!("; trunkline compress --rank {rank}{how}");
    config.model_sha256.clear();
    made
}
