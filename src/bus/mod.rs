//! Links: payload bytes to transactions, wire bytes and picoseconds.
