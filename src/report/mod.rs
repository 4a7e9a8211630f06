//! Tables, JSON, CSV.

pub mod paper;
pub mod render;
pub mod run;
pub mod silicon;
