//! Transfers that contend for a link: first come, first served, each direction by itself.
//!
//! In full duplex a direction waits only for itself, and for the read requests of the other one; in
//! half duplex both share the wires, which turn around at every change of direction. How much of a
//! transfer others may overlap is the file's `overlap`. A transfer once begun is not interrupted,
//! and nobody goes first for being more urgent: that is not modelled.

use super::link::{LinkCost, LinkModel, transfer};
use crate::hw::{Access, Overlap};
use crate::units::Direction;

/// A payload that wants to cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When its data is there.
    pub at_ps: u64,
    pub direction: Direction,
    pub access: Access,
    pub payload_b: u64,
}

/// How a payload crossed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it took the wires, and when it left them.
    pub start_ps: u64,
    pub free_ps: u64,
    /// When the other side had all of it.
    pub arrival_ps: u64,
    pub cost: LinkCost,
}

/// One direction, or the wires that both share.
#[derive(Clone, Copy, Debug, Default)]
struct Wires {
    free_ps: u64,
    /// Arrivals of the last transfer and of the one before it.
    last_ps: u64,
    before_ps: u64,
}

/// A link with what crosses it.
#[derive(Clone, Debug)]
pub struct Queue<'a> {
    link: &'a LinkModel,
    wires: [Wires; 2],
    last: Option<Direction>,
}

impl<'a> Queue<'a> {
    pub fn new(link: &'a LinkModel) -> Self {
        Self { link, wires: [Wires::default(); 2], last: None }
    }

    /// Serves a request after those before it. Times end at `u64::MAX`.
    pub fn serve(&mut self, request: &Request) -> Arrival {
        let cost = transfer(self.link, request.payload_b, request.access);
        let other = self.wires[self.index(opposite(request.direction))];
        let one = self.index(request.direction);
        let wires = &mut self.wires[one];
        let waits_ps = match self.link.overlap() {
            Overlap::None => wires.last_ps.max(other.last_ps),
            Overlap::DoubleBuffer => wires.before_ps,
            Overlap::Full => 0,
        };
        let turns = self.link.half_duplex() && self.last.is_some_and(|last| last != request.direction);
        let turn_ps = if turns { self.link.turnaround_ps() } else { 0 };
        let start_ps = request.at_ps.max(wires.free_ps.max(waits_ps).saturating_add(turn_ps));
        let free_ps = start_ps.saturating_add(cost.stream_ps);
        let arrival_ps = free_ps.saturating_add(cost.latency_ps);
        *wires = Wires { free_ps, last_ps: arrival_ps.max(wires.last_ps), before_ps: wires.last_ps };
        self.last = Some(request.direction);
        if cost.request_ps > 0 {
            let back = &mut self.wires[1 - one];
            back.free_ps = back.free_ps.max(start_ps).saturating_add(cost.request_ps);
        }
        Arrival { start_ps, free_ps, arrival_ps, cost }
    }

    fn index(&self, direction: Direction) -> usize {
        usize::from(!self.link.half_duplex() && direction == Direction::TapIn)
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::TapOut => Direction::TapIn,
        Direction::TapIn => Direction::TapOut,
    }
}

/// How each request crosses, in the order given: served by time, those of one instant in that order.
pub fn arrivals(link: &LinkModel, requests: &[Request]) -> Vec<Arrival> {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|&i| requests[i].at_ps);
    let mut queue = Queue::new(link);
    let mut served: Vec<(usize, Arrival)> = order.into_iter().map(|i| (i, queue.serve(&requests[i]))).collect();
    served.sort_by_key(|(i, _)| *i);
    served.into_iter().map(|(_, arrival)| arrival).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::{Body, Kind, Link, library};
    use proptest::prelude::*;

    fn link(name: &str) -> Link {
        match library::load(Kind::Link, name).unwrap().body {
            Body::Link(link) => *link,
            other => panic!("{name} is {other:?}"),
        }
    }

    fn with(overlap: Overlap) -> LinkModel {
        LinkModel::new(&Link { overlap: Some(overlap), ..link("pcie-gen3-x8") })
    }

    fn at(at_ps: u64, direction: Direction, payload_b: u64) -> Request {
        Request { at_ps, direction, access: Access::Write, payload_b }
    }

    use Direction::{TapIn, TapOut};

    /// A 4096-byte write takes the wires for 619,149 ps and arrives 213,000 ps after that.
    #[test]
    fn overlap_decides_what_waits_for_what() {
        let three = [at(0, TapOut, 4096), at(0, TapOut, 4096), at(0, TapOut, 4096), at(0, TapIn, 4096)];
        let ends = |overlap| arrivals(&with(overlap), &three).iter().map(|a| a.arrival_ps).collect::<Vec<_>>();
        let (stream, latency) = (619_149, 213_000);
        let one = stream + latency;
        assert_eq!(ends(Overlap::Full), [one, one + stream, one + 2 * stream, one]);
        assert_eq!(ends(Overlap::None), [one, 2 * one, 3 * one, 4 * one]);
        // The third waits for the first to have arrived, which it has: the wires are the longer.
        assert_eq!(ends(Overlap::DoubleBuffer), ends(Overlap::Full));
        let small = [at(0, TapOut, 64), at(0, TapOut, 64), at(0, TapOut, 64)];
        let last = |overlap| arrivals(&with(overlap), &small)[2].arrival_ps;
        assert_eq!(last(Overlap::Full), 3 * 21_100 + latency);
        assert_eq!(last(Overlap::DoubleBuffer), 2 * (21_100 + latency));
    }

    #[test]
    fn shared_wires_turn_around_only_where_the_direction_changes() {
        let qspi = LinkModel::new(&link("qspi-50mhz"));
        let cost = transfer(&qspi, 100, Access::Write).stream_ps;
        let same = arrivals(&qspi, &[at(0, TapOut, 100), at(0, TapOut, 100)]);
        assert_eq!(same[1].free_ps - same[0].free_ps, cost.max(same[0].cost.total_ps));
        let turned = arrivals(&qspi, &[at(0, TapOut, 100), at(0, TapIn, 100)]);
        let turn_ps = qspi.turnaround_ps();
        assert_eq!(turned[1].start_ps, same[1].start_ps + turn_ps);
    }

    #[test]
    fn read_requests_take_the_other_direction() {
        let model = with(Overlap::Full);
        let read = Request { access: Access::Read, ..at(0, TapOut, 4096) };
        let served = arrivals(&model, &[read, at(0, TapIn, 64)]);
        // 16 requests of 24 bytes at 138.203 ps a byte.
        assert_eq!((served[0].cost.request_ps, served[1].start_ps), (53_070, 53_070));
    }

    fn requests() -> impl Strategy<Value = Vec<Request>> {
        let one =
            (0u64..3_000_000, any::<bool>(), any::<bool>(), 0u64..20_000).prop_map(|(at_ps, into, read, payload_b)| {
                let direction = if into { TapIn } else { TapOut };
                let access = if read { Access::Read } else { Access::Write };
                Request { at_ps, direction, access, payload_b }
            });
        proptest::collection::vec(one, 1..40)
    }

    proptest! {
        #[test]
        fn no_two_transfers_share_the_wires_and_nothing_is_lost(requests in requests(), which in 0usize..5) {
            let names = ["pcie-gen3-x8", "ucie-standard", "qspi-50mhz", "usb3-gen1", "axi4-128b-1ghz"];
            let model = LinkModel::new(&link(names[which]));
            let served = arrivals(&model, &requests);
            let payload = |a: u64, b: u64| a + b;
            let (sent, came) = (requests.iter().map(|r| r.payload_b).fold(0, payload), served.iter().map(|a| a.cost.payload_b).fold(0, payload));
            prop_assert_eq!(sent, came);
            for (a, r) in served.iter().zip(&requests) {
                prop_assert!(r.at_ps <= a.start_ps && a.start_ps <= a.free_ps && a.free_ps <= a.arrival_ps);
            }
            for (i, a) in served.iter().enumerate() {
                for (j, b) in served.iter().enumerate().filter(|(j, _)| *j != i) {
                    let same = model.half_duplex() || requests[i].direction == requests[j].direction;
                    let apart = a.free_ps <= b.start_ps || b.free_ps <= a.start_ps;
                    prop_assert!(!same || apart, "{:?} and {:?}", a, b);
                }
            }
        }

        #[test]
        fn a_slower_link_brings_nothing_earlier(requests in requests(), overlap in 0usize..3) {
            let fast = Link { overlap: Some(Overlap::ALL[overlap]), ..link("pcie-gen3-x8") };
            let mut slow = fast.clone();
            slow.phy.lane_rate_gtps.scale(0.5);
            let (fast, slow) = (arrivals(&LinkModel::new(&fast), &requests), arrivals(&LinkModel::new(&slow), &requests));
            for (fast, slow) in fast.iter().zip(&slow) {
                prop_assert!(fast.arrival_ps <= slow.arrival_ps);
            }
        }
    }
}
