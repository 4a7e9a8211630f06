//! The trunk run backward: errors of maps, from a step's output to its inputs (SPEC 3.4 and 3.5).
//!
//! Straight through: a step's derivative is that of its real function where no clamp cut it, and zero where
//! one did. Nothing here has a weight's gradient. A forward pass leaves what backward needs on a [`Tape`];
//! a [`BackwardProgram`] then takes the steps one by one, last first. Who adds the errors of a map's readers,
//! and when, is the caller's choice of order: sums of integer errors round.
//!
//! It refuses a softmax on the trunk, and batch norms that train although the profile folds them.

mod errors;
mod format;
mod linear;
mod mask;
mod moves;
mod norm;
pub(super) mod operands;
mod packed;
mod payload;
mod product;
mod program;
mod scale;
mod slopes;
mod tape;
mod windows;

pub use errors::Errors;
pub use format::{ErrorFormat, ErrorRule, Events, ExponentMode, Exponents, Origin, StepContext};
pub use norm::NormGrads;
pub use program::{BackwardOut, BackwardProgram, Ran};
pub use tape::{KeptForm, KeptMap, Tape};
