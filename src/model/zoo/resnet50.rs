//! ResNet-50 for ImageNet: sixteen bottlenecks, the stride on their 3×3 convolution in four stages.

use super::{Builder, Network, residual};
use crate::graph::GraphError;

pub const NETWORK: Network = Network {
    name: "resnet50",
    about: "ResNet-50 for ImageNet (25,557,032 parameters with 1,000 classes)",
    default_input: 224,
    build,
};

fn build(b: &mut Builder) -> Result<(), GraphError> {
    residual::imagenet(b, residual::bottleneck, [3, 4, 6, 3])
}
