//! The unit of a figure is the end of its key, and with it come the values that can be meant.
//!
//! The bounds are wide: they catch a slip of units (seconds written as nanoseconds), keep divisors
//! away from zero, and keep any product with a run's counts far inside `u64` picoseconds.

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// As printed; empty for a pure number.
    pub unit: &'static str,
    pub min: f64,
    pub max: f64,
    /// Only whole numbers make sense.
    pub whole: bool,
}

const fn rule(unit: &'static str, min: f64, max: f64) -> Rule {
    Rule { unit, min, max, whole: false }
}

const fn whole(unit: &'static str, min: f64, max: f64) -> Rule {
    Rule { unit, min, max, whole: true }
}

/// Two to the 50th: no memory, packet or counter here is larger.
const MOST: f64 = (1u64 << 50) as f64;

/// Keys whose rule is not that of their unit.
const NAMED: &[(&str, Rule)] = &[
    ("lanes", whole("lanes", 1.0, 1e6)),
    ("wires", whole("wires", 0.0, 1e6)),
    ("encoding_num", whole("", 1.0, 1e6)),
    ("encoding_den", whole("", 1.0, 1e6)),
    ("background_overhead_frac", rule("", 0.0, 0.99)),
    ("bandwidth_achieved_frac", rule("", 1e-3, 1.0)),
    ("clocks_per_b", rule("clocks/B", 0.01, 1e6)),
    ("header_clocks", whole("clocks", 0.0, 1e6)),
    ("turnaround_clocks", whole("clocks", 0.0, 1e6)),
    ("max_payload_b", whole("B", 1.0, MOST)),
    ("boundary_b", whole("B", 1.0, MOST)),
    ("beat_b", whole("B", 1.0, 1e9)),
    ("min_wire_b", whole("B", 0.0, 1e9)),
    ("header_b_write", whole("B", 0.0, 1e9)),
    ("header_b_read_request", whole("B", 0.0, 1e9)),
    ("header_b_read_completion", whole("B", 0.0, 1e9)),
    ("min_ns_per_transaction", rule("ns", 0.0, 1e9)),
    ("max_outstanding_reads", whole("", 1.0, 1e9)),
    ("mac_units", whole("", 1.0, 1e9)),
    ("rows", whole("", 1.0, 1e5)),
    ("cols", whole("", 1.0, 1e5)),
    ("atomic_c", whole("", 1.0, 1e6)),
    ("atomic_k", whole("", 1.0, 1e6)),
    ("pixel_parallel", whole("", 1.0, 1e6)),
    ("processors", whole("", 1.0, 1e6)),
    ("vector_ops_per_cycle", rule("op/cycle", 1e-6, 1e9)),
    ("bytes_per_cycle", rule("B/cycle", 1e-3, 1e9)),
    ("min_cycles_per_layer", whole("cycles", 0.0, 1e9)),
];

/// Suffixes, longest match first.
const SUFFIXES: &[(&str, Rule)] = &[
    ("_tflop_per_s", rule("TFLOP/s", 1e-6, 1e6)),
    ("_tops_per_w", rule("TOPS/W", 0.0, 1e9)),
    ("_tops", rule("TOPS", 0.0, 1e9)),
    ("_fps", rule("frame/s", 0.0, 1e12)),
    ("_gb_per_s", rule("GB/s", 1e-6, 1e6)),
    ("_gib_per_s", rule("GiB/s", 1e-6, 1e6)),
    ("_gtps", rule("GT/s", 1e-5, 1e4)),
    ("_mhz", rule("MHz", 1e-2, 1e6)),
    ("_ns", rule("ns", 0.0, 1e9)),
    ("_us", rule("us", 0.0, 1e7)),
    ("_ms", rule("ms", 0.0, 1e5)),
    ("_cycles", rule("cycles", 0.0, 1e9)),
    ("_mw", rule("mW", 0.0, 1e9)),
    ("_w", rule("W", 0.0, 1e6)),
    ("_nj", rule("nJ", 0.0, 1e9)),
    ("_pj", rule("pJ", 0.0, 1e9)),
    ("_pj_per_bit", rule("pJ/bit", 0.0, 1e6)),
    ("_pj_per_access", rule("pJ/access", 0.0, 1e9)),
    ("_pj_per_flop", rule("pJ/FLOP", 0.0, 1e6)),
    ("_fj_per_bit2", rule("fJ/bit^2", 0.0, 1e9)),
    ("_nw_per_bit", rule("nW/bit", 0.0, 1e9)),
    ("_mm2", rule("mm^2", 0.0, 1e7)),
    ("_um2_per_bit2", rule("um^2/bit^2", 0.0, 1e9)),
    ("_um2_per_bit", rule("um^2/bit", 0.0, 1e9)),
    ("_frac", rule("", 0.0, 1.0)),
    ("_gain", rule("x", 1e-3, 1e3)),
    ("_kib", rule("KiB", 0.0, MOST)),
    ("_bits", whole("bits", 0.0, MOST)),
    ("_b", whole("B", 0.0, MOST)),
];

/// The rule of a figure's key (its last part), or none if the key ends in no unit.
pub fn rule_of(key: &str) -> Option<Rule> {
    if let Some((_, rule)) = NAMED.iter().find(|(name, _)| *name == key) {
        return Some(*rule);
    }
    let fits = SUFFIXES.iter().filter(|(suffix, _)| key.ends_with(suffix));
    fits.max_by_key(|(suffix, _)| suffix.len()).map(|(_, rule)| *rule)
}

/// A key without its unit, to see what was meant by one with another unit.
pub fn stem(key: &str) -> &str {
    // Also the ends that people write instead of ours.
    const OTHERS: [&str; 12] =
        ["_s", "_ps", "_gbps", "_mbps", "_ghz", "_khz", "_hz", "_kb", "_mb", "_gb", "_uj", "_pj_per_b"];
    let ends = SUFFIXES.iter().map(|(suffix, _)| *suffix).chain(OTHERS);
    let end = ends.filter(|end| key.ends_with(end)).max_by_key(|end| end.len());
    end.and_then(|end| key.strip_suffix(end)).unwrap_or(key)
}

/// All unit endings, for a message.
pub fn endings() -> String {
    SUFFIXES.iter().map(|(suffix, _)| *suffix).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_ending_wins_and_a_bare_word_has_no_unit() {
        assert_eq!(rule_of("wire_pj_per_bit").unwrap().unit, "pJ/bit");
        assert_eq!(rule_of("capacity_b").unwrap().unit, "B");
        assert_eq!(rule_of("clocks_per_b").unwrap().unit, "clocks/B");
        assert_eq!(rule_of("power_nw_per_bit").unwrap().unit, "nW/bit");
        assert_eq!(rule_of("latency"), None);
        assert_eq!(rule_of("rate_gbps"), None);
        assert_eq!((stem("setup_us"), stem("bandwidth_gb_per_s"), stem("rate_gbps")), ("setup", "bandwidth", "rate"));
    }
}
