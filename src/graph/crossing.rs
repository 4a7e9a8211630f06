//! Transfers derived from edges.
