//! The trunk run backward: every operation and whole chains against an independent script of the
//! straight-through rule in f64, against the adapter device's twins, and in every error format.

mod chain;
mod formats;
mod net;
mod norms;
mod oracle;
mod twins;
