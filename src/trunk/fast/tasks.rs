//! Cutting an output into tasks for the current pool. Counts are sums, so no cut shows in them.

use crate::op::Counts;
use rayon::prelude::*;

/// Runs `task` on every `chunk` elements of `out`; gives it the index of the first. A single chunk
/// runs where it is, because handing it to another thread would only cost.
pub(super) fn each_chunk(out: &mut [i8], chunk: usize, task: impl Fn(usize, &mut [i8]) -> Counts + Sync) -> Counts {
    if out.is_empty() {
        return Counts::default();
    }
    if out.len() <= chunk || rayon::current_num_threads() == 1 {
        return out.chunks_mut(chunk).enumerate().map(|(i, codes)| task(i * chunk, codes)).sum();
    }
    out.par_chunks_mut(chunk).enumerate().map(|(i, codes)| task(i * chunk, codes)).sum()
}

/// Elements per task where elements cost about as much as reading them: enough to be worth a thread.
pub(super) const TASK: usize = 32 * 1024;

/// A whole number of `unit`s that make about one [`TASK`].
pub(super) fn whole_units(unit: usize) -> usize {
    (TASK / unit.max(1)).max(1) * unit.max(1)
}
