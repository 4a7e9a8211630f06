//! Integer counts by phase, hardware domain, node and event.
