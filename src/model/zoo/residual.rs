//! What the residual networks with weighted shortcuts share: blocks, and the ImageNet form of He et
//! al. (2016) as torchvision builds it.

use super::Builder;
use crate::graph::{EdgeId, GraphError};
use crate::op::{Op, Pool};

/// A residual block: its name, its planes before the width multiplier, its stride.
pub type Block = fn(&mut Builder, &str, usize, usize) -> Result<(), GraphError>;

/// Output channels of a bottleneck per plane.
const EXPANSION: usize = 4;

/// Two 3×3 convolutions; the first has the stride.
pub fn basic(b: &mut Builder, name: &str, planes: usize, stride: usize) -> Result<(), GraphError> {
    let planes = b.width(planes);
    let entry = b.at;
    b.conv(&format!("{name}c1"), planes, 3, stride)?;
    b.batch_norm(&format!("{name}c1.bn"))?;
    b.relu(&format!("{name}c1.relu"))?;
    b.conv(&format!("{name}c2"), planes, 3, 1)?;
    b.batch_norm(&format!("{name}c2.bn"))?;
    join(b, name, entry, stride)
}

/// 1×1, 3×3 and 1×1 convolutions; the 3×3 one has the stride.
pub fn bottleneck(b: &mut Builder, name: &str, planes: usize, stride: usize) -> Result<(), GraphError> {
    three(b, name, planes, [1, stride])
}

/// The same as first published: the first 1×1 convolution has the stride.
pub fn bottleneck_v1(b: &mut Builder, name: &str, planes: usize, stride: usize) -> Result<(), GraphError> {
    three(b, name, planes, [stride, 1])
}

/// A bottleneck with the strides of its first two convolutions.
fn three(b: &mut Builder, name: &str, planes: usize, strides: [usize; 2]) -> Result<(), GraphError> {
    let (planes, out) = (b.width(planes), b.width(EXPANSION * planes));
    let entry = b.at;
    b.conv(&format!("{name}c1"), planes, 1, strides[0])?;
    b.batch_norm(&format!("{name}c1.bn"))?;
    b.relu(&format!("{name}c1.relu"))?;
    b.conv(&format!("{name}c2"), planes, 3, strides[1])?;
    b.batch_norm(&format!("{name}c2.bn"))?;
    b.relu(&format!("{name}c2.relu"))?;
    b.conv(&format!("{name}c3"), out, 1, 1)?;
    b.batch_norm(&format!("{name}c3.bn"))?;
    join(b, name, entry, strides[0] * strides[1])
}

/// Adds the shortcut, a 1×1 convolution where the block changes its map's shape, and the ReLU.
fn join(b: &mut Builder, name: &str, entry: EdgeId, stride: usize) -> Result<(), GraphError> {
    let main = b.at;
    let channels = b.graph.shape(main).c;
    b.at = entry;
    if stride != 1 || b.graph.shape(entry).c != channels {
        b.conv(&format!("{name}.shortcut"), channels, 1, stride)?;
        b.batch_norm(&format!("{name}.shortcut.bn"))?;
    }
    b.at = b.graph.add_node(&format!("{name}.add"), Op::Add, &[main, b.at], &[])?;
    b.relu(&format!("{name}.relu"))?;
    Ok(())
}

/// The network for ImageNet: a 7×7 stem and a maximum pool, four stages of so many blocks with 64
/// to 512 planes, the classifier.
pub fn imagenet(b: &mut Builder, block: Block, blocks: [usize; 4]) -> Result<(), GraphError> {
    let stem = b.width(64);
    b.conv("stem", stem, 7, 2)?;
    b.batch_norm("stem.bn")?;
    b.relu("stem.relu")?;
    b.add("stem.pool", Op::MaxPool(Pool { kernel: [3, 3], stride: [2, 2], pad: [1; 4] }))?;
    for (stage, blocks) in blocks.into_iter().enumerate() {
        for i in 1..=blocks {
            let stride = if stage > 0 && i == 1 { 2 } else { 1 };
            block(b, &format!("s{}b{i}", stage + 1), 64 << stage, stride)?;
        }
    }
    b.classifier()?;
    Ok(())
}
