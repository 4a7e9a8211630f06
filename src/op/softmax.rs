//! Softmax over channels.

/// Attributes of a softmax: `exp(beta * x)` normalised over channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax {
    pub beta: f32,
}
