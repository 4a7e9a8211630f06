//! The ResNet-8 of MLPerf Tiny's image classification: a 3×3 stem and three basic blocks of 16, 32
//! and 64 planes, 1×1 convolutions on the two shortcuts that change shape, softmax at the end.

use super::{Builder, Network, residual};
use crate::graph::GraphError;
use crate::op::{Op, Softmax};

pub const NETWORK: Network =
    Network { name: "resnet8", about: "ResNet-8 of MLPerf Tiny (CIFAR-10 sized)", default_input: 32, build };

fn build(b: &mut Builder) -> Result<(), GraphError> {
    let stem = b.width(16);
    b.conv("stem", stem, 3, 1)?;
    b.batch_norm("stem.bn")?;
    b.relu("stem.relu")?;
    for (stage, planes) in [16, 32, 64].into_iter().enumerate() {
        residual::basic(b, &format!("s{}", stage + 1), planes, if stage == 0 { 1 } else { 2 })?;
    }
    b.classifier()?;
    b.add("softmax", Op::Softmax(Softmax { beta: 1.0 }))?;
    Ok(())
}
