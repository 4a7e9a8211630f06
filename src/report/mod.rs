//! Tables, JSON, CSV.

pub mod compress;
pub mod loading;
pub mod merge;
pub mod page;
pub mod paper;
pub mod quant_sweep;
pub mod render;
pub mod run;
pub mod silicon;
pub mod sweep;
pub mod tasks;
pub mod trace;
pub mod training;
pub mod validation;
