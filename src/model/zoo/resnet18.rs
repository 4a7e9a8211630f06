//! ResNet-18 for ImageNet: eight basic blocks in four stages.

use super::{Builder, Network, residual};
use crate::graph::GraphError;

pub const NETWORK: Network = Network {
    name: "resnet18",
    about: "ResNet-18 for ImageNet (11,689,512 parameters with 1,000 classes)",
    default_input: 224,
    build,
};

fn build(b: &mut Builder) -> Result<(), GraphError> {
    residual::imagenet(b, residual::basic, [2, 2, 2, 2])
}
