//! Ledger x hardware model to energy, with sources and intervals.
