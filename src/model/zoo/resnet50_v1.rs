//! ResNet-50 as first published (He et al. 2016): the stride on the first 1×1 convolution of a stage.
//! NVDLA's sheet and others count this form. Shape only.

use super::{Builder, Network, residual};
use crate::graph::GraphError;

pub const NETWORK: Network = Network {
    name: "resnet50-v1",
    about: "ResNet-50 with the stride in its 1x1 convolutions, shape only",
    default_input: 224,
    build,
};

fn build(b: &mut Builder) -> Result<(), GraphError> {
    residual::imagenet(b, residual::bottleneck_v1, [3, 4, 6, 3])
}
