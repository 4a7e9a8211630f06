//! Trunkline: hybrid-hardware co-simulation of a frozen int8 trunk and trainable adapters.
//!
//! A run is a *plan* (plain data). Engines execute it and report what they did into a *ledger* of
//! integers; a *hardware model* (a data file) prices the ledger at the very end. `ARCHITECTURE.md`
//! has the rooms, the data flow and the invariants. A module names only modules above it here.

pub mod units;

pub mod wide;

pub mod door;

pub mod seed;

pub mod tensor;

pub mod quant;

pub mod op;

pub mod graph;

pub mod ledger;

pub mod model;

pub mod trunk;

pub mod kernel;

pub mod device;

pub mod adapter;

pub mod scheme;

pub mod hw;

pub mod bus;

pub mod price;

pub mod plan;

pub mod run;

pub mod quantise;

pub mod data;

pub mod experiment;

pub mod report;

pub mod cli;
