//! The int8 engine that simulates the chip.
