//! Systems: one trunk, one adapter device and the link between them.

use super::adapter::{Adapter, Launch};
use super::error::HwError;
use super::figure::{Figure, section};
use super::link::Link;
use super::reader::ModelFile;
use super::schema::{Access, Kind, LaunchApi, RoundsAt};
use super::sheet::{Row, rows};
use super::source::Source;
use super::trunk::Trunk;
use crate::units::Direction;
use serde::Deserialize;
use std::collections::BTreeMap;

section!(
    /// The program around the two devices: energy of one of its operations, power while a run lasts.
    #[derive(Default)]
    Host {
        figures {
            op_pj: Figure,
            active_w: Figure,
        }
        plain {}
    }
);

/// Memories that a system puts where a trunk or an adapter device leaves figures out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memories {
    pub trunk_dram: Option<String>,
    pub adapter: Option<String>,
}

section!(
    /// A system file, before the files that it names are read.
    SystemFile {
        figures { host: Host }
        plain {
            schema: String,
            name: String,
            trunk: String,
            adapter: String,
            link: String,
            launch_api: Option<LaunchApi>,
            tap_in_rounds: Option<RoundsAt>,
            tap_out_access: Option<Access>,
            tap_in_access: Option<Access>,
            #[serde(default)]
            memories: Memories,
            note: Option<String>,
            #[serde(default)]
            sources: BTreeMap<String, String>,
        }
    }
);

impl ModelFile for SystemFile {
    const KIND: Kind = Kind::System;

    fn name(&self) -> &str {
        &self.name
    }

    fn sources(&self) -> &BTreeMap<String, String> {
        &self.sources
    }

    fn check(&self, _source: &Source) -> Result<(), HwError> {
        Ok(())
    }
}

/// The hardware that a run is priced on.
#[derive(Clone, Debug, PartialEq)]
pub struct System {
    pub name: String,
    pub trunk: Trunk,
    pub adapter: Adapter,
    pub link: Link,
    pub host: Host,
    /// One that `adapter.launch` has.
    pub launch_api: LaunchApi,
    pub tap_in_rounds: RoundsAt,
    pub access: TapAccess,
}

/// How payload is moved in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapAccess {
    /// Whether the trunk writes its maps to the adapter device, or that reads them.
    pub tap_out: Access,
    /// Whether the adapter device writes its values to the trunk, or that reads them.
    pub tap_in: Access,
}

impl TapAccess {
    /// As was chosen; what nobody chose is written, which nobody waits for.
    pub fn chosen(tap_out: Option<Access>, tap_in: Option<Access>) -> Self {
        let [tap_out, tap_in] = [tap_out, tap_in].map(|access| access.unwrap_or(Access::Write));
        Self { tap_out, tap_in }
    }

    pub fn of(self, direction: Direction) -> Access {
        match direction {
            Direction::TapOut => self.tap_out,
            Direction::TapIn => self.tap_in,
        }
    }
}

impl System {
    /// Every figure of the system and of its parts.
    pub fn rows(&self) -> Vec<Row> {
        [rows(&self.host), rows(&self.trunk), rows(&self.adapter), rows(&self.link)].concat()
    }

    /// Launch times through the system's interface.
    pub fn launch(&self) -> Option<&Launch> {
        self.adapter.launch.get(&self.launch_api)
    }
}

/// The interface that a system goes through: its own choice, the device's, or the only one there is.
pub(super) fn choose_api(wanted: Option<LaunchApi>, adapter: &Adapter, source: &Source) -> Result<LaunchApi, HwError> {
    let mut only = adapter.launch.keys().copied();
    let only = only.next().filter(|_| only.next().is_none());
    let Some(api) = wanted.or(adapter.launch_api).or(only) else {
        let right = format!("one that {} has times for: {}", adapter.path(), adapter.launch_apis());
        return Err(source.wrong("launch_api", "it is missing", right));
    };
    if adapter.launch.contains_key(&api) {
        return Ok(api);
    }
    let right = format!("one of: {}", adapter.launch_apis());
    Err(source.wrong("launch_api", format!("{} has no [launch.{api}]", adapter.path()), right))
}
