//! Dropout: in training some elements, or whole channels, are left out at random and the others grow in their
//! place. Outside training it is nothing at all. An operation of the adapter device only.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dropout {
    /// From 0 to below 1.
    pub probability: f64,
    /// Channels are dropped as a whole.
    pub channels: bool,
    /// Which elements go follows from this, the step, the image and the place in the network.
    pub seed: u64,
}
