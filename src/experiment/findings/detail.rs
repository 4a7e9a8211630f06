//! A finding opened again, to be drawn: its network with the taps in place, and its timeline.
//!
//! Refused are trunks and systems that are no longer what the finding was made with.

use super::Finding;
use crate::experiment::sweep::{system_sha256, trunk_sha256};
use crate::experiment::trace::{Trace, trace};
use crate::experiment::trunk::Trunk;
use crate::graph::structure::Structure;
use crate::hw::{System, library};
use crate::plan::tap::{Tap, TapPrecision, taps};
use crate::scheme::{self, Placed, Request, SchemeSpec};

/// Images in flight in a drawn timeline: the second shows what overlaps.
const IMAGES: usize = 2;

/// What a drawing is made of.
#[derive(Clone, Debug)]
pub struct Detail {
    pub placed: Placed,
    pub taps: Vec<Tap>,
    pub trace: Trace,
}

/// The placement that a finding names.
pub fn request(finding: &Finding) -> Result<Request, String> {
    Ok(Request {
        scheme: SchemeSpec(finding.scheme.clone()),
        sites: finding.sites.as_ref().map(|sites| sites.parse()).transpose()?,
        batch_norm: finding.batch_norm,
        seed: 0,
    })
}

/// Opens findings one after another; the trunk of the last is kept for the next.
#[derive(Default)]
pub struct Opener {
    last: Option<(String, Trunk)>,
}

impl Opener {
    pub fn open(&mut self, finding: &Finding) -> Result<Detail, String> {
        let Some(counted) = &finding.counted else { return Err("it has no costs".into()) };
        let system = system(finding)?;
        let mut trunk = self.trunk(finding)?;
        let classes = trunk.graph.shape(trunk.graph.output).elements() as u64;
        let has_head = !Structure::find(&trunk.graph).map_err(|e| e.to_string())?.head.is_empty();
        if has_head && classes != counted.classes {
            trunk = trunk.with_fresh_head(counted.classes as usize, 0).map_err(|e| e.to_string())?;
        }
        let request = request(finding)?;
        let placed = scheme::place(&trunk.graph, &request).map_err(|e| e.to_string())?;
        let taps = taps(&placed, TapPrecision::on(&system, finding.tap_bits)).map_err(|e| e.to_string())?;
        let trace = trace(&trunk, &request, &system, finding.tap_bits, IMAGES).map_err(|e| e.to_string())?;
        Ok(Detail { placed, taps, trace })
    }

    fn trunk(&mut self, finding: &Finding) -> Result<Trunk, String> {
        if let Some((sha256, trunk)) = &self.last
            && *sha256 == finding.trunk_sha256
        {
            return Ok(trunk.clone());
        }
        let trunk = Trunk::open(&finding.trunk, finding.wanted()).map_err(|e| e.to_string())?;
        if trunk_sha256(&trunk) != finding.trunk_sha256 {
            return Err(format!("trunk '{}' is another now, or was opened with other options", finding.trunk));
        }
        self.last = Some((finding.trunk_sha256.clone(), trunk.clone()));
        Ok(trunk)
    }
}

/// A system of a sweep may have been put together: its name is its parts'.
fn system(finding: &Finding) -> Result<System, String> {
    let name = &finding.system;
    let parts: Vec<&str> = name.split('+').map(str::trim).collect();
    let system = match parts[..] {
        [trunk, adapter, link] => library::compose(trunk, adapter, link),
        _ => library::load_system(name),
    };
    let system = system.map_err(|e| e.to_string())?;
    if finding.system_sha256.as_ref().is_some_and(|sha256| system_sha256(&system) != *sha256) {
        return Err(format!("the figures of system '{name}' have changed since"));
    }
    Ok(system)
}
