//! VGG-16 and VGG-19 (Simonyan and Zisserman 2015, configurations D and E): five runs of 3×3
//! convolutions with bias, each followed by a maximum pool, and three linear layers. Shape only.

use super::{Builder, Network};
use crate::graph::GraphError;
use crate::op::{Conv2d, Op, Pool};

pub const VGG16: Network = Network {
    name: "vgg16",
    about: "VGG-16 (138,357,544 parameters), shape only",
    default_input: 224,
    build: |b| build(b, [2, 2, 3, 3, 3]),
};

pub const VGG19: Network = Network {
    name: "vgg19",
    about: "VGG-19 (143,667,240 parameters), shape only",
    default_input: 224,
    build: |b| build(b, [2, 2, 4, 4, 4]),
};

const PLANES: [usize; 5] = [64, 128, 256, 512, 512];
const HIDDEN: usize = 4096;

fn build(b: &mut Builder, runs: [usize; 5]) -> Result<(), GraphError> {
    for (run, (convolutions, planes)) in runs.into_iter().zip(PLANES).enumerate() {
        let planes = b.width(planes);
        for i in 1..=convolutions {
            let name = format!("s{}c{i}", run + 1);
            b.convolution(&name, Conv2d::square(b.graph.shape(b.at).c, planes, 3, 1, 1), true)?;
            b.relu(&format!("{name}.relu"))?;
        }
        let pool = Pool { kernel: [2; 2], stride: [2; 2], pad: [0; 4] };
        b.add(&format!("s{}.pool", run + 1), Op::MaxPool(pool))?;
    }
    for i in 6..=7 {
        let hidden = b.width(HIDDEN);
        b.linear(&format!("fc{i}"), hidden)?;
        b.relu(&format!("fc{i}.relu"))?;
    }
    b.linear("fc", b.spec.classes)?;
    Ok(())
}
