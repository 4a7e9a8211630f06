//! What a hardware file may say: the keys of each kind, and what each key holds.
//!
//! Units are in the key, never in the value. A `*` stands for one name of the author's choosing.

/// The kinds of files, each a folder of `hw_models` and a schema string `hw_models/<kind>/1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Trunk,
    Adapter,
    Link,
    Memory,
    System,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Trunk, Kind::Adapter, Kind::Link, Kind::Memory, Kind::System];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Trunk => "trunk",
            Kind::Adapter => "adapter",
            Kind::Link => "link",
            Kind::Memory => "memory",
            Kind::System => "system",
        }
    }

    pub fn folder(self) -> &'static str {
        match self {
            Kind::Trunk => "trunks",
            Kind::Adapter => "adapters",
            Kind::Link => "links",
            Kind::Memory => "memories",
            Kind::System => "systems",
        }
    }

    pub fn schema(self) -> String {
        format!("hw_models/{}/1", self.name())
    }

    /// The keys of a file of this kind.
    pub fn keys(self) -> Vec<(&'static str, Holds)> {
        let own: &[(&str, Holds)] = match self {
            Kind::Trunk => TRUNK,
            Kind::Adapter => ADAPTER,
            Kind::Link => LINK,
            Kind::Memory => MEMORY,
            Kind::System => SYSTEM,
        };
        COMMON.iter().chain(own).copied().collect()
    }
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// `{ v, lo, hi, src, conf, note }` or `{ unknown = true }`.
    Figure,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text, such as the name of another file.
    Text,
    Whole,
    Flag,
    /// Free material that is not used in any computation.
    Anything,
}

use Holds::{Anything, Figure, Flag, Text, Whole, Word};

const COMMON: &[(&str, Holds)] = &[("schema", Text), ("name", Text), ("about", Text), ("sources.*", Text)];

const TRUNK: &[(&str, Holds)] = &[
    ("kind", Word(&["fixed_weight", "systolic", "spatial", "simd_npu", "cim", "rom_cim", "fpga_dpu", "mcu"])),
    ("node_nm", Whole),
    ("clock_mhz", Figure),
    ("weights_mutable", Flag),
    ("activation_bits", Whole),
    ("weight_bits", Whole),
    ("cost_rule", Word(&["max", "sum"])),
    ("arith.profile", Text),
    ("arith.accumulator_bits", Whole),
    ("arith.weight_bits", Whole),
    ("arith.activation_bits", Whole),
    ("compute.mac_units", Figure),
    ("compute.rows", Figure),
    ("compute.cols", Figure),
    ("compute.atomic_c", Figure),
    ("compute.atomic_k", Figure),
    ("compute.winograd_3x3_s1_gain", Figure),
    ("compute.pixels_per_cycle", Whole),
    ("compute.layers_pipelined", Flag),
    ("compute.mac_pj", Figure),
    ("compute.mac_energy_fj_per_bit2", Figure),
    ("compute.mac_area_um2_per_bit2", Figure),
    ("compute.resident_weight_b", Figure),
    ("compute.min_cycles_per_layer", Figure),
    ("memory.*.ref", Text),
    ("memory.*.kind", Word(MEMORY_KINDS)),
    ("memory.*.capacity_b", Figure),
    ("memory.*.bandwidth_gb_per_s", Figure),
    ("memory.*.bytes_per_cycle", Figure),
    ("memory.*.latency_cycles", Figure),
    ("memory.*.latency_ns", Figure),
    ("memory.*.read_pj_per_bit", Figure),
    ("memory.*.write_pj_per_bit", Figure),
    ("memory.*.access_pj_per_bit", Figure),
    ("memory.*.area_um2_per_bit", Figure),
    ("memory.*.power_nw_per_bit", Figure),
    ("power.average_mw", Figure),
    ("power.peak_mw", Figure),
    ("power.static_mw", Figure),
    ("power.idle_mw", Figure),
    ("power.clock_tree_mw", Figure),
    ("power.tdp_w", Figure),
    ("area.die_mm2", Figure),
    ("published.*", Figure),
    ("validation", Anything),
];

const ADAPTER: &[(&str, Holds)] = &[
    ("kind", Word(&["gpu", "igpu", "cpu"])),
    ("node_nm", Whole),
    ("compute.peak_fp32_tflop_per_s", Figure),
    ("compute.peak_fp16_tflop_per_s", Figure),
    ("compute.peak_bf16_tflop_per_s", Figure),
    ("compute.gemm_fp32_tflop_per_s", Figure),
    ("compute.gemm_fp16_tflop_per_s", Figure),
    ("compute.gemm_bf16_tflop_per_s", Figure),
    ("launch.*.one_way_us", Figure),
    ("launch.*.round_trip_us", Figure),
    ("memory.*.ref", Text),
    ("memory.*.capacity_b", Figure),
    ("memory.*.bandwidth_gb_per_s", Figure),
    ("memory.*.bandwidth_achieved_frac", Figure),
    ("memory.*.access_pj_per_bit", Figure),
    ("power.tdp_w", Figure),
    ("power.idle_w", Figure),
    ("power.idle_context_w", Figure),
    ("power.fp32_pj_per_flop", Figure),
    ("power.bf16_pj_per_flop", Figure),
    ("power.flop_energy_covers", Word(&["board", "core"])),
    ("validation", Anything),
];

const LINK: &[(&str, Holds)] = &[
    ("kind", Word(&["packet", "burst", "stream", "bitclocked"])),
    ("overlap", Word(&["none", "double_buffer", "full"])),
    ("phy.duplex", Word(&["full", "half"])),
    ("phy.lanes", Figure),
    ("phy.wires", Figure),
    ("phy.lane_rate_gtps", Figure),
    ("phy.encoding_num", Figure),
    ("phy.encoding_den", Figure),
    ("phy.background_overhead_frac", Figure),
    ("phy.clock_mhz", Figure),
    ("phy.clocks_per_b", Figure),
    ("transaction.max_payload_b", Figure),
    ("transaction.header_b_write", Figure),
    ("transaction.header_b_read_request", Figure),
    ("transaction.header_b_read_completion", Figure),
    ("transaction.header_clocks", Figure),
    ("transaction.turnaround_clocks", Figure),
    ("transaction.min_wire_b", Figure),
    ("transaction.beat_b", Figure),
    ("transaction.boundary_b", Figure),
    ("transaction.min_ns_per_transaction", Figure),
    ("transaction.max_outstanding_reads", Figure),
    ("latency.setup_ns", Figure),
    ("latency.write_posted_ns", Figure),
    ("latency.read_round_trip_ns", Figure),
    ("latency.software_submit_us", Figure),
    ("latency.host_staging_gb_per_s", Figure),
    ("energy.wire_pj_per_bit", Figure),
    ("energy.transaction_nj", Figure),
    ("energy.idle_mw", Figure),
    ("validation", Anything),
];

const MEMORY_KINDS: &[&str] = &["regfile", "sram", "edram", "dram", "flash", "rom"];

const MEMORY: &[(&str, Holds)] = &[
    ("kind", Word(MEMORY_KINDS)),
    ("node_nm", Whole),
    ("capacity_b", Figure),
    ("word_bits", Whole),
    ("read_pj_per_access", Figure),
    ("write_pj_per_access", Figure),
    ("access_pj_per_bit", Figure),
    ("bandwidth_gb_per_s", Figure),
    ("bandwidth_achieved_frac", Figure),
    ("latency_ns", Figure),
    ("burst_b", Figure),
    ("leakage_mw", Figure),
    ("idle_mw", Figure),
];

const SYSTEM: &[(&str, Holds)] = &[
    ("trunk", Text),
    ("adapter", Text),
    ("link", Text),
    ("launch_api", Text),
    ("tap_in_rounds", Word(&["adapter", "trunk"])),
];

/// Keys without which a file of its kind says nothing.
pub fn required(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Trunk => &["kind", "clock_mhz", "arith.profile"],
        Kind::Adapter => &["kind"],
        Kind::Link => &["kind", "phy.duplex"],
        Kind::Memory => &["kind"],
        Kind::System => &["trunk", "adapter", "link", "launch_api", "tap_in_rounds"],
    }
}

/// The unit that the suffix of a figure's key names.
pub fn unit(key: &str) -> &'static str {
    const UNITS: &[(&str, &str)] = &[
        ("_tflop_per_s", "TFLOP/s"),
        ("_gb_per_s", "GB/s"),
        ("_pj_per_bit", "pJ/bit"),
        ("_pj_per_access", "pJ/access"),
        ("_pj_per_flop", "pJ/FLOP"),
        ("_fj_per_bit2", "fJ/bit²"),
        ("_um2_per_bit2", "µm²/bit²"),
        ("_um2_per_bit", "µm²/bit"),
        ("_nw_per_bit", "nW/bit"),
        ("_tops_per_w", "TOPS/W"),
        ("_gtps", "GT/s"),
        ("_mhz", "MHz"),
        ("_cycles", "cycles"),
        ("_clocks", "clocks"),
        ("_frac", "of 1"),
        ("_mm2", "mm²"),
        ("_pj", "pJ"),
        ("_nj", "nJ"),
        ("_mw", "mW"),
        ("_ns", "ns"),
        ("_us", "µs"),
        ("_w", "W"),
        ("_b", "B"),
    ];
    UNITS.iter().find(|(suffix, _)| key.ends_with(suffix)).map_or("", |(_, unit)| unit)
}
