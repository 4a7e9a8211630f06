//! Links: payload bytes to transactions, wire bytes and picoseconds.
//!
//! One formula serves every link; a link file fills in its terms. The bus moves no data and keeps
//! no schedule: [`transfer`] says what one transfer costs on a link that is free.

mod link;
mod split;

pub use link::{Access, LinkCost, LinkModel, transfer};
pub use split::Pieces;
