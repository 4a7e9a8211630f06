//! One side of the bus at work: the only loop over actions, the same for trunk and adapter device.
//!
//! Each side is a thread. It owns a list of actions per micro-batch and takes, of the micro-batches
//! in flight, the earliest whose next action can be done; only when there is none does it wait for
//! a transfer. Values never depend on which one that is, since micro-batches share nothing.
//!
//! Channels are bounded. A side can be ahead by the micro-batches in flight and the other's
//! unfinished ones, so room for twice the slots of every tap means that sending tap-ins never
//! blocks, and two sides cannot wait for each other.

use super::RunError;
use crate::plan::program::Action;
use crate::plan::tap::Tap;
use crossbeam::channel::{Receiver, Sender};
use std::collections::HashMap;

/// A map of a micro-batch on the bus.
pub struct Transfer {
    pub micro: usize,
    /// Index among the taps.
    pub tap: usize,
    /// Images of the micro-batch.
    pub images: u64,
    /// Codes, image after image.
    pub payload: Vec<u8>,
}

/// A device as the bus sees it. Micro-batch `micro` has slot `micro % slots` to itself.
pub trait Side {
    /// What it does for a micro-batch, in order.
    fn actions(&self) -> &[Action];
    /// Images of a micro-batch.
    fn images(&self, micro: usize) -> usize;
    fn begin(&mut self, micro: usize) -> Result<(), RunError>;
    fn import(&mut self, micro: usize, tap: usize, payload: Vec<u8>) -> Result<(), RunError>;
    fn step(&mut self, micro: usize, step: usize) -> Result<(), RunError>;
    fn export(&mut self, micro: usize, tap: usize) -> Result<Vec<u8>, RunError>;
    fn finish(&mut self, micro: usize) -> Result<(), RunError>;
}

/// The room that a channel needs for these taps and slots.
pub fn capacity(taps: &[Tap], slots: usize) -> usize {
    2 * slots * taps.len().max(1)
}

/// Runs one side over all micro-batches.
pub fn work(
    side: &mut dyn Side,
    micros: usize,
    slots: usize,
    inbox: &Receiver<Transfer>,
    outbox: &Sender<Transfer>,
) -> Result<(), RunError> {
    let actions = side.actions().to_vec();
    // How far each micro-batch in flight has come; the first is the oldest unfinished.
    let mut cursors: std::collections::VecDeque<(usize, usize)> = Default::default();
    let mut arrived: HashMap<(usize, usize), Vec<u8>> = HashMap::new();
    let mut next = 0;
    loop {
        while next < micros && cursors.front().is_none_or(|&(oldest, _)| next < oldest + slots) {
            side.begin(next)?;
            cursors.push_back((next, 0));
            next += 1;
        }
        if cursors.is_empty() {
            return Ok(());
        }
        let possible = |&(micro, at): &(usize, usize)| match actions.get(at) {
            Some(&Action::Receive(tap)) => arrived.contains_key(&(micro, tap)),
            Some(_) => true,
            // Finished, but an older one is not: its place is kept until then.
            None => false,
        };
        let Some(chosen) = cursors.iter().position(possible) else {
            if cursors.iter().all(|&(_, at)| at == actions.len()) {
                cursors.clear();
                continue;
            }
            let transfer = inbox.recv().map_err(|_| RunError::OtherSideStopped)?;
            arrived.insert((transfer.micro, transfer.tap), transfer.payload);
            continue;
        };
        let (micro, at) = cursors[chosen];
        match actions[at] {
            Action::Receive(tap) => {
                let payload = arrived.remove(&(micro, tap)).expect("checked to have arrived");
                side.import(micro, tap, payload)?;
            }
            Action::Step(step) => side.step(micro, step)?,
            Action::Send(tap) => {
                let (images, payload) = (side.images(micro) as u64, side.export(micro, tap)?);
                outbox.send(Transfer { micro, tap, images, payload }).map_err(|_| RunError::OtherSideStopped)?;
            }
        }
        cursors[chosen].1 += 1;
        if cursors[chosen].1 == actions.len() {
            side.finish(micro)?;
        }
        while cursors.front().is_some_and(|&(_, at)| at == actions.len()) {
            cursors.pop_front();
        }
    }
}
