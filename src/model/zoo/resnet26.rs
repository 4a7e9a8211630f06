//! The ResNet-26 of the residual-adapter papers: a 3×3 stem without ReLU, three stages of four
//! basic blocks (64, 128, 256 planes, each stage halving the map), a batch norm and ReLU at the
//! end. Shortcuts have no weights: average pooling and zero channels (Rebuffi et al. 2018, 3.2).

use super::{Builder, Network};
use crate::graph::GraphError;
use crate::op::{Op, Pad, Pool};

pub const NETWORK: Network = Network {
    name: "resnet26",
    about: "ResNet-26 of the residual-adapter papers (5,814,688 parameters without the classifier)",
    default_input: 64,
    build,
};

fn build(b: &mut Builder) -> Result<(), GraphError> {
    let stem = b.width(32);
    b.conv("stem", stem, 3, 1)?;
    b.batch_norm("stem.bn")?;
    for (stage, planes) in [64, 128, 256].into_iter().enumerate() {
        let planes = b.width(planes);
        for block in 1..=4 {
            let stride = if block == 1 { 2 } else { 1 };
            basic_block(b, &format!("s{}b{block}", stage + 1), planes, stride)?;
        }
    }
    b.batch_norm("end.bn")?;
    b.relu("end.relu")?;
    b.classifier()?;
    Ok(())
}

fn basic_block(b: &mut Builder, name: &str, planes: usize, stride: usize) -> Result<(), GraphError> {
    let entry = b.at;
    b.conv(&format!("{name}c1"), planes, 3, stride)?;
    b.batch_norm(&format!("{name}c1.bn"))?;
    b.relu(&format!("{name}c1.relu"))?;
    b.conv(&format!("{name}c2"), planes, 3, 1)?;
    let main = b.batch_norm(&format!("{name}c2.bn"))?;
    b.at = entry;
    if stride == 2 {
        // Convolutions round odd sizes up, so the shortcut must too.
        let map = b.graph.shape(entry);
        let pool = Pool { kernel: [2, 2], stride: [2, 2], pad: [0, 0, map.h % 2, map.w % 2] };
        b.add(&format!("{name}.shortcut.pool"), Op::AvgPool(pool))?;
    }
    let missing = planes - b.graph.shape(b.at).c;
    if missing > 0 {
        b.add(&format!("{name}.shortcut.zeros"), Op::Pad(Pad { space: [0; 4], channels: [0, missing] }))?;
    }
    b.at = b.graph.add_node(&format!("{name}.add"), Op::Add, &[main, b.at], &[])?;
    b.relu(&format!("{name}.relu"))?;
    Ok(())
}
