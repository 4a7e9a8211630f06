//! Links: payload bytes to transactions, wire bytes and picoseconds.

pub mod link;
