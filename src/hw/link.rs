//! Link files: what a bus is made of. `bus` turns one into transactions, bytes and time.
//!
//! A key of `[phy]` or `[transaction]` that a file leaves out does not apply to the link (no header,
//! no boundary, no encoding). A latency or an energy that it leaves out is unknown.

use super::error::HwError;
use super::figure::{Figure, section};
use super::reader::ModelFile;
use super::schema::{Compat, Duplex, Kind, Overlap, Validation, words};
use super::source::Source;
use std::collections::BTreeMap;

words!(
    /// How a link cuts and clocks what it carries.
    LinkKind {
        /// Packets with headers over serial lanes.
        Packet = "packet",
        /// Bursts on a memory-mapped bus.
        Burst = "burst",
        /// A raw stream.
        Stream = "stream",
        /// So many clocks a byte, after a command.
        Bitclocked = "bitclocked",
    }
);

section!(
    /// The wires and their rate.
    #[derive(Default)]
    Phy {
        figures {
            lanes: Figure,
            lane_rate_gtps: Figure,
            bandwidth_gib_per_s: Figure,
            wires: Figure,
            encoding_num: Figure,
            encoding_den: Figure,
            background_overhead_frac: Figure,
            clock_mhz: Figure,
            clocks_per_b: Figure,
        }
        plain {
            duplex: Option<Duplex>,
            /// Widths that the link is made in: `NAME-x4` is this file with four lanes.
            #[serde(default)]
            lane_counts: Vec<u32>,
        }
    }
);

section!(
    /// How a payload is cut and wrapped.
    #[derive(Default)]
    Transaction {
        figures {
            max_payload_b: Figure,
            header_b_write: Figure,
            header_b_read_request: Figure,
            header_b_read_completion: Figure,
            header_clocks: Figure,
            turnaround_clocks: Figure,
            min_wire_b: Figure,
            beat_b: Figure,
            boundary_b: Figure,
            min_ns_per_transaction: Figure,
            max_outstanding_reads: Figure,
        }
        plain {}
    }
);

section!(
    /// Time that does not grow with the payload, and the copy into pinned memory, which does.
    #[derive(Default)]
    Latency {
        figures {
            setup_ns: Figure,
            write_posted_ns: Figure,
            read_round_trip_ns: Figure,
            software_submit_us: Figure,
            host_staging_gb_per_s: Figure,
        }
        plain {}
    }
);

section!(
    /// Energy on the wire.
    #[derive(Default)]
    Energy {
        figures { wire_pj_per_bit: Figure, transaction_nj: Figure, idle_mw: Figure }
        plain {}
    }
);

section!(
    /// A link file.
    Link {
        figures {
            phy: Phy,
            transaction: Transaction,
            latency: Latency,
            energy: Energy,
            published: BTreeMap<String, Figure>,
        }
        plain {
            schema: String,
            name: String,
            kind: LinkKind,
            duplex: Option<Duplex>,
            overlap: Option<Overlap>,
            compat: Option<Compat>,
            note: Option<String>,
            #[serde(default)]
            validation: Vec<Validation>,
            #[serde(default)]
            sources: BTreeMap<String, String>,
        }
    }
);

impl Link {
    pub fn duplex(&self) -> Duplex {
        // A checked file says it in exactly one place.
        self.duplex.or(self.phy.duplex).unwrap_or(Duplex::Half)
    }

    /// A file that says nothing of it promises nothing.
    pub fn overlap(&self) -> Overlap {
        self.overlap.unwrap_or(Overlap::None)
    }
}

impl ModelFile for Link {
    const KIND: Kind = Kind::Link;

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
        let phy = &self.phy;
        self.check_rate(source)?;
        self.check_lane_counts(source)?;
        match (self.duplex, phy.duplex) {
            (None, None) => return Err(source.wrong("phy.duplex", "it is missing", "\"full\" or \"half\"")),
            (Some(_), Some(_)) => {
                return Err(source.wrong("phy.duplex", "it is given at the top as well", "say it in one place"));
            }
            _ => {}
        }
        let (num, den) = (&phy.encoding_num, &phy.encoding_den);
        if num.is_given() != den.is_given() {
            return Err(source.wrong(
                "phy.encoding_den",
                "only half of the encoding is given",
                "give both, or neither",
            ));
        }
        match (num.value(), den.value()) {
            (Some(n), Some(d)) if n > d => {
                let wrong = format!("{n} bits are coded in {d}");
                Err(source.wrong("phy.encoding_num", wrong, "encoding_num <= encoding_den, such as 128 and 130"))
            }
            _ => Ok(()),
        }
    }

    /// With so many lanes, as the name that it was asked for by says.
    fn vary(&mut self, source: &Source) {
        let Some(lanes) = source.lanes else { return };
        let built = self.phy.lanes.value().unwrap_or(1.0);
        let times = f64::from(lanes) / built;
        self.name = format!("{}-x{lanes}", self.name);
        for figure in [&mut self.phy.lanes, &mut self.phy.wires] {
            figure.scale(times);
        }
    }
}

impl Link {
    /// A link's rate is given by its lanes, by its clocks, or whole.
    fn check_rate(&self, source: &Source) -> Result<(), HwError> {
        let phy = &self.phy;
        let needed = match self.kind {
            LinkKind::Bitclocked => vec![&phy.clock_mhz, &phy.clocks_per_b],
            LinkKind::Stream if phy.bandwidth_gib_per_s.is_given() => {
                if let Some(twice) = [&phy.lanes, &phy.lane_rate_gtps].into_iter().find(|f| f.is_given()) {
                    let right = "give lanes and lane_rate_gtps, or bandwidth_gib_per_s";
                    return Err(source.wrong(&twice.key, "the rate is given twice", right));
                }
                vec![]
            }
            LinkKind::Packet | LinkKind::Burst | LinkKind::Stream => vec![&phy.lanes, &phy.lane_rate_gtps],
        };
        if phy.bandwidth_gib_per_s.is_given() && self.kind != LinkKind::Stream {
            let wrong = format!("a {} link has lanes or clocks", self.kind);
            return Err(source.wrong("phy.bandwidth_gib_per_s", wrong, "give it for a stream only"));
        }
        for figure in needed {
            if !figure.is_given() {
                let right = format!("a {} link needs it, if only as {{ unknown = true }}", self.kind);
                return Err(source.wrong(&figure.key, "it is missing", right));
            }
        }
        Ok(())
    }

    fn check_lane_counts(&self, source: &Source) -> Result<(), HwError> {
        let counts = &self.phy.lane_counts;
        let right = "widths of 1 to 1024 lanes, such as [1, 4, 16], of a link whose lanes are known";
        if !counts.is_empty() && self.phy.lanes.value().is_none() {
            return Err(source.wrong("phy.lane_counts", "how many lanes the figures are for is unknown", right));
        }
        if let Some(count) = counts.iter().find(|n| !(1..=1024).contains(*n)) {
            return Err(source.wrong("phy.lane_counts", format!("{count} lanes"), right));
        }
        match source.lanes.filter(|n| !counts.contains(n)) {
            Some(lanes) => {
                let widths: Vec<String> = counts.iter().map(|n| format!("x{n}")).collect();
                let right = format!("one of: {}", widths.join(", "));
                Err(source.wrong("phy.lane_counts", format!("it is not made with {lanes} lanes"), right))
            }
            None => Ok(()),
        }
    }
}
