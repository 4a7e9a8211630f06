//! Links: payload bytes to transactions, wire bytes and picoseconds.
//!
//! One formula serves every link; a link file fills in its terms. [`transfer`] says what one
//! transfer costs on a link that is free, [`Queue`] when transfers that contend for it arrive. The
//! bus moves no data, and it does not know what the payload is for.

mod link;
mod queue;
mod split;

pub use crate::hw::Access;
pub use link::{LinkCost, LinkModel, transfer};
pub use queue::{Arrival, Queue, Request, arrivals};
pub use split::Pieces;
