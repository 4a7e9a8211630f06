//! Bias only (TinyTL-B, Cai et al. 2020): the shifts of the trunk's layers and the classifier train,
//! for which no map need be kept.

use super::Scheme;

pub const SCHEME: Scheme = Scheme {
    name: "bias-only",
    about: "the biases of the trunk's layers, as loadable registers, and the classifier",
    paper: "TinyTL, Cai et al. 2020",
    crosses: "the features out; biases per task in",
    options: &[],
    default_sites: None,
    trains_norm: true,
    counted_only: None,
    apply: |placing, _| {
        placing.train_shifts_only(true);
        Ok(())
    },
};
