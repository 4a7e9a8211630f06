//! ResNet-34 for ImageNet: sixteen basic blocks in four stages.

use super::{Builder, Network, residual};
use crate::graph::GraphError;

pub const NETWORK: Network = Network {
    name: "resnet34",
    about: "ResNet-34 for ImageNet (21,797,672 parameters with 1,000 classes)",
    default_input: 224,
    build,
};

fn build(b: &mut Builder) -> Result<(), GraphError> {
    residual::imagenet(b, residual::basic, [3, 4, 6, 3])
}
