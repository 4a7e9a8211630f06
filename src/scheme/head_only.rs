//! Head only: the trunk is used as it is and a classifier is trained on its features.

use super::Scheme;

pub const SCHEME: Scheme = Scheme {
    name: "head-only",
    about: "the classifier alone, on the frozen trunk's features",
    paper: "a baseline of all papers",
    crosses: "the features out",
    options: &[],
    default_sites: None,
    trains_norm: false,
    counted_only: None,
    apply: |_, _| Ok(()),
};
