//! Memories: a file of their own, or a level of a trunk or an adapter device.
//!
//! A level may name a memory file with `ref`; figures that it does not give are then those of the
//! file. A memory file may itself build on another in the same way.

use super::error::HwError;
use super::estimate::Estimate;
use super::figure::{Figure, section};
use super::reader::ModelFile;
use super::schema::{Kind, words};
use super::source::Source;
use std::collections::BTreeMap;

words!(
    /// What a memory is made of.
    MemoryKind {
        Regfile = "regfile",
        Sram = "sram",
        Edram = "edram",
        Dram = "dram",
        Flash = "flash",
        Rom = "rom",
    }
);

impl MemoryKind {
    /// On the chip, and written as well as read.
    pub fn is_on_chip(self) -> bool {
        matches!(self, Self::Regfile | Self::Sram | Self::Edram)
    }
}

/// Declares a table with the figures that every memory has, and more plain keys.
macro_rules! memory_section {
    ($(#[$doc:meta])* $name:ident { $($plain:tt)* }) => {
        section!(
            $(#[$doc])*
            $name {
                figures {
                    capacity_b: Figure,
                    bandwidth_gb_per_s: Figure,
                    bandwidth_achieved_frac: Figure,
                    bytes_per_cycle: Figure,
                    latency_ns: Figure,
                    latency_cycles: Figure,
                    burst_b: Figure,
                    access_pj_per_bit: Figure,
                    read_pj_per_bit: Figure,
                    write_pj_per_bit: Figure,
                    read_pj_per_access: Figure,
                    write_pj_per_access: Figure,
                    leakage_mw: Figure,
                    idle_mw: Figure,
                    power_nw_per_bit: Figure,
                    area_um2_per_bit: Figure,
                }
                plain { $($plain)* }
            }
        );
    };
}

memory_section!(
    /// A memory file.
    Memory {
        schema: String,
        name: String,
        kind: MemoryKind,
        node_nm: Option<f64>,
        word_bits: Option<u32>,
        /// A memory whose figures hold where this one gives none.
        #[serde(rename = "ref")]
        reference: Option<String>,
        note: Option<String>,
        #[serde(default)]
        sources: BTreeMap<String, String>,
    }
);

memory_section!(
    /// One level of memory of a trunk or of an adapter device.
    MemoryLevel {
        kind: Option<MemoryKind>,
        word_bits: Option<u32>,
        /// Whether maps stay here from one layer to the next; otherwise they go off the chip.
        holds_activations: Option<bool>,
        /// Half of it is filled while the array works on the other half.
        double_buffered: Option<bool>,
        /// A memory file whose figures hold where this level gives none.
        #[serde(rename = "ref")]
        reference: Option<String>,
    }
);

impl MemoryLevel {
    /// Energy of reading a bit.
    pub fn read_pj_per_bit(&self) -> Estimate {
        self.per_bit(&self.read_pj_per_bit, &self.read_pj_per_access)
    }

    /// Energy of writing a bit.
    pub fn write_pj_per_bit(&self) -> Estimate {
        self.per_bit(&self.write_pj_per_bit, &self.write_pj_per_access)
    }

    /// From the first of: a figure per bit, one per access of a word, one for either direction.
    fn per_bit(&self, per_bit: &Figure, per_access: &Figure) -> Estimate {
        if per_bit.is_given() {
            return per_bit.estimate();
        }
        if let Some(bits) = self.word_bits.filter(|_| per_access.is_given()) {
            return per_access.estimate().of(1.0 / f64::from(bits));
        }
        if self.access_pj_per_bit.is_given() { self.access_pj_per_bit.estimate() } else { per_bit.estimate() }
    }
}

fn check_word(word_bits: Option<u32>, key: &str, source: &Source) -> Result<(), HwError> {
    match word_bits {
        Some(bits) if bits == 0 || bits > 1 << 20 => {
            Err(source.wrong(key, format!("a word of {bits} bits"), "1 to 1048576 bits"))
        }
        _ => Ok(()),
    }
}

/// Checks the levels of a trunk or an adapter device.
pub(super) fn check_levels(levels: &BTreeMap<String, MemoryLevel>, source: &Source) -> Result<(), HwError> {
    for (name, level) in levels {
        check_word(level.word_bits, &format!("memory.{name}.word_bits"), source)?;
        if level.kind.is_none() && level.reference.is_none() && name != "device" {
            let right = "one of regfile, sram, edram, dram, flash, rom; or a `ref` to a memory file";
            return Err(source.wrong(&format!("memory.{name}.kind"), "it is missing", right));
        }
    }
    at_most_one(levels, source, "kind", |level| level.kind == Some(MemoryKind::Dram))?;
    at_most_one(levels, source, "holds_activations", |level| level.holds_activations == Some(true))
}

/// Time and energy are those of one such level; which of two would be a guess.
fn at_most_one(
    levels: &BTreeMap<String, MemoryLevel>,
    source: &Source,
    key: &str,
    is_such: impl Fn(&MemoryLevel) -> bool,
) -> Result<(), HwError> {
    let mut such = levels.iter().filter(|(_, level)| is_such(level)).map(|(name, _)| name);
    match (such.next(), such.next()) {
        (Some(first), Some(second)) => {
            let wrong = format!("memory.{first} says the same");
            Err(source.wrong(&format!("memory.{second}.{key}"), wrong, "only one level may say it"))
        }
        _ => Ok(()),
    }
}

/// A process node as people write it: 4, 16, 45.
pub(super) fn check_node(node_nm: Option<f64>, source: &Source) -> Result<(), HwError> {
    match node_nm {
        Some(node) if !(0.1..=100_000.0).contains(&node) => {
            Err(source.wrong("node_nm", format!("it is {node}"), "the process in nanometres, such as 16"))
        }
        _ => Ok(()),
    }
}

impl ModelFile for Memory {
    const KIND: Kind = Kind::Memory;

    fn name(&self) -> &str {
        &self.name
    }

    fn sources(&self) -> &BTreeMap<String, String> {
        &self.sources
    }

    fn check(&self, source: &Source) -> Result<(), HwError> {
        check_node(self.node_nm, source)?;
        check_word(self.word_bits, "word_bits", source)
    }
}
