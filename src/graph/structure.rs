//! Stages and blocks found in any graph.
