//! Schemes and sites: graph in, placed graph out.
