//! The int8 engine that simulates the chip.
//!
//! [`prepare`] turns the trunk part of a graph into a [`TrunkProgram`]: weights quantised, batch norm
//! and activations fused into requantisation registers, steps in an order in which they can run.
//! A [`TrunkStep`] is then a pure function of codes that also reports what it did; an [`Executor`] runs
//! a whole program in memory that it plans once.
//!
//! It refuses maps without quantisation parameters, operations that the chip does not have (a mean
//! and maximum over channels, gates with a gain), and parameters that do not fill their node. It knows nothing
//! of adapters but the format in which their values arrive ([`TapInFormat`]).

pub mod backward;
mod chain;
mod error;
mod executor;
pub mod fast;
mod memory;
mod pass;
mod prepare;
mod product;
mod program;
mod registers;
mod step;
mod tap_in;
mod work;

pub use chain::Fusion;
pub use error::TrunkError;
pub use executor::Executor;
pub use memory::{Map, Memory};
pub use pass::Pass;
pub use prepare::prepare;
pub use program::TrunkProgram;
pub use registers::{Moments, NormValues};
pub use step::TrunkStep;
pub use tap_in::{JoinKind, TapInFormat};
