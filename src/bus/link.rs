//! One formula for every link.
//!
//! ```text
//! split   payload cut at max_payload_b and at every boundary_b address (it starts on one): n pieces p
//! wire    W = Σ max(min_wire_b, ⌈(p + header) / beat_b⌉ · beat_b)
//! rate    R = lanes · lane_rate · encoding · (1 − overhead), or clock / clocks per byte
//! stream  t = max(8 W / R, n · min_ns_per_transaction, for reads ⌈n / outstanding⌉ · round trip)
//! write   setup + software submit + posted write latency + t
//! read    setup + software submit + read round trip + t
//! ```
//!
//! A figure that is unknown contributes nothing and is named: the time is then a lower bound.

use crate::hw::HwFile;
use std::collections::BTreeSet;

/// Who moves the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The sender pushes it.
    Write,
    /// The receiver fetches it.
    Read,
}

/// What one transfer costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCost {
    pub transactions: u64,
    pub wire_b: u64,
    /// How long the wires are taken.
    pub stream_ps: u64,
    /// How much later the data is there.
    pub latency_ps: u64,
}

impl LinkCost {
    pub fn total_ps(&self) -> u64 {
        self.stream_ps.saturating_add(self.latency_ps)
    }
}

/// A link's figures, as the formula needs them.
#[derive(Clone, Debug)]
pub struct Link {
    pub half_duplex: bool,
    max_payload_b: Option<u64>,
    boundary_b: Option<u64>,
    header_write_b: u64,
    header_read_b: u64,
    header_ps: f64,
    min_wire_b: u64,
    beat_b: u64,
    ps_per_wire_b: f64,
    min_ps_per_transaction: f64,
    outstanding_reads: Option<f64>,
    write_latency_ps: f64,
    read_latency_ps: f64,
    /// Of a change of direction, where both share the wires.
    pub turnaround_ps: u64,
    /// Figures that the formula needs and the file does not know.
    pub unknown: BTreeSet<String>,
}

impl Link {
    pub fn new(file: &HwFile) -> Self {
        let mut unknown = BTreeSet::new();
        let mut need = |key: &str| {
            unknown.extend(file.figure(key).unknown);
            file.value(key)
        };
        let bit_clocked = file.text("kind") == Some("bitclocked");
        let clock_ps = if bit_clocked { need("phy.clock_mhz").map_or(0.0, |mhz| 1e6 / mhz) } else { 0.0 };
        let ps_per_wire_b = if bit_clocked {
            need("phy.clocks_per_b").unwrap_or(0.0) * clock_ps
        } else {
            let lanes = need("phy.lanes").unwrap_or(1.0) * need("phy.lane_rate_gtps").unwrap_or(f64::INFINITY);
            let encoding = need("phy.encoding_num").unwrap_or(1.0) / need("phy.encoding_den").unwrap_or(1.0);
            let useful = 1.0 - need("phy.background_overhead_frac").unwrap_or(0.0).min(0.999);
            8e3 / (lanes * encoding * useful)
        };
        let bytes = |v: Option<f64>| v.map_or(0, |b| b as u64);
        let setup_ps =
            need("latency.setup_ns").unwrap_or(0.0) * 1e3 + need("latency.software_submit_us").unwrap_or(0.0) * 1e6;
        // Optional where a kind of link has no such thing; only what every link has is missed.
        let some = |key: &str| file.value(key);
        let header_write_b = if bit_clocked { 0 } else { bytes(need("transaction.header_b_write")) };
        let posted = if bit_clocked { some("latency.write_posted_ns") } else { need("latency.write_posted_ns") };
        let round_trip = some("latency.read_round_trip_ns").unwrap_or(0.0) * 1e3;
        Self {
            half_duplex: file.text("phy.duplex") == Some("half"),
            max_payload_b: some("transaction.max_payload_b").map(|b| (b as u64).max(1)),
            boundary_b: some("transaction.boundary_b").map(|b| (b as u64).max(1)),
            header_write_b,
            header_read_b: bytes(some("transaction.header_b_read_completion")),
            header_ps: some("transaction.header_clocks").unwrap_or(0.0) * clock_ps,
            min_wire_b: bytes(some("transaction.min_wire_b")),
            beat_b: bytes(some("transaction.beat_b")).max(1),
            ps_per_wire_b,
            min_ps_per_transaction: some("transaction.min_ns_per_transaction").unwrap_or(0.0) * 1e3,
            outstanding_reads: some("transaction.max_outstanding_reads"),
            write_latency_ps: setup_ps + posted.unwrap_or(0.0) * 1e3,
            read_latency_ps: setup_ps + round_trip,
            turnaround_ps: (some("transaction.turnaround_clocks").unwrap_or(0.0) * clock_ps).ceil() as u64,
            unknown,
        }
    }

    /// What it costs to move `payload_b` bytes; nothing for nothing.
    pub fn transfer(&self, payload_b: u64, access: Access) -> LinkCost {
        if payload_b == 0 {
            return LinkCost::default();
        }
        let (header_b, latency_ps) = match access {
            Access::Write => (self.header_write_b, self.write_latency_ps),
            Access::Read => (self.header_read_b, self.read_latency_ps),
        };
        let mut transactions: u64 = 0;
        let mut wire_b: u64 = 0;
        for (piece_b, count) in self.pieces(payload_b) {
            transactions += count;
            wire_b = wire_b.saturating_add(self.wire_b(piece_b, header_b).saturating_mul(count));
        }
        let n = transactions as f64;
        let wires = wire_b as f64 * self.ps_per_wire_b + n * self.header_ps;
        let waits = match (access, self.outstanding_reads) {
            (Access::Read, Some(at_once)) => (n / at_once).ceil() * self.read_latency_ps,
            _ => 0.0,
        };
        let stream_ps = wires.max(n * self.min_ps_per_transaction).max(waits).ceil() as u64;
        LinkCost { transactions, wire_b, stream_ps, latency_ps: latency_ps.ceil() as u64 }
    }

    fn wire_b(&self, piece_b: u64, header_b: u64) -> u64 {
        piece_b.saturating_add(header_b).div_ceil(self.beat_b).saturating_mul(self.beat_b).max(self.min_wire_b)
    }

    /// The sizes of the pieces that a payload is cut into, each with how often it occurs. Between
    /// two boundaries the cuts repeat, so a payload of any size has at most four sizes.
    fn pieces(&self, payload_b: u64) -> Vec<(u64, u64)> {
        let span = self.boundary_b.unwrap_or(u64::MAX);
        let most = self.max_payload_b.unwrap_or(u64::MAX).min(span);
        let cut = |length: u64, times: u64| [(most, length / most * times), (length % most, times)];
        let mut pieces = cut(span, payload_b / span).to_vec();
        pieces.extend(cut(payload_b % span, 1));
        pieces.retain(|&(size, count)| size > 0 && count > 0);
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::{Kind, library};
    use proptest::prelude::*;

    fn pcie() -> Link {
        Link::new(&library::load(Kind::Link, "pcie-gen3-x8").unwrap())
    }

    #[test]
    fn a_packet_link_by_hand() {
        // 1000 B: 256 · 3 + 232, each with 24 B of header. 8 lanes · 8 GT/s · 128/130 · 0.9186 = 57.887… Gb/s.
        let cost = pcie().transfer(1000, Access::Write);
        assert_eq!((cost.transactions, cost.wire_b), (4, 1096));
        let rate = 8.0 * 8.0 * 128.0 / 130.0 * (1.0 - 0.0814);
        assert_eq!(cost.stream_ps, (8.0 * 1096.0 / rate * 1e3_f64).ceil() as u64);
        assert_eq!(cost.latency_ps, 213_000);
        // Four small writes are bound by the device, not by the wires.
        let small = pcie().transfer(64, Access::Write);
        assert_eq!(small.stream_ps, 21_100);
        assert_eq!(pcie().transfer(0, Access::Write), LinkCost::default());
    }

    #[test]
    fn unknown_figures_are_named() {
        let unknown = pcie().unknown;
        assert!(unknown.contains("link/pcie-gen3-x8: latency.software_submit_us"), "{unknown:?}");
    }

    #[test]
    fn a_bit_clocked_link_pays_clocks_per_byte() {
        let text = r#"
schema = "hw_models/link/1"
name = "spi"
kind = "bitclocked"
[phy]
duplex = "half"
clock_mhz = { v = 50, src = "s", conf = "assumed" }
clocks_per_b = { v = 2, src = "s", conf = "assumed" }
[transaction]
header_clocks = { v = 22, src = "s", conf = "assumed" }
[sources]
s = "this test"
"#;
        let link = Link::new(&HwFile::parse(text, "spi.toml", None).unwrap());
        assert!(link.half_duplex);
        assert_eq!(link.transfer(100, Access::Write).stream_ps, (200 + 22) * 20_000);
    }

    /// The definition: piece after piece.
    fn by_loop(link: &Link, payload_b: u64) -> (u64, u64, u64) {
        let (mut at, mut n, mut wire, mut sum) = (0, 0, 0, 0);
        while at < payload_b {
            let to_boundary = link.boundary_b.map_or(u64::MAX, |b| b - at % b);
            let piece = (payload_b - at).min(link.max_payload_b.unwrap_or(u64::MAX)).min(to_boundary);
            n += 1;
            sum += piece;
            wire += link.wire_b(piece, link.header_write_b);
            at += piece;
        }
        (n, wire, sum)
    }

    proptest! {
        #[test]
        fn closed_form_equals_the_loop(
            payload in 1u64..20_000, most in 1u64..600, boundary in 1u64..5000, beat in 1u64..70, least in 0u64..100,
        ) {
            let link = Link {
                max_payload_b: Some(most), boundary_b: Some(boundary), beat_b: beat, min_wire_b: least, ..pcie()
            };
            let (n, wire, sum) = by_loop(&link, payload);
            let cost = link.transfer(payload, Access::Write);
            prop_assert_eq!((cost.transactions, cost.wire_b), (n, wire));
            prop_assert_eq!(sum, payload);
        }

        #[test]
        fn more_bytes_never_cost_less_and_half_the_rate_never_speeds_up(a in 0u64..1_000_000, b in 0u64..1_000_000) {
            let (a, b) = (a.min(b), a.max(b));
            let link = pcie();
            let slow = Link { ps_per_wire_b: link.ps_per_wire_b * 2.0, ..link.clone() };
            for access in [Access::Write, Access::Read] {
                let (small, large) = (link.transfer(a, access), link.transfer(b, access));
                prop_assert!(small.wire_b <= large.wire_b && small.total_ps() <= large.total_ps());
                prop_assert!(slow.transfer(b, access).total_ps() >= large.total_ps());
            }
        }
    }

    #[test]
    fn the_largest_payload_does_not_overflow() {
        let cost = pcie().transfer(u64::MAX, Access::Write);
        assert!(cost.wire_b == u64::MAX && cost.stream_ps == u64::MAX);
    }
}
