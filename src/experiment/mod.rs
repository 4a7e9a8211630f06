//! A trunk, a scheme, a system and data put together: what a subcommand does, for library users.
//!
//! It prints nothing and knows no command line.

pub mod account;
pub mod adapters;
pub mod calibrate;
pub mod compress;
pub mod decathlon;
pub mod eval;
pub mod events;
pub mod findings;
pub mod input;
pub mod loading;
pub mod merge;
pub mod pretrain;
pub mod quant_sweep;
pub mod run;
pub mod sweep;
pub mod trace;
pub mod train;
pub mod training_account;
pub mod trunk;
pub mod trunk_file;
pub mod validate;
pub mod verify;
