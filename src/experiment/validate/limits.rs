//! What the models leave out, one line each, so that nobody takes silence for agreement.

/// Effects that are known and not modelled.
pub const NOT_MODELLED: &[&str] = &[
    "links: a device that is slower just past a multiple of 128 bytes (pcie-bench at 129, 257 and 513 B: up to 80 %)",
    "links: retransmission, credits that run out, arbitration other than first come, first served",
    "links: what a driver or an operating system adds, unless the file gives `software_submit_us`",
    "links: the rising read latency of large reads (pcie-bench: 560 ns at 64 B, 1146 ns at 2048 B)",
    "adapter devices: caches, so that a map read twice is fetched twice; occupancy, except by a measured curve",
    "adapter devices: clocks that fall with heat, or that differ between the catalogue and the measurement",
    "adapter devices: several queues; kernels run one after the other",
    "energy: voltage and frequency scaling; activity other than the average that a figure was taken at",
    "energy: a figure moved between processes is interpolated in its own table only; beyond its columns it is unknown",
    "energy of links: unknown for PCIe 1 to 4 and 6, NVLink 3 and 4, USB, Ethernet, AXI, QSPI: totals are lower bounds",
    "energy of memories: unknown for LPDDR5 and DDR5: totals are lower bounds",
    "trunks: maps that a convolution engine reads again for a small buffer (NVDLA's two smallest: 50 % too fast)",
    "trunks: the MAX78000's start of a layer and its pooling; its vendor's 19 cycle counts are not at hand to test them",
    "DeepFreeze: the headline of 26.6 TOPS/W; the open constants do not reproduce it",
];
