//! AlexNet (Krizhevsky et al. 2012): five convolutions, three of them in two groups, and three linear
//! layers. Without the local response normalisation, which no engine here has. Shape only.

use super::{Builder, Network};
use crate::graph::GraphError;
use crate::op::{Conv2d, Op, Pool};

pub const NETWORK: Network = Network {
    name: "alexnet",
    about: "AlexNet of 2012 with its groups, without response normalisation, shape only",
    default_input: 227,
    build,
};

const HIDDEN: usize = 4096;

fn build(b: &mut Builder) -> Result<(), GraphError> {
    conv(b, "c1", 96, [11, 4, 0], 1)?;
    pool(b, "c1.pool")?;
    conv(b, "c2", 256, [5, 1, 2], 2)?;
    pool(b, "c2.pool")?;
    conv(b, "c3", 384, [3, 1, 1], 1)?;
    conv(b, "c4", 384, [3, 1, 1], 2)?;
    conv(b, "c5", 256, [3, 1, 1], 2)?;
    pool(b, "c5.pool")?;
    for i in 6..=7 {
        let hidden = b.width(HIDDEN);
        b.linear(&format!("fc{i}"), hidden)?;
        b.relu(&format!("fc{i}.relu"))?;
    }
    b.linear("fc", b.spec.classes)?;
    Ok(())
}

fn conv(b: &mut Builder, name: &str, planes: usize, window: [usize; 3], groups: usize) -> Result<(), GraphError> {
    // Channels stay divisible by the groups under any width.
    let planes = b.width(planes / 2) * 2;
    let [kernel, stride, pad] = window;
    let shape = Conv2d::square(b.graph.shape(b.at).c, planes, kernel, stride, pad);
    b.convolution(name, Conv2d { groups, ..shape }, true)?;
    b.relu(&format!("{name}.relu"))?;
    Ok(())
}

fn pool(b: &mut Builder, name: &str) -> Result<(), GraphError> {
    b.add(name, Op::MaxPool(Pool { kernel: [3; 2], stride: [2; 2], pad: [0; 4] }))?;
    Ok(())
}
