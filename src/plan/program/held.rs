//! What a training step really holds of its forward pass, read off the program itself.

use super::{Action, Program};
use crate::device::Held;
use crate::kernel::BufferId;
use crate::units::Phase;
use std::collections::BTreeSet;

/// Bytes that the backward pass reads of what the forward pass wrote, for a micro-batch: the maps,
/// codes, bits and indices that must stay between them. Logits and the batch's statistics, which do
/// not depend on a map's size, are not among them.
pub fn held_bytes(program: &Program) -> u64 {
    held(program).into_iter().map(|id| 4 * program.buffers[id.0 as usize].words as u64).sum()
}

/// The buffers of one micro-batch that are written in forward and read in backward.
fn held(program: &Program) -> BTreeSet<BufferId> {
    let mut written: BTreeSet<BufferId> = BTreeSet::new();
    let mut again: BTreeSet<BufferId> = BTreeSet::new();
    let mut held = BTreeSet::new();
    let per_slot = |id: &BufferId| program.buffers[id.0 as usize].held == Held::PerSlot;
    let statistics = |id: &BufferId| program.buffers[id.0 as usize].name.ends_with(".moments");
    for action in &program.actions {
        match *action {
            Action::Receive(tap) if program.taps[tap].error.is_none() => {
                let tap = &program.taps[tap];
                written.insert(tap.words);
                written.extend(tap.convert.iter().map(|c| c.output));
            }
            Action::Step(step) if program.steps[step].phase == Phase::Forward => {
                written.extend(program.steps[step].calls.iter().map(|c| c.output));
            }
            Action::Step(step) if program.steps[step].node.is_some() => {
                for call in &program.steps[step].calls {
                    let read = call.inputs.iter().filter(|id| written.contains(id) && !again.contains(id));
                    held.extend(read.copied().filter(per_slot).filter(|id| !statistics(id)));
                    again.insert(call.output);
                }
            }
            _ => {}
        }
    }
    held
}
