//! A finding opened again, to be drawn: its network with the taps in place, and its timeline.
//!
//! Refused are trunks that do not give the finding's counts any more.

use super::Finding;
use crate::experiment::sweep::system_sha256;
use crate::experiment::trace::{Trace, trace};
use crate::experiment::training_account::Traffic;
use crate::experiment::trunk::Trunk;
use crate::graph::structure::Structure;
use crate::hw::{System, library};
use crate::plan::connections;
use crate::plan::tap::{Tap, TapPrecision, taps};
use crate::scheme::{self, Placed, Request, SchemeSpec};
use crate::units::Phase;

/// Images in flight in a drawn timeline: the second shows what overlaps.
const IMAGES: usize = 2;

/// What a drawing is made of.
#[derive(Clone, Debug)]
pub struct Detail {
    pub placed: Placed,
    pub taps: Vec<Tap>,
    pub trace: Trace,
    /// What is not as it was when the finding was made.
    pub note: Option<String>,
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

/// A trunk's name, input and seed.
type Asked = (String, Option<usize>, u64);

/// Opens findings one after another; the trunk of the last is kept for the next.
#[derive(Default)]
pub struct Opener {
    last: Option<(Asked, Trunk)>,
}

impl Opener {
    pub fn open(&mut self, finding: &Finding) -> Result<Detail, String> {
        let Some(counted) = &finding.counted else { return Err("it has no costs".into()) };
        let (system, note) = system(finding)?;
        let mut trunk = self.trunk(finding)?;
        let classes = trunk.graph.shape(trunk.graph.output).elements() as u64;
        let has_head = !Structure::find(&trunk.graph).map_err(|e| e.to_string())?.head.is_empty();
        if has_head && classes != counted.classes {
            trunk = trunk.with_fresh_head(counted.classes as usize, 0).map_err(|e| e.to_string())?;
        }
        let request = request(finding)?;
        let placed = scheme::place(&trunk.graph, &request).map_err(|e| e.to_string())?;
        let taps = taps(&placed, TapPrecision::on(&system, finding.tap_bits)).map_err(|e| e.to_string())?;
        let same = connections::count(&placed, &taps) == counted.connections
            && Traffic::of(&taps, Phase::Forward) == counted.forward;
        if !same {
            return Err(format!("trunk '{}' is another now: other maps cross than in the records", finding.trunk));
        }
        let trace = trace(&trunk, &request, &system, finding.tap_bits, IMAGES).map_err(|e| e.to_string())?;
        Ok(Detail { placed, taps, trace, note })
    }

    fn trunk(&mut self, finding: &Finding) -> Result<Trunk, String> {
        let asked = (finding.trunk.clone(), finding.trunk_input, finding.trunk_seed);
        if let Some((known, trunk)) = &self.last
            && *known == asked
        {
            return Ok(trunk.clone());
        }
        let trunk = Trunk::open(&finding.trunk, finding.wanted()).map_err(|e| e.to_string())?;
        self.last = Some((asked, trunk.clone()));
        Ok(trunk)
    }
}

/// A system of a sweep may have been put together: its name is its parts'. Also whether it is another than it was.
fn system(finding: &Finding) -> Result<(System, Option<String>), String> {
    let name = &finding.system;
    let parts: Vec<&str> = name.split('+').map(str::trim).collect();
    let system = match parts[..] {
        [trunk, adapter, link] => library::compose(trunk, adapter, link),
        _ => library::load_system(name),
    };
    let system = system.map_err(|e| e.to_string())?;
    let changed = finding.system_sha256.as_ref().is_some_and(|sha256| system_sha256(&system) != *sha256);
    let note = changed.then(|| format!("the model of system '{name}' is not the one that the records were made with"));
    Ok((system, note))
}
