//! Head only: the trunk is used as it is and a classifier is trained on its features.

use super::Scheme;

pub const SCHEME: Scheme = Scheme {
    name: "head-only",
    about: "the classifier alone, on the frozen trunk's features",
    options: &[],
    default_sites: None,
    trains_norm: false,
    apply: |_, _| Ok(()),
};
