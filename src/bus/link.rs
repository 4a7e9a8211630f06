//! The link formula: what one transfer costs.
//!
//! ```text
//! wire bytes  W = sum over pieces of max(min_wire_b, ceil((piece + header) / beat_b) * beat_b)
//! rate        R = lanes * lane_rate * encoding * (1 - background overhead)   [bit/ns]
//! stream time t = max(8 W / R, n * min_ns_per_transaction, reads: ceil(n / max outstanding) * round trip)
//! latency       = setup + software submit + staging copy + (posted write | read round trip)
//! ```
//!
//! Times are those of the figures' values. An unknown figure contributes nothing and is named. With
//! `compat = "astra-sim"` a stream takes whole nanoseconds, cut off, as ASTRA-sim's network has
//! them. It does not model what lies outside the link (host work before and after), nor a device that is
//! slower than its link except by `min_ns_per_transaction`.

use super::split::split;
use crate::hw::timing::{LONGEST_PS, ceil_ps};
use crate::hw::{Access, Compat, Duplex, Figure, Link, Overlap};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What one transfer costs on a free link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkCost {
    /// What arrives: the pieces' sizes together.
    pub payload_b: u64,
    pub transactions: u64,
    /// Bytes on the wire in the direction of the data, headers and padding included.
    pub wire_b: u64,
    /// Bytes of read requests, in the other direction.
    pub request_wire_b: u64,
    /// How long the link is taken.
    pub stream_ps: u64,
    /// How long read requests take the other direction; 0 where both share the wires, whose time
    /// has it already.
    pub request_ps: u64,
    /// How long the first byte takes beside that.
    pub latency_ps: u64,
    pub total_ps: u64,
    /// Figures that the cost lacks.
    pub unknown: Arc<BTreeSet<String>>,
}

/// A link file's figures, ready for [`transfer`].
#[derive(Clone, Debug)]
pub struct LinkModel {
    /// Absent when it is unknown: then bytes take no time.
    ps_per_b: f64,
    max_payload_b: Option<u64>,
    boundary_b: Option<u64>,
    min_wire_b: u64,
    beat_b: u64,
    header_write_b: u64,
    header_read_b: u64,
    header_request_b: u64,
    min_ps: f64,
    max_outstanding_reads: Option<u64>,
    staging_ps_per_b: f64,
    fixed_ns: f64,
    write_posted_ns: f64,
    read_round_trip_ns: f64,
    turnaround_ps: u64,
    half_duplex: bool,
    overlap: Overlap,
    compat: Option<Compat>,
    unknown_write: Arc<BTreeSet<String>>,
    unknown_read: Arc<BTreeSet<String>>,
}

const GIB: f64 = (1u64 << 30) as f64;

/// Collects the names of unknown figures while a model is made.
#[derive(Default)]
struct Notes(BTreeSet<String>);

impl Notes {
    /// A figure that every link has: one that the file leaves out is unknown as well.
    fn needed(&mut self, figure: &Figure) -> Option<f64> {
        if figure.value().is_none() {
            self.0.insert(figure.path());
        }
        figure.value()
    }

    /// A figure that does not apply to a link whose file leaves it out.
    fn optional(&mut self, figure: &Figure) -> Option<f64> {
        if figure.is_given() { self.needed(figure) } else { None }
    }

    fn bytes(&mut self, figure: &Figure) -> u64 {
        self.optional(figure).unwrap_or(0.0) as u64
    }

    /// What is noted here and, for one kind of access, in addition.
    fn with(&self, more: Notes) -> Arc<BTreeSet<String>> {
        Arc::new(self.0.union(&more.0).cloned().collect())
    }
}

impl LinkModel {
    pub fn new(link: &Link) -> Self {
        let (t, l) = (&link.transaction, &link.latency);
        let (mut both, mut write, mut read) = (Notes::default(), Notes::default(), Notes::default());
        let command_b = command_b(link, &mut both);
        Self {
            ps_per_b: ps_per_b(link, &mut both),
            max_payload_b: both.optional(&t.max_payload_b).map(|b| b as u64),
            boundary_b: both.optional(&t.boundary_b).map(|b| b as u64),
            min_wire_b: both.bytes(&t.min_wire_b),
            beat_b: both.bytes(&t.beat_b).max(1),
            header_write_b: write.bytes(&t.header_b_write) + command_b,
            header_read_b: read.bytes(&t.header_b_read_completion) + command_b,
            header_request_b: read.bytes(&t.header_b_read_request),
            min_ps: both.optional(&t.min_ns_per_transaction).unwrap_or(0.0) * 1e3,
            max_outstanding_reads: read.optional(&t.max_outstanding_reads).map(|n| n as u64),
            staging_ps_per_b: both.optional(&l.host_staging_gb_per_s).map_or(0.0, |gb_per_s| 1e3 / gb_per_s),
            fixed_ns: both.needed(&l.setup_ns).unwrap_or(0.0) + both.needed(&l.software_submit_us).unwrap_or(0.0) * 1e3,
            write_posted_ns: write.needed(&l.write_posted_ns).unwrap_or(0.0),
            read_round_trip_ns: read.needed(&l.read_round_trip_ns).unwrap_or(0.0),
            turnaround_ps: turnaround_ps(link, &mut both),
            half_duplex: link.duplex() == Duplex::Half,
            overlap: link.overlap(),
            compat: link.compat,
            unknown_write: both.with(write),
            unknown_read: both.with(read),
        }
    }

    /// Whether both directions share the wires: then every change of direction costs
    /// [`turnaround_ps`](Self::turnaround_ps), which whoever keeps the schedule charges.
    pub fn half_duplex(&self) -> bool {
        self.half_duplex
    }

    pub fn turnaround_ps(&self) -> u64 {
        self.turnaround_ps
    }

    /// How far its transfers run beside each other and beside computing.
    pub fn overlap(&self) -> Overlap {
        self.overlap
    }

    fn time(&self, transactions: u64, wire_b: u128, request_b: u128, access: Access) -> f64 {
        let shared_b = if self.half_duplex { wire_b + request_b } else { wire_b };
        let on_wire = shared_b as f64 * self.ps_per_b;
        let floor = transactions as f64 * self.min_ps;
        let waits = match (access, self.max_outstanding_reads) {
            (Access::Read, Some(most)) => transactions.div_ceil(most) as f64 * self.read_round_trip_ns * 1e3,
            _ => 0.0,
        };
        on_wire.max(floor).max(waits)
    }
}

/// What a clocked bus sends before the payload, in bytes' worth of its clocks, rounded up.
fn command_b(link: &Link, notes: &mut Notes) -> u64 {
    let clocks = notes.optional(&link.transaction.header_clocks);
    match (clocks, link.phy.clocks_per_b.value()) {
        (Some(clocks), Some(clocks_per_b)) => (clocks / clocks_per_b).ceil() as u64,
        _ => 0,
    }
}

/// Time per byte on the wire; 0 if a figure for it is unknown.
fn ps_per_b(link: &Link, notes: &mut Notes) -> f64 {
    let phy = &link.phy;
    if phy.clocks_per_b.is_given() {
        let (clock_mhz, clocks_per_b) = (notes.needed(&phy.clock_mhz), notes.needed(&phy.clocks_per_b));
        return clock_mhz.zip(clocks_per_b).map_or(0.0, |(mhz, clocks)| clocks * 1e6 / mhz);
    }
    if phy.bandwidth_gib_per_s.is_given() {
        return notes.needed(&phy.bandwidth_gib_per_s).map_or(0.0, |gib_per_s| 1e12 / (gib_per_s * GIB));
    }
    let (lanes, gtps) = (notes.needed(&phy.lanes), notes.needed(&phy.lane_rate_gtps));
    let encoding = match (notes.optional(&phy.encoding_num), notes.optional(&phy.encoding_den)) {
        (Some(num), Some(den)) => num / den,
        _ => 1.0,
    };
    let overhead = notes.optional(&phy.background_overhead_frac).unwrap_or(0.0);
    let bits_per_ns = lanes.zip(gtps).map(|(lanes, gtps)| lanes * gtps * encoding * (1.0 - overhead));
    bits_per_ns.map_or(0.0, |rate| 8e3 / rate)
}

fn turnaround_ps(link: &Link, notes: &mut Notes) -> u64 {
    let (clocks, mhz) = (notes.optional(&link.transaction.turnaround_clocks), link.phy.clock_mhz.value());
    clocks.zip(mhz).map_or(0, |(clocks, mhz)| ceil_ps(clocks * 1e6 / mhz))
}

/// What it costs to move a payload over a link that is free.
///
/// Nothing to move costs nothing. Times end at [`LONGEST_PS`], byte counts at `u64::MAX`.
pub fn transfer(link: &LinkModel, payload_b: u64, access: Access) -> LinkCost {
    let (header_b, request_header_b, answer_ns, unknown) = match access {
        Access::Write => (link.header_write_b, 0, link.write_posted_ns, &link.unknown_write),
        Access::Read => (link.header_read_b, link.header_request_b, link.read_round_trip_ns, &link.unknown_read),
    };
    if payload_b == 0 {
        return LinkCost::default();
    }
    let (mut arrives_b, mut transactions, mut wire_b) = (0u64, 0u64, 0u128);
    for piece in split(payload_b, link.max_payload_b, link.boundary_b) {
        let beat_b = u128::from(link.beat_b);
        let wrapped = (u128::from(piece.size_b) + u128::from(header_b)).div_ceil(beat_b) * beat_b;
        arrives_b += piece.count * piece.size_b;
        transactions += piece.count;
        wire_b += u128::from(piece.count) * wrapped.max(u128::from(link.min_wire_b));
    }
    let request_b = u128::from(transactions) * u128::from(request_header_b);
    let stream_ps = link.time(transactions, wire_b, request_b, access);
    let latency_ps = (link.fixed_ns + answer_ns) * 1e3 + payload_b as f64 * link.staging_ps_per_b;
    let (stream_ps, total_ps) = match link.compat {
        None => (ceil_ps(stream_ps), ceil_ps(stream_ps).saturating_add(ceil_ps(latency_ps))),
        Some(Compat::Astra) => (whole_ns(stream_ps), whole_ns(stream_ps + latency_ps)),
    };
    let request_ps = if link.half_duplex { 0.0 } else { request_b as f64 * link.ps_per_b };
    let whole = |bytes: u128| u64::try_from(bytes).unwrap_or(u64::MAX);
    LinkCost {
        payload_b: arrives_b,
        transactions,
        wire_b: whole(wire_b),
        request_wire_b: whole(request_b),
        stream_ps,
        request_ps: ceil_ps(request_ps),
        latency_ps: total_ps - stream_ps,
        total_ps: total_ps.min(LONGEST_PS),
        unknown: unknown.clone(),
    }
}

/// Whole nanoseconds, cut off; a transfer of less takes none of the link's time.
fn whole_ns(ps: f64) -> u64 {
    ((ps / 1e3) as u64).saturating_mul(1000).min(LONGEST_PS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::{Body, Kind, library};
    use proptest::prelude::*;

    fn link(name: &str) -> Link {
        match library::load(Kind::Link, name).unwrap().body {
            Body::Link(link) => *link,
            other => panic!("{name} is {other:?}"),
        }
    }

    fn pcie() -> LinkModel {
        LinkModel::new(&link("pcie-gen3-x8"))
    }

    /// A link made up for a test from the keys that differ.
    fn made_up(lane_rate_gtps: f64, max_payload_b: u64, boundary_b: u64, header_b: u64, beat_b: u64) -> LinkModel {
        let mut model = pcie();
        model.ps_per_b = 8e3 / (8.0 * lane_rate_gtps);
        (model.max_payload_b, model.boundary_b) = (Some(max_payload_b), Some(boundary_b));
        (model.header_write_b, model.header_read_b, model.beat_b) = (header_b, header_b, beat_b);
        model.max_outstanding_reads = Some(4);
        model
    }

    /// By hand: 8 lanes x 8 GT/s x 128/130 x (1 - 0.0814) is 57.886 bit/ns, 138.203 ps a byte.
    #[test]
    fn costs_computed_by_hand() {
        // payload, access, transactions, wire bytes, request bytes, stream ps, latency ps
        let table = [
            (0, Access::Write, 0, 0, 0, 0, 0),
            // One 88-byte packet would take 12,162 ps; the device takes 21.1 ns for each.
            (64, Access::Write, 1, 88, 0, 21_100, 213_000),
            (256, Access::Write, 1, 280, 0, 38_697, 213_000),
            (257, Access::Write, 2, 305, 0, 42_200, 213_000),
            (4096, Access::Write, 16, 16 * 280, 0, 619_149, 213_000),
            (4097, Access::Write, 17, 16 * 280 + 25, 0, 622_604, 213_000),
            (4096, Access::Read, 16, 16 * 276, 16 * 24, 610_304, 560_000),
        ];
        for (payload, access, transactions, wire, request, stream_ps, latency_ps) in table {
            let cost = transfer(&pcie(), payload, access);
            let got = (cost.transactions, cost.wire_b, cost.request_wire_b, cost.stream_ps, cost.latency_ps);
            assert_eq!(got, (transactions, wire, request, stream_ps, latency_ps), "{payload} B {access:?}");
            assert_eq!(cost.total_ps, stream_ps + latency_ps);
        }
    }

    #[test]
    fn ucie_pads_to_flits_and_names_what_nobody_published() {
        let model = LinkModel::new(&link("ucie-standard-x16"));
        let cost = transfer(&model, 257, Access::Write);
        // 16 lanes x 32 GT/s: 64 GB/s, 15.625 ps a byte; two flits.
        assert_eq!((cost.transactions, cost.wire_b, cost.stream_ps, cost.latency_ps), (1, 512, 8_000, 1_000));
        for key in ["transaction.max_payload_b", "transaction.header_b_write", "latency.software_submit_us"] {
            assert!(cost.unknown.contains(&format!("link/ucie-standard-x16: {key}")), "{key} of {:?}", cost.unknown);
        }
        assert!(!cost.unknown.iter().any(|key| key.contains("read")), "a write needs no figure of reads");
    }

    #[test]
    fn reads_wait_for_their_round_trips() {
        let mut model = pcie();
        model.max_outstanding_reads = Some(2);
        // 16 reads, two at a time, 560 ns each.
        assert_eq!(transfer(&model, 4096, Access::Read).stream_ps, 8 * 560_000);
        // Half duplex: requests take their time on the same wires.
        let mut half = pcie();
        half.half_duplex = true;
        let (full, half) = (transfer(&pcie(), 4096, Access::Read), transfer(&half, 4096, Access::Read));
        assert!(half.stream_ps > full.stream_ps);
    }

    #[test]
    fn a_huge_payload_takes_no_loop_and_no_overflow() {
        let cost = transfer(&pcie(), u64::MAX, Access::Write);
        assert_eq!((cost.wire_b, cost.stream_ps, cost.total_ps), (u64::MAX, LONGEST_PS, LONGEST_PS));
    }

    proptest! {
        #[test]
        fn more_payload_never_costs_less(
            a in 0u64..200_000, more in 0u64..10_000, most in 1u64..600, boundary in 1u64..5000,
            header in 0u64..64, beat in 1u64..64, read in any::<bool>(),
        ) {
            let model = made_up(8.0, most, boundary, header, beat);
            let access = if read { Access::Read } else { Access::Write };
            let (less, more) = (transfer(&model, a, access), transfer(&model, a + more, access));
            prop_assert!(less.wire_b <= more.wire_b && less.request_wire_b <= more.request_wire_b);
            prop_assert!(less.stream_ps <= more.stream_ps && less.total_ps <= more.total_ps);
            prop_assert!(more.wire_b >= a);
            prop_assert_eq!(less.payload_b, a, "what goes in comes out");
        }

        #[test]
        fn half_the_lane_rate_speeds_nothing_up(payload in 0u64..1_000_000, rate in 0.01f64..64.0, read in any::<bool>()) {
            let access = if read { Access::Read } else { Access::Write };
            let fast = transfer(&made_up(rate, 256, 4096, 24, 1), payload, access);
            let slow = transfer(&made_up(rate / 2.0, 256, 4096, 24, 1), payload, access);
            prop_assert!(slow.stream_ps >= fast.stream_ps && slow.total_ps >= fast.total_ps);
            prop_assert_eq!(slow.wire_b, fast.wire_b);
        }
    }
}
