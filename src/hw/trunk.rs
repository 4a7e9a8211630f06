//! Trunk files: the chip that holds the frozen network.

use super::error::HwError;
use super::figure::{Figure, section};
use super::memory::{MemoryKind, MemoryLevel, check_levels, check_node};
use super::reader::ModelFile;
use super::schema::{CostRule, Kind, RoundsAt, Validation, words};
use super::source::Source;
use super::timing::nvdla::Compat;
use super::timing::shared::{LAYER_KINDS, misspelt};
use super::timing::systolic::{Dataflow, FoldMode};
use crate::quant::Profile;
use std::collections::BTreeMap;

words!(
    /// How a trunk computes.
    TrunkKind {
        /// Weights are wires: no weight traffic, a pixel a cycle.
        FixedWeight = "fixed_weight",
        Systolic = "systolic",
        Spatial = "spatial",
        SimdNpu = "simd_npu",
        Cim = "cim",
        RomCim = "rom_cim",
        FpgaDpu = "fpga_dpu",
        Mcu = "mcu",
    }
);

section!(
    /// What its integers are: structure, not physics.
    #[derive(Default)]
    Arith {
        figures {}
        plain {
            /// Name of an arithmetic profile of `quant`.
            profile: Option<String>,
            accumulator_bits: Option<u32>,
            weight_bits: Option<u32>,
            activation_bits: Option<u32>,
        }
    }
);

section!(
    /// The multipliers and their clock.
    #[derive(Default)]
    Compute {
        figures {
            clock_mhz: Figure,
            mac_units: Figure,
            rows: Figure,
            cols: Figure,
            atomic_c: Figure,
            atomic_k: Figure,
            pixel_parallel: Figure,
            processors: Figure,
            peak_tops: Figure,
            vector_ops_per_cycle: Figure,
            winograd_3x3_s1_gain: Figure,
            mac_pj: Figure,
            mac_energy_fj_per_bit2: Figure,
            mac_area_um2_per_bit2: Figure,
            resident_weight_b: Figure,
            min_cycles_per_layer: Figure,
            utilisation_by_layer_kind: BTreeMap<String, Figure>,
        }
        plain {
            pixels_per_cycle: Option<u32>,
            layers_pipelined: Option<bool>,
            cost_rule: Option<CostRule>,
            /// Of a systolic array: the operand that stays in it.
            dataflow: Option<Dataflow>,
            /// Of a systolic array: how folds follow each other.
            fold_mode: Option<FoldMode>,
            /// Of a convolution engine: 3x3 convolutions of stride 1 take Winograd's form.
            winograd: Option<bool>,
            /// A published model to reproduce, quirks included.
            compat: Option<Compat>,
        }
    }
);

section!(
    /// Power of the chip without its memories off the chip.
    #[derive(Default)]
    TrunkPower {
        figures {
            static_mw: Figure,
            idle_mw: Figure,
            clock_tree_mw: Figure,
            average_mw: Figure,
            peak_mw: Figure,
            tdp_w: Figure,
        }
        plain {}
    }
);

section!(
    /// Silicon.
    #[derive(Default)]
    Area {
        figures { die_mm2: Figure }
        plain {}
    }
);

section!(
    /// A trunk file.
    Trunk {
        figures {
            clock_mhz: Figure,
            compute: Compute,
            memory: BTreeMap<String, MemoryLevel>,
            power: TrunkPower,
            area: Area,
            published: BTreeMap<String, Figure>,
        }
        plain {
            schema: String,
            name: String,
            kind: TrunkKind,
            node_nm: Option<f64>,
            weights_mutable: Option<bool>,
            activation_bits: Option<u32>,
            weight_bits: Option<u32>,
            cost_rule: Option<CostRule>,
            /// A table file that its MAC and its on-chip memories are priced by where it says nothing.
            energy_table: Option<String>,
            /// The side that rounds at tap-in, unless a system says otherwise.
            tap_in_rounds: Option<RoundsAt>,
            #[serde(default)]
            arith: Arith,
            note: Option<String>,
            #[serde(default)]
            validation: Vec<Validation>,
            #[serde(default)]
            sources: BTreeMap<String, String>,
        }
    }
);

impl Trunk {
    /// As reports name it.
    pub fn path(&self) -> String {
        format!("{}/{}", Kind::Trunk, self.name)
    }

    pub fn clock(&self) -> &Figure {
        if self.clock_mhz.is_given() { &self.clock_mhz } else { &self.compute.clock_mhz }
    }

    pub fn weight_bits(&self) -> Option<u32> {
        self.arith.weight_bits.or(self.weight_bits)
    }

    pub fn activation_bits(&self) -> Option<u32> {
        self.arith.activation_bits.or(self.activation_bits)
    }

    /// A layer costs the longer of computing and loading unless the file says that they add.
    pub fn cost_rule(&self) -> CostRule {
        self.cost_rule.or(self.compute.cost_rule).unwrap_or(CostRule::Max)
    }

    /// Whether a layer starts on the first pixels of the one before it.
    pub fn layers_pipelined(&self) -> bool {
        self.compute.layers_pipelined.unwrap_or(false)
    }

    /// The memory off the chip, if it has one.
    pub fn dram(&self) -> Option<&MemoryLevel> {
        self.memory.values().find(|level| level.kind == Some(MemoryKind::Dram))
    }

    /// The level in which maps stay from one layer to the next.
    pub fn activation_store(&self) -> Option<&MemoryLevel> {
        self.memory.values().find(|level| level.holds_activations == Some(true))
    }

    /// The level that operands pass through on their way to the array: the largest that holds no maps
    /// from layer to layer, register files aside.
    pub fn buffer(&self) -> Option<&MemoryLevel> {
        let buffers = self.memory.values().filter(|level| {
            matches!(level.kind, Some(MemoryKind::Sram | MemoryKind::Edram)) && level.holds_activations != Some(true)
        });
        let capacity = |level: &MemoryLevel| level.capacity_b.value().unwrap_or(0.0);
        buffers.reduce(|best, level| if capacity(level) > capacity(best) { level } else { best })
    }

    /// The level that on-chip traffic is charged to: where activations stay, or else the largest.
    pub fn on_chip(&self) -> Option<&MemoryLevel> {
        if let Some(level) = self.activation_store() {
            return Some(level);
        }
        let on_chip = self.memory.values().filter(|level| level.kind.is_some_and(MemoryKind::is_on_chip));
        let capacity = |level: &MemoryLevel| level.capacity_b.value().unwrap_or(0.0);
        on_chip.reduce(|best, level| if capacity(level) > capacity(best) { level } else { best })
    }
}

impl ModelFile for Trunk {
    const KIND: Kind = Kind::Trunk;

    fn name(&self) -> &str {
        &self.name
    }

    fn sources(&self) -> &BTreeMap<String, String> {
        &self.sources
    }

    fn validations(&self) -> &[Validation] {
        &self.validation
    }

    fn check(&self, source: &Source) -> Result<(), HwError> {
        check_node(self.node_nm, source)?;
        check_levels(&self.memory, source)?;
        self.check_arith(source)?;
        self.check_compute(source)
    }
}

impl Trunk {
    fn check_arith(&self, source: &Source) -> Result<(), HwError> {
        let arith = &self.arith;
        if let Some(Err(unknown)) = arith.profile.as_ref().map(|p| p.parse::<Profile>()) {
            return Err(source.wrong("arith.profile", unknown.to_string(), "one of these"));
        }
        for (name, top, inner) in [
            ("weight_bits", self.weight_bits, arith.weight_bits),
            ("activation_bits", self.activation_bits, arith.activation_bits),
        ] {
            if top.is_some() && inner.is_some() && top != inner {
                let wrong = format!("it contradicts `{name}` at the top");
                return Err(source.wrong(&format!("arith.{name}"), wrong, "say it in one place"));
            }
        }
        for (key, bits) in [
            ("weight_bits", self.weight_bits()),
            ("activation_bits", self.activation_bits()),
            ("arith.accumulator_bits", arith.accumulator_bits),
        ] {
            if bits.is_some_and(|bits| !(1..=64).contains(&bits)) {
                return Err(source.wrong(key, "no engine has so many bits", "1 to 64"));
            }
        }
        Ok(())
    }

    fn check_compute(&self, source: &Source) -> Result<(), HwError> {
        let compute = &self.compute;
        if !self.clock().is_given() {
            let right = "a trunk needs its clock, if only as { unknown = true }";
            return Err(source.wrong("clock_mhz", "it is missing", right));
        }
        if self.clock_mhz.is_given() && compute.clock_mhz.is_given() {
            return Err(source.wrong(
                "compute.clock_mhz",
                "the clock is given at the top as well",
                "say it in one place",
            ));
        }
        if self.cost_rule.is_some() && compute.cost_rule.is_some() {
            return Err(source.wrong("compute.cost_rule", "it is given at the top as well", "say it in one place"));
        }
        if compute.mac_pj.is_given() && compute.mac_energy_fj_per_bit2.is_given() {
            let right = "give mac_pj or mac_energy_fj_per_bit2";
            return Err(source.wrong("compute.mac_pj", "the energy of a MAC is given twice", right));
        }
        if compute.pixels_per_cycle == Some(0) {
            return Err(source.wrong("compute.pixels_per_cycle", "it is 0", "at least 1"));
        }
        if let Some(key) = misspelt(&compute.utilisation_by_layer_kind) {
            let right = format!("one of {}", LAYER_KINDS.join(", "));
            return Err(source.wrong(
                &format!("compute.utilisation_by_layer_kind.{key}"),
                "no layer kind has this name",
                right,
            ));
        }
        let array = [&compute.mac_units, &compute.rows, &compute.cols];
        if self.kind != TrunkKind::FixedWeight && !array.iter().any(|figure| figure.is_given()) {
            let right = "a programmable trunk needs mac_units, or rows and cols, if only as { unknown = true }";
            return Err(source.wrong("compute.mac_units", "it is missing", right));
        }
        Ok(())
    }
}
