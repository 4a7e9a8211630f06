//! Elementwise functions of one map.

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    Relu,
    Relu6,
    /// Clamp to [-1, 1].
    ReluN1To1,
    LeakyRelu {
        slope: f32,
    },
    /// `gain * logistic(x)`: 1 for the plain gate, 2 for the gate that is the identity at 0.
    Sigmoid {
        gain: f32,
    },
    Tanh,
    HardSwish,
}

impl Activation {
    pub fn name(self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::Relu6 => "relu6",
            Activation::ReluN1To1 => "relu-n1-to-1",
            Activation::LeakyRelu { .. } => "leaky-relu",
            Activation::Sigmoid { .. } => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::HardSwish => "hard-swish",
        }
    }

    /// The real bounds if the function is a clamp, which the trunk fuses into the requantisation.
    pub fn clamp(self) -> Option<(f32, f32)> {
        match self {
            Activation::Relu => Some((0.0, f32::INFINITY)),
            Activation::Relu6 => Some((0.0, 6.0)),
            Activation::ReluN1To1 => Some((-1.0, 1.0)),
            _ => None,
        }
    }
}
