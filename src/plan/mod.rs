//! What a placed graph will do, known before it runs: taps, counts, connections, time.
//!
//! A plan is plain data. It executes nothing and prices nothing; `run` executes it and asserts
//! that it did exactly what the tally here predicts.

pub mod backward;
pub mod connections;
pub mod kept;
pub mod macs;
pub mod params;
pub mod prepared;
pub mod program;
pub mod schedule;
pub mod switch;
pub mod tally;
pub mod tap;
pub mod tap_format;
pub mod timeline;
pub mod training;
