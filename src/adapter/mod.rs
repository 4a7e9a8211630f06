//! Adapters: one file each, builds its subgraph.
