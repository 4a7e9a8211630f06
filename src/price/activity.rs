//! What a run did, as far as energy depends on it: plain integers.

use serde::Serialize;

/// One direction of the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkActivity {
    pub payload_b: u64,
    /// All bytes on the wires: headers, padding and read requests included.
    pub wire_b: u64,
    pub transactions: u64,
    pub busy_ps: u64,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Activity {
    pub trunk_macs: u64,
    /// Width of the trunk's operands: a fixed multiplier's energy grows with their product. 0 stands
    /// for the width that the trunk was built for.
    pub weight_bits: u32,
    pub activation_bits: u32,
    pub trunk_on_chip_read_b: u64,
    pub trunk_on_chip_write_b: u64,
    /// What the line buffers of a pixel pipeline hold, where the network says it: (k - 1) rows of
    /// every convolution's input. 0 leaves it to the capacity in the file.
    pub line_buffer_b: u64,
    /// Bytes to and from the trunk's memory off the chip.
    pub trunk_dram_b: u64,
    pub adapter_flops: u64,
    pub adapter_mem_b: u64,
    pub tap_out: LinkActivity,
    pub tap_in: LinkActivity,
    pub host_ops: u64,
    /// From the first event of the run to the last.
    pub elapsed_ps: u64,
    pub trunk_busy_ps: u64,
    pub adapter_busy_ps: u64,
}
