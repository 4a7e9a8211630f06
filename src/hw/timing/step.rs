//! What one layer costs: the parts of its time, what it waited for, how busy the array was, and the
//! bytes that moved on and off the chip.

use serde::Serialize;

/// What a step waits for most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    #[default]
    Compute,
    /// The memory off the chip, or the only one there is.
    Memory,
    /// The memory on the chip.
    Sram,
}

/// What a model says of its array alone, before any memory is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArrayCost {
    pub cycles: u64,
    /// How often the array was filled anew.
    pub folds: u64,
    /// Reads and writes of the memory beside the array; 0 where the model does not follow them.
    pub sram_read_b: u64,
    pub sram_write_b: u64,
}

/// How long a step of the trunk takes, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StepTime {
    pub compute_ps: u64,
    /// Of the memory off the chip.
    pub memory_ps: u64,
    pub sram_ps: u64,
    pub total_ps: u64,
    pub bound: Bound,
    /// Cycles of the array, its filling and draining among them.
    pub cycles: u64,
    /// Cycles that the array waits for memory.
    pub stall_cycles: u64,
    pub folds: u64,
    /// Useful share of all multipliers over the whole step; 0 of a step without MACs.
    pub utilisation_frac: f64,
    pub sram_read_b: u64,
    pub sram_write_b: u64,
    pub dram_read_b: u64,
    pub dram_write_b: u64,
    /// Bytes that crossed to the memory off the chip, both ways.
    pub dram_b: u64,
}
