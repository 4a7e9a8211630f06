//! Batch norm only: every task has the trunk's batch norms and a classifier of its own.

use super::Scheme;

pub const SCHEME: Scheme = Scheme {
    name: "batch-norm",
    about: "the trunk's batch norms, as loadable registers, and the classifier",
    paper: "a baseline of TinyTL and of Rebuffi et al.",
    crosses: "the features out; registers per task in",
    options: &[],
    default_sites: None,
    trains_norm: true,
    counted_only: None,
    apply: |_, _| Ok(()),
};
