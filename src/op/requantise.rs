//! A map under new quantisation parameters.
