//! The exact sums of one image, in as few bits as hold them, and how they become mantissas again.

use super::depthwise;
use super::store::Cell;
use crate::quant::error_code::{self, ErrorBits, ErrorRounding, LARGEST_EXPONENT, ZERO_EXPONENT};
use crate::seed::Noise;
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

    /// Writes mantissas of exponent `to` for sums of exponent `from`, as [`error_code::convert`] does; returns
    /// how many `to` is too small for.
    pub fn convert(self, from: i32, to: i32, bits: ErrorBits, rounding: ErrorRounding, mantissas: &mut [i16]) -> u64 {
        assert_eq!(self.len(), mantissas.len(), "a mantissa for every sum");
        let (set, most, shift) = (set(), bits.largest(), to - from);
        // Shifts that no ordinary error asks for take the plain loop.
        let (Ok(shift @ 0..31), false) = (u32::try_from(shift), rounding == ErrorRounding::PseudoStochastic) else {
            return match self {
                Accs::Narrow(sums) => {
                    let sums = sums.iter().map(|&sum| i64::from(sum));
                    error_code::convert(sums, from, to, bits, rounding, mantissas)
                }
                Accs::Wide(sums) => error_code::convert(sums.iter().copied(), from, to, bits, rounding, mantissas),
            };
        };
        // SAFETY: an instruction set is chosen only where the CPU has it.
        unsafe {
            match (self, rounding) {
                (Accs::Narrow(sums), ErrorRounding::Stochastic(noise)) => {
                    noisy_i32(set)(sums, shift, noise, most, mantissas)
                }
                (Accs::Wide(sums), ErrorRounding::Stochastic(noise)) => {
                    noisy_i64(set)(sums, shift, noise, most, mantissas)
                }
                (Accs::Narrow(sums), _) => even_i32(set)(sums, shift, most, mantissas),
                (Accs::Wide(sums), _) => even_i64(set)(sums, shift, most, mantissas),
            }
        }
    }

    /// Writes mantissas of the smallest exponent that holds them, as [`error_code::renormalise_into`] does;
    /// returns that exponent.
    pub fn renormalise(self, exponent: i32, bits: ErrorBits, rounding: ErrorRounding, mantissas: &mut [i16]) -> i32 {
        let largest = self.largest();
        if largest == 0 {
            mantissas.fill(0);
            return ZERO_EXPONENT;
        }
        let to = (exponent + error_code::shift_of(largest, bits) as i32).clamp(ZERO_EXPONENT, LARGEST_EXPONENT);
        self.convert(exponent, to, bits, rounding, mantissas);
        to
    }
}

fn set() -> InstructionSet {
    Kernels::Auto.set().unwrap_or(InstructionSet::Portable)
}

versions!(largest_i32, most_i32(sums: &[i32]) -> u32);
versions!(largest_i64, most_i64(sums: &[i64]) -> u64);
versions!(even_i32, nearest_i32(sums: &[i32], shift: u32, most: i64, to: &mut [i16]) -> u64);
versions!(even_i64, nearest_i64(sums: &[i64], shift: u32, most: i64, to: &mut [i16]) -> u64);
versions!(noisy_i32, stochastic_i32(sums: &[i32], shift: u32, noise: Noise, most: i64, to: &mut [i16]) -> u64);
versions!(noisy_i64, stochastic_i64(sums: &[i64], shift: u32, noise: Noise, most: i64, to: &mut [i16]) -> u64);

#[inline(always)]
fn most_i32(sums: &[i32]) -> u32 {
    sums.iter().fold(0, |most, sum| most.max(sum.unsigned_abs()))
}

#[inline(always)]
fn most_i64(sums: &[i64]) -> u64 {
    sums.iter().fold(0, |most, sum| most.max(sum.unsigned_abs()))
}

#[inline(always)]
fn nearest_i32(sums: &[i32], shift: u32, most: i64, to: &mut [i16]) -> u64 {
    // The remainder is compared with half a unit: adding half could leave 32 bits.
    let (mask, half, most) = ((1i32 << shift) - 1, (1i32 << shift) >> 1, most as i32);
    let mut saturations = 0u32;
    for (to, &sum) in to.iter_mut().zip(sums) {
        let (floor, rest) = (sum >> shift, sum & mask);
        let tie = i32::from(rest == half) & i32::from(half != 0) & floor & 1;
        let value = floor + (i32::from(rest > half) | tie);
        saturations += u32::from(value.unsigned_abs() > most as u32 + 1);
        *to = value.clamp(-most, most) as i16;
    }
    saturations.into()
}

#[inline(always)]
fn nearest_i64(sums: &[i64], shift: u32, most: i64, to: &mut [i16]) -> u64 {
    let (mask, half) = ((1i64 << shift) - 1, (1i64 << shift) >> 1);
    let mut saturations = 0;
    for (to, &sum) in to.iter_mut().zip(sums) {
        let (floor, rest) = (sum >> shift, sum & mask);
        let tie = i64::from(rest == half) & i64::from(half != 0) & floor & 1;
        let value = floor + (i64::from(rest > half) | tie);
        saturations += u64::from(value.unsigned_abs() > most as u64 + 1);
        *to = value.clamp(-most, most) as i16;
    }
    saturations
}

#[inline(always)]
fn stochastic_i32(sums: &[i32], shift: u32, noise: Noise, most: i64, to: &mut [i16]) -> u64 {
    stochastic(sums, shift, noise, most, to)
}

#[inline(always)]
fn stochastic_i64(sums: &[i64], shift: u32, noise: Noise, most: i64, to: &mut [i16]) -> u64 {
    stochastic(sums, shift, noise, most, to)
}

#[inline(always)]
fn stochastic<A: Copy + Into<i64>>(sums: &[A], shift: u32, noise: Noise, most: i64, to: &mut [i16]) -> u64 {
    /// Elements whose noise is drawn together.
    const TOGETHER: usize = 16;
    let mut saturations = 0;
    for (i, (to, sums)) in to.chunks_mut(TOGETHER).zip(sums.chunks(TOGETHER)).enumerate() {
        let noise: [u64; TOGETHER] = noise.bits_of((i * TOGETHER) as u64);
        for ((to, &sum), noise) in to.iter_mut().zip(sums).zip(noise) {
            // In two steps: a shift by all 64 bits is none.
            let value = (sum.into() + (noise >> 1 >> (63 - shift)) as i64) >> shift;
            saturations += u64::from(value.unsigned_abs() > most as u64 + 1);
            *to = value.clamp(-most, most) as i16;
        }
    }
    saturations
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
