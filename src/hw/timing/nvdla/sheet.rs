//! NVDLA's published performance sheet (`NVDLA_OpenSource_Performance.xlsx`, ResNet-50): its
//! arithmetic with its quirks, each with the reason why the plain model differs.
//!
//! One more is in its shapes and not in its arithmetic: the row Res2a_branch2a has the 256 input
//! channels of the second block, where the network has 64.

use super::{Counts, Engine};
use crate::hw::timing::layers::Layer;
use crate::hw::timing::stores::{Tiles, tiled};
use crate::hw::timing::{LayerKind, mul};
use serde::Serialize;

/// The convolution buffer that the sheet counts with.
const BUFFER_B: u64 = 512 * 1024;

/// Where the sheet leaves its own rules or ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quirk {
    StemRate,
    StemPadding,
    HalfRate,
    StridedPointwiseWeights,
    InputAgain,
    PooledOperand,
    PaddedOutputs,
    UnroundedAtoms,
}

impl Quirk {
    pub fn reason(self) -> &'static str {
        match self {
            Quirk::StemRate => {
                "the sheet takes three quarters of all multipliers for the stem; we count merged kernel rows"
            }
            Quirk::StemPadding => "the sheet stores the image with four channels and the stem's kernel as 8x8x4",
            Quirk::HalfRate => {
                "without SRAM the sheet doubles the cycles of the stem and of 64 filters over 64 or more channels"
            }
            Quirk::StridedPointwiseWeights => "the sheet loads four times the weights of a 1x1 convolution of stride 2",
            Quirk::InputAgain => "those weights do not fit the buffer, and the sheet loads the whole input again",
            Quirk::PooledOperand => "the sheet counts the added operand at the size behind the fused pooling",
            Quirk::PaddedOutputs => "the sheet rounds the stored outputs up to 16 channels",
            Quirk::UnroundedAtoms => {
                "the sheet divides by all multipliers; channels or filters do not fill whole atoms"
            }
        }
    }
}

/// A row of the sheet as it follows from the layer's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Every map in memory.
    pub counts: Counts,
    /// MAC cycles with a memory on the chip for the maps.
    pub mac_cycles_sram: u64,
    /// What was done that the plain model does not do.
    pub quirks: Vec<Quirk>,
}

/// A layer by the sheet's rules: without SRAM, and its MAC cycles with SRAM.
pub fn counts(engine: &Engine, layer: &Layer) -> Row {
    let mut quirks = Vec::new();
    let w = &layer.work.window;
    let is_stem = w.in_c <= super::IMAGE && w.taps() > 1;
    let mac_cycles_sram = mac_cycles_sram(engine, layer, is_stem, &mut quirks);
    let halved = is_stem || (w.out_c == 64 && w.in_c >= 64 && [1, 9].contains(&w.taps()));
    if halved {
        quirks.push(Quirk::HalfRate);
    }
    let (input_b, weight_b) = operands(engine, layer, is_stem, &mut quirks);
    let output_b = mul(&[layer.stored_pixels(), w.out_c.div_ceil(16), 16]);
    if output_b != mul(&[layer.stored_pixels(), w.out_c]) {
        quirks.push(Quirk::PaddedOutputs);
    }
    if layer.adds_operand && layer.pooled.is_some() {
        quirks.push(Quirk::PooledOperand);
    }
    let counts = Counts {
        mac_cycles: mul(&[mac_cycles_sram, if halved { 2 } else { 1 }]),
        input_b,
        weight_b,
        operand_b: if layer.adds_operand { output_b } else { 0 },
        output_b,
        traffic_b: 0,
    };
    Row { counts: counts.with_traffic(), mac_cycles_sram, quirks }
}

fn mac_cycles_sram(engine: &Engine, layer: &Layer, is_stem: bool, quirks: &mut Vec<Quirk>) -> u64 {
    let w = &layer.work.window;
    let units = engine.atomic_c.saturating_mul(engine.atomic_k).max(1);
    if is_stem {
        quirks.push(Quirk::StemRate);
        return mul(&[w.macs(), 4]).div_ceil(mul(&[units, 3]));
    }
    let gain = engine.winograd_gain.filter(|_| engine.is_winograd(w)).unwrap_or(1.0);
    let cycles = (w.macs() as f64 / units as f64 / gain).ceil() as u64;
    if cycles != engine.mac_cycles(w) {
        quirks.push(Quirk::UnroundedAtoms);
    }
    cycles
}

/// Bytes of input and weights, as often as they are loaded.
fn operands(engine: &Engine, layer: &Layer, is_stem: bool, quirks: &mut Vec<Quirk>) -> (u64, u64) {
    let w = &layer.work.window;
    if is_stem {
        quirks.push(Quirk::StemPadding);
        let kernel = w.kernel.map(|k| k.div_ceil(8) * 8);
        return (mul(&[w.in_h, w.in_w, super::IMAGE]), mul(&[kernel[0], kernel[1], super::IMAGE, w.out_c]));
    }
    let mut weight_b = engine.stored_weight_b(w);
    if w.kernel == [1, 1] && w.stride == [2, 2] {
        quirks.push(Quirk::StridedPointwiseWeights);
        weight_b = mul(&[weight_b, 4]);
    }
    let input_b = w.in_b();
    let least_weight_b = weight_b.div_ceil(w.out_c.div_ceil(engine.atomic_k.max(1)).max(1));
    let tiles = Tiles { input_b, weight_b, least_input_b: w.least_input_b(), least_weight_b, tile_b: BUFFER_B };
    let is_linear = layer.work.kind == LayerKind::Linear;
    if is_linear || tiled(tiles) == input_b.saturating_add(weight_b) {
        return (input_b, weight_b);
    }
    quirks.push(Quirk::InputAgain);
    let parts = weight_b.div_ceil(BUFFER_B.saturating_sub(tiles.least_input_b).max(1));
    (mul(&[input_b, parts]), weight_b)
}

/// Bytes as the sheet prices them: a KiB is a thousand bytes.
pub fn priced_b(traffic_b: u64) -> u64 {
    (u128::from(traffic_b) * 1000).div_ceil(1024).try_into().unwrap_or(u64::MAX)
}

/// Cycles at 1 GHz of traffic at a rate, as the sheet has them.
pub fn dram_cycles(traffic_b: u64, gb_per_s: f64) -> u64 {
    (traffic_b as f64 / 1024.0 * 1000.0 / gb_per_s).ceil() as u64
}

/// What a layer waits for in the sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Waits {
    #[serde(rename = "MAC")]
    Mac,
    #[serde(rename = "DRAM")]
    Dram,
    #[serde(rename = "CVSRAM-R")]
    SramRead,
    #[serde(rename = "CVSRAM-W")]
    SramWrite,
}

impl Waits {
    /// As the sheet prints it.
    pub fn name(self) -> &'static str {
        match self {
            Waits::Mac => "MAC",
            Waits::Dram => "DRAM",
            Waits::SramRead => "CVSRAM-R",
            Waits::SramWrite => "CVSRAM-W",
        }
    }
}

/// The cost rule: a layer takes the longest of its parts, and waits for the first that is so long.
pub fn cost(mac: u64, dram: u64, sram_read: u64, sram_write: u64) -> (u64, Waits) {
    let parts = [(mac, Waits::Mac), (dram, Waits::Dram), (sram_read, Waits::SramRead), (sram_write, Waits::SramWrite)];
    parts.into_iter().reduce(|longest, part| if part.0 > longest.0 { part } else { longest }).unwrap_or(parts[0])
}
