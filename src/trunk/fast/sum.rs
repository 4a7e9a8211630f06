//! The int8 addition of two maps: a table per operand, then vector requantisation.
//!
//! An operand's code has 256 values, so its part of the sum is looked up; what is left is the
//! requantisation of a sum, the same for every element.

use super::requant::Requant;
use super::table::{Kernels, Store, Table};
use crate::op::{Counts, Output, add};
use crate::trunk::Map;
use rayon::prelude::*;

/// Elements that are summed before they are requantised: a few lines of cache.
const ROW: usize = 64;
const ROWS: usize = 8;
/// Elements per task.
const TASK: usize = 16 * 1024;

/// An addition prepared for one instruction set.
#[derive(Clone, Debug)]
pub struct Sum {
    table: &'static Table,
    /// What each code of each operand adds, at index `code + 128`.
    parts: [Box<[i32]>; 2],
    requant: Requant,
    output: Output,
}

impl Sum {
    /// The fast form of an addition; none where a sum could overflow.
    pub fn new(p: &add::Int8, kernels: Kernels) -> Option<Self> {
        let table = kernels.table()?;
        table.requantise?;
        let part = |operand: usize| (-128..=127i8).map(|q| p.scaled(operand, q) as i32).collect::<Box<[i32]>>();
        let parts = [part(0), part(1)];
        let most = |part: &[i32]| part.iter().map(|v| i64::from(*v).abs()).max().unwrap_or(0);
        let requant = Requant::uniform(&p.output, p.sum, most(&parts[0]) + most(&parts[1]), ROW)?;
        Some(Self { table, parts, requant, output: p.output })
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts.
    pub fn run_into(&self, a: Map<'_>, b: Map<'_>, out: &mut [i8]) -> Counts {
        assert!(a.codes.len() == out.len() && b.codes.len() == out.len(), "maps of one shape");
        let operands = a.codes.par_chunks(TASK).zip(b.codes.par_chunks(TASK));
        let tasks = out.par_chunks_mut(TASK).zip(operands);
        let saturations = tasks.map(|(codes, (a, b))| self.task(codes, a, b)).sum();
        Counts { saturations, ..Counts::default() }
    }

    fn task(&self, codes: &mut [i8], a: &[i8], b: &[i8]) -> u64 {
        let mut sums = [0i32; ROW * ROWS];
        let mut saturations = 0;
        let operands = a.chunks(ROW * ROWS).zip(b.chunks(ROW * ROWS));
        for (codes, (a, b)) in codes.chunks_mut(ROW * ROWS).zip(operands) {
            for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                *sum = self.parts[0][usize::from(a as u8 ^ 128)] + self.parts[1][usize::from(b as u8 ^ 128)];
            }
            let whole = codes.len() / ROW * ROW;
            let (whole, rest) = codes.split_at_mut(whole);
            saturations += self.store(&sums[..whole.len()], ROW, ROW, whole);
            let lanes = rest.len().next_multiple_of(16);
            saturations += self.store(&sums[whole.len()..][..lanes], lanes, rest.len(), rest);
        }
        saturations
    }

    fn store(&self, sums: &[i32], lanes: usize, channels: usize, codes: &mut [i8]) -> u64 {
        let (Some(requantise), false) = (self.table.requantise, codes.is_empty()) else { return 0 };
        let mut store = Store {
            style: self.requant.style,
            halved: self.requant.halved,
            sums,
            lanes,
            channels,
            factor: &self.requant.factor,
            right: &self.requant.right,
            offset: &self.requant.offset,
            lo: self.output.clamp.lo(),
            hi: self.output.clamp.hi(),
            saturates: self.requant.saturates,
            codes,
            pitch: channels,
        };
        store.check();
        // SAFETY: a table exists only where the CPU has its instructions, and the store is checked.
        unsafe { requantise(&mut store) }
    }
}
