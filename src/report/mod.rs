//! Tables, JSON, CSV.

pub mod paper;
