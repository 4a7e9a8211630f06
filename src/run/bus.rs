//! The bus between the two sides: bounded channels, and a counter on each.
//!
//! It counts what passes from the bytes that pass; the plan is not asked.

use super::RunError;
use super::worker::{Side, Transfer, capacity, work};
use crate::ledger::{Event, Ledger, Place};
use crate::op::Registers;
use crate::plan::tap::{Tap, VALUE_BITS};
use crate::scheme::Placed;
use crate::trunk::TrunkProgram;
use crate::units::Phase;
use crossbeam::channel::{Receiver, Sender, bounded};

/// Runs both sides to the end and returns what crossed. If both fail, the cause is reported and
/// not the consequence.
pub fn run(
    trunk: &mut (dyn Side + Send),
    adapter: &mut (dyn Side + Send),
    taps: &[Tap],
    micros: usize,
    slots: usize,
) -> Result<Ledger, RunError> {
    let room = capacity(taps, slots);
    let (out_tx, out_rx) = bounded(room);
    let (adapter_tx, adapter_rx) = bounded(room);
    let (in_tx, in_rx) = bounded(room);
    let (trunk_tx, trunk_rx) = bounded(room);
    std::thread::scope(|scope| {
        let trunk = scope.spawn(move || work(trunk, micros, slots, &trunk_rx, &out_tx));
        let adapter = scope.spawn(move || work(adapter, micros, slots, &adapter_rx, &in_tx));
        let outward = scope.spawn(move || carry(&out_rx, &adapter_tx, taps));
        let inward = scope.spawn(move || carry(&in_rx, &trunk_tx, taps));
        let results = [join(trunk), join(adapter)];
        let mut ledger = join(outward);
        ledger.merge(&join(inward));
        let mut failures: Vec<RunError> = results.into_iter().filter_map(Result::err).collect();
        let cause = failures.iter().position(|e| !matches!(e, RunError::OtherSideStopped));
        match (cause, failures.is_empty()) {
            (_, true) => Ok(ledger),
            (Some(i), _) => Err(failures.swap_remove(i)),
            (None, _) => Err(failures.swap_remove(0)),
        }
    })
}

/// The result of a thread; a panic there goes on here.
fn join<T>(thread: std::thread::ScopedJoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// One direction: counts every transfer and passes it on. Ends when either side does.
fn carry(from: &Receiver<Transfer>, to: &Sender<Transfer>, taps: &[Tap]) -> Ledger {
    let mut ledger = Ledger::default();
    for transfer in from {
        let tap = &taps[transfer.tap];
        let crossing = tap.crossing.as_ref().expect("a forward tap crosses");
        let place = Place::Tap(crossing.edge, tap.direction);
        let (bytes, images) = (transfer.payload.len() as u64, transfer.images);
        // An image's error in an integer format ends with its exponent.
        let exponent = u64::from(tap.phase == Phase::Backward && tap.bits != VALUE_BITS);
        let elements = (bytes / images.max(1)).saturating_sub(exponent) * 8 / u64::from(tap.bits);
        // One transfer for each image whose map is in the payload.
        ledger.add(tap.phase, place, Event::Transfers, images);
        ledger.add(tap.phase, place, Event::Elements, images * elements);
        ledger.add(tap.phase, place, Event::PayloadBytes, bytes);
        if to.send(transfer).is_err() {
            break;
        }
    }
    ledger
}

/// Loads the task's registers into the trunk before the first image: of every step that has a batch
/// norm, as the prepared trunk holds them.
pub fn switch_task(trunk: &TrunkProgram, placed: &Placed) -> Ledger {
    let mut ledger = Ledger::default();
    if placed.batch_norm.loads_registers() {
        let shifts_only = placed.loads_shifts_only();
        let loadable = || trunk.steps.iter().filter(|s| s.norm.is_some());
        let gains = |r: &Registers| if shifts_only { 0 } else { r.multipliers.len() };
        let values = |r: &Registers| (gains(r) + r.bias.len()) as u64;
        let elements: u64 = loadable().filter_map(|s| s.registers()).map(values).sum();
        let bytes: u64 = match shifts_only {
            true => elements * Registers::BIAS_BYTES,
            false => loadable().map(|s| s.register_bytes().0).sum(),
        };
        ledger.add(Phase::Switch, Place::Registers, Event::Transfers, u64::from(bytes > 0));
        ledger.add(Phase::Switch, Place::Registers, Event::Elements, elements);
        ledger.add(Phase::Switch, Place::Registers, Event::PayloadBytes, bytes);
    }
    ledger
}
