//! Lowering to steps; tally; timeline.
