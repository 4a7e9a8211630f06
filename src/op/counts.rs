//! What an int8 loop did, counted while it did it.

use crate::units::Macs;

/// Work executed and events met. Sums of integers, so the same for any thread count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Products formed, those with padding included: a fixed array does not skip them.
    pub macs: Macs,
    /// Outputs that eight bits cut off, and no activation.
    pub saturations: u64,
    /// Outputs whose accumulator (or its left shift) wrapped.
    pub overflows: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.macs += other.macs;
        self.saturations += other.saturations;
        self.overflows += other.overflows;
    }
}

impl std::ops::Add for Counts {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| a + b)
    }
}
