//! The memories around an array: which bytes a layer moves, and how long that takes.
//!
//! Weights that are resident are never loaded. Maps stay on the chip where it has a store for them
//! and a layer's input and output fit it together; else they spill, both of them. What is loaded
//! passes through a buffer: weights and input go through once if one of them fits beside the least
//! share of the other, else the cheaper of the two is loaded again for every part of the other.
//! A double buffer has half its room for one layer's tile. An SRAM or a DRAM whose rate the file
//! does not mention costs no time.

use super::shared::note_given;
use super::{LayerKind, TrunkWork, mul, note};
use crate::hw::memory::MemoryLevel;
use crate::hw::trunk::Trunk;
use std::collections::BTreeSet;

/// Bytes to and from the memory off the chip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub read_b: u64,
    pub write_b: u64,
}

/// Rates and rooms of a trunk's memories.
#[derive(Clone, Debug)]
pub struct Stores {
    pub dram_ps_per_b: f64,
    pub sram_ps_per_b: f64,
    /// Room for maps on the chip.
    stays_b: u64,
    /// Room for one layer's tile, where there is a buffer.
    tile_b: Option<u64>,
    /// Bytes of an activation and of a weight.
    activation_word_b: u64,
    weight_word_b: u64,
}

impl Stores {
    pub fn new(trunk: &Trunk, ps_per_cycle: f64, unknown: &mut BTreeSet<String>) -> Self {
        let dram_ps_per_b = trunk.dram().map_or(0.0, |level| {
            let per_cycle = &level.bytes_per_cycle;
            if !level.bandwidth_gb_per_s.is_given() && per_cycle.is_given() {
                return note(per_cycle, unknown).map_or(0.0, |b| ps_per_cycle / b);
            }
            note(&level.bandwidth_gb_per_s, unknown).map_or(0.0, |gb_per_s| 1e3 / (gb_per_s * achieved(level)))
        });
        let sram_ps_per_b = trunk.on_chip().map_or(0.0, |level| {
            if level.bytes_per_cycle.is_given() {
                return note_given(&level.bytes_per_cycle, unknown).map_or(0.0, |b| ps_per_cycle / b);
            }
            note_given(&level.bandwidth_gb_per_s, unknown).map_or(0.0, |gb_per_s| 1e3 / (gb_per_s * achieved(level)))
        });
        let word_b = |bits: Option<u32>| u64::from(bits.unwrap_or(8).max(8).div_ceil(8));
        Self {
            dram_ps_per_b,
            sram_ps_per_b,
            stays_b: trunk.activation_store().map_or(0, |level| stays_b(level, unknown)),
            tile_b: trunk.buffer().and_then(tile_b),
            activation_word_b: word_b(trunk.activation_bits()),
            weight_word_b: word_b(trunk.weight_bits()),
        }
    }

    /// What a layer moves; `group` is how many output channels the array works on at once.
    pub fn traffic(&self, work: &TrunkWork, group: u64) -> Traffic {
        let input_b = work.input_b.saturating_mul(self.activation_word_b);
        let output_b = work.output_b.saturating_mul(self.activation_word_b);
        let weight_b = work.loaded_weight_b().saturating_mul(self.weight_word_b);
        if input_b.saturating_add(output_b) <= self.stays_b {
            return Traffic { read_b: weight_b, write_b: 0 };
        }
        Traffic { read_b: self.loads(work, input_b, weight_b, group), write_b: output_b }
    }

    /// Weights and a spilt input through the buffer.
    fn loads(&self, work: &TrunkWork, input_b: u64, weight_b: u64, group: u64) -> u64 {
        let once = input_b.saturating_add(weight_b);
        let Some(tile_b) = self.tile_b else { return once };
        let window = &work.window;
        if weight_b == 0 || window.out_c == 0 || work.kind == LayerKind::Depthwise {
            // A filter per channel meets its own channel alone: there is nothing to load twice.
            return once;
        }
        let least_input_b = mul(&[window.least_input_b(), self.activation_word_b]);
        // The filters that are worked on at once; more filters never make this less.
        let at_once = group.clamp(1, window.out_c);
        let filter_b = mul(&[work.weight_b, self.weight_word_b]).div_ceil(window.out_c);
        let least_weight_b = mul(&[filter_b, at_once]);
        tiled(Tiles { input_b, weight_b, least_input_b, least_weight_b, tile_b })
    }
}

/// A product of two operands that may not fit a buffer together.
#[derive(Clone, Copy, Debug)]
pub struct Tiles {
    pub input_b: u64,
    pub weight_b: u64,
    pub least_input_b: u64,
    pub least_weight_b: u64,
    pub tile_b: u64,
}

/// Bytes to load: each operand once, or one of them once per part of the other.
pub fn tiled(t: Tiles) -> u64 {
    let once = t.input_b.saturating_add(t.weight_b);
    let fits = |whole: u64, least: u64| whole.saturating_add(least) <= t.tile_b;
    if fits(t.weight_b, t.least_input_b) || fits(t.input_b, t.least_weight_b) {
        return once;
    }
    // Parts of an operand that fit beside the least share of the other; not even that fits: one by one.
    let parts = |whole: u64, least_other: u64, least: u64| {
        whole.div_ceil(t.tile_b.saturating_sub(least_other).max(least).max(1))
    };
    let input_again = t.input_b.saturating_mul(parts(t.weight_b, t.least_input_b, t.least_weight_b));
    let weight_again = t.weight_b.saturating_mul(parts(t.input_b, t.least_weight_b, t.least_input_b));
    input_again.saturating_add(t.weight_b).min(weight_again.saturating_add(t.input_b))
}

/// A store of unknown size is named, and takes whatever comes: no time is made up.
fn stays_b(level: &MemoryLevel, unknown: &mut BTreeSet<String>) -> u64 {
    note(&level.capacity_b, unknown).map_or(u64::MAX, |capacity| capacity as u64)
}

fn achieved(level: &MemoryLevel) -> f64 {
    level.bandwidth_achieved_frac.value().unwrap_or(1.0)
}

fn tile_b(level: &MemoryLevel) -> Option<u64> {
    let capacity = level.capacity_b.value()? as u64;
    Some(if level.double_buffered == Some(true) { capacity / 2 } else { capacity })
}

/// Which weights stay on the chip: the first layers' until the room is full.
#[derive(Clone, Debug)]
pub struct Residency {
    left_b: u64,
    /// Named where weights lie beyond the room and the chip has no memory to load them from.
    beyond: Option<String>,
    pub unknown: BTreeSet<String>,
}

impl Residency {
    pub fn new(trunk: &Trunk) -> Self {
        let mut unknown = BTreeSet::new();
        let figure = &trunk.compute.resident_weight_b;
        let left_b = if figure.is_given() { note(figure, &mut unknown).unwrap_or(0.0) as u64 } else { 0 };
        let nowhere = left_b > 0 && trunk.dram().is_none();
        let beyond = nowhere.then(|| format!("{}: memory for weights beyond compute.resident_weight_b", trunk.path()));
        Self { left_b, beyond, unknown }
    }

    /// The work of the next layer, with its share of the room.
    pub fn place(&mut self, work: TrunkWork) -> TrunkWork {
        let resident_weight_b = work.weight_b.min(self.left_b);
        self.left_b -= resident_weight_b;
        if resident_weight_b < work.weight_b {
            self.unknown.extend(self.beyond.clone());
        }
        TrunkWork { resident_weight_b, ..work }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operand_is_loaded_again_only_where_neither_fits() {
        let tiles = Tiles { input_b: 800, weight_b: 100, least_input_b: 30, least_weight_b: 10, tile_b: 130 };
        assert_eq!(tiled(tiles), 900);
        // The input goes in seven parts of at most 119 bytes, each with all weights: cheaper than the
        // weights in two parts, each with the whole input.
        assert_eq!(tiled(Tiles { tile_b: 129, ..tiles }), 800 + 7 * 100);
        assert_eq!(tiled(Tiles { tile_b: 129, input_b: 120, ..tiles }), 120 + 2 * 100);
        // A small input stays while the weights stream by.
        assert_eq!(tiled(Tiles { input_b: 50, weight_b: 4000, ..tiles }), 4050);
        assert_eq!(tiled(Tiles { weight_b: 4000, ..tiles }), 800 + 7 * 4000);
        assert_eq!(tiled(Tiles { tile_b: 0, ..tiles }), 800 + 27 * 100);
    }
}
