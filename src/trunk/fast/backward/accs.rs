//! The exact sums of one image, in as few bits as hold them, and how they become mantissas again.

use super::depthwise;
use super::store::Cell;
use crate::quant::error_code::{ErrorBits, ErrorRounding, drop_bits, shift_of};
use crate::trunk::fast::versions::versions;
use crate::trunk::fast::{InstructionSet, Kernels};
use std::cell::RefCell;

/// One image's sums.
#[derive(Clone, Copy, Debug)]
pub enum Accs<'a> {
    Narrow(&'a [i32]),
    Wide(&'a [i64]),
}

impl Accs<'_> {
    pub fn len(self) -> usize {
        match self {
            Accs::Narrow(sums) => sums.len(),
            Accs::Wide(sums) => sums.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn at(self, i: usize) -> i64 {
        match self {
            Accs::Narrow(sums) => i64::from(sums[i]),
            Accs::Wide(sums) => sums[i],
        }
    }

    /// The largest magnitude.
    pub fn largest(self) -> u64 {
        let set = set();
        // SAFETY: an instruction set is chosen only where the CPU has it.
        unsafe {
            match self {
                Accs::Narrow(sums) => largest_i32(set)(sums).into(),
                Accs::Wide(sums) => largest_i64(set)(sums),
            }
        }
    }

    /// Writes mantissas of `bits`, as [`renormalise`](crate::quant::error_code::renormalise) does; returns by how
    /// many bits the exponent grows. `first` is the noise's index of the first element.
    pub fn renormalise(self, bits: ErrorBits, rounding: ErrorRounding, first: u64, to: &mut [i16]) -> u32 {
        assert_eq!(self.len(), to.len(), "a mantissa for every sum");
        let (set, shift) = (set(), shift_of(self.largest(), bits));
        let rule = Rule { shift, most: bits.largest(), rounding, first };
        // SAFETY: an instruction set is chosen only where the CPU has it.
        unsafe {
            match self {
                Accs::Narrow(sums) => mantissas_i32(set)(sums, rule, to),
                Accs::Wide(sums) => mantissas_i64(set)(sums, rule, to),
            }
        }
        shift
    }
}

fn set() -> InstructionSet {
    Kernels::Auto.set().unwrap_or(InstructionSet::Portable)
}

/// How sums become mantissas.
#[derive(Clone, Copy)]
struct Rule {
    shift: u32,
    most: i64,
    rounding: ErrorRounding,
    first: u64,
}

versions!(largest_i32, most_i32(sums: &[i32]) -> u32);
versions!(largest_i64, most_i64(sums: &[i64]) -> u64);
versions!(mantissas_i32, cut_i32(sums: &[i32], rule: Rule, to: &mut [i16]) -> ());
versions!(mantissas_i64, cut_i64(sums: &[i64], rule: Rule, to: &mut [i16]) -> ());

#[inline(always)]
fn most_i32(sums: &[i32]) -> u32 {
    sums.iter().fold(0, |most, sum| most.max(sum.unsigned_abs()))
}

#[inline(always)]
fn most_i64(sums: &[i64]) -> u64 {
    sums.iter().fold(0, |most, sum| most.max(sum.unsigned_abs()))
}

#[inline(always)]
fn cut_i32(sums: &[i32], rule: Rule, to: &mut [i16]) {
    let Rule { shift, most, rounding, .. } = rule;
    if rounding == ErrorRounding::NearestEven && (1..31).contains(&shift) {
        // The remainder is compared with half a unit: adding half could leave 32 bits.
        let (mask, half, most) = ((1 << shift) - 1, 1 << (shift - 1), most as i32);
        for (to, &sum) in to.iter_mut().zip(sums) {
            let (floor, rest) = (sum >> shift, sum & mask);
            let up = i32::from(rest > half) | (i32::from(rest == half) & floor);
            *to = (floor + (up & 1)).clamp(-most, most) as i16;
        }
    } else {
        general(sums.iter().map(|&sum| i64::from(sum)), rule, to);
    }
}

#[inline(always)]
fn cut_i64(sums: &[i64], rule: Rule, to: &mut [i16]) {
    let Rule { shift, most, rounding, .. } = rule;
    if rounding == ErrorRounding::NearestEven && (1..62).contains(&shift) {
        let (mask, half) = ((1i64 << shift) - 1, 1i64 << (shift - 1));
        for (to, &sum) in to.iter_mut().zip(sums) {
            let (floor, rest) = (sum >> shift, sum & mask);
            let up = i64::from(rest > half) | (i64::from(rest == half) & floor);
            *to = (floor + (up & 1)).clamp(-most, most) as i16;
        }
    } else {
        general(sums.iter().copied(), rule, to);
    }
}

#[inline(always)]
fn general(sums: impl Iterator<Item = i64>, rule: Rule, to: &mut [i16]) {
    for (i, (to, sum)) in to.iter_mut().zip(sums).enumerate() {
        let kept = drop_bits(sum, rule.shift, rule.rounding, rule.first + i as u64);
        *to = kept.clamp(-rule.most, rule.most) as i16;
    }
}

thread_local! {
    /// One of each per thread for the life of the program. They are taken out while in use, because a
    /// thread that waits for others may begin another group of images.
    static NARROW: RefCell<Vec<i32>> = RefCell::default();
    static WIDE: RefCell<Vec<i64>> = RefCell::default();
}

/// Integers that sums are held in.
pub(super) trait Wide: Cell + depthwise::Cell {
    fn take() -> Vec<Self>;
    fn give_back(buffer: Vec<Self>);
    fn accs(sums: &[Self]) -> Accs<'_>;
}

impl Wide for i32 {
    fn take() -> Vec<Self> {
        NARROW.take()
    }
    fn give_back(buffer: Vec<Self>) {
        NARROW.set(buffer);
    }
    fn accs(sums: &[Self]) -> Accs<'_> {
        Accs::Narrow(sums)
    }
}

impl Wide for i64 {
    fn take() -> Vec<Self> {
        WIDE.take()
    }
    fn give_back(buffer: Vec<Self>) {
        WIDE.set(buffer);
    }
    fn accs(sums: &[Self]) -> Accs<'_> {
        Accs::Wide(sums)
    }
}
