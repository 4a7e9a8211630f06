//! MobileNetV3-Large (Howard et al. 2019) as torchvision builds it: fifteen inverted bottlenecks, some
//! with a squeeze-excite gate, hard-swish in the deeper ones, two linear layers at the end.
//!
//! The literature's "without FC" leaves both linear layers out. Under `width`, channels are multiples
//! of 8, as in torchvision.

use super::{Builder, Network};
use crate::graph::GraphError;
use crate::op::{Activation, Conv2d, Op};

pub const NETWORK: Network = Network {
    name: "mobilenetv3-large",
    about: "MobileNetV3-Large for ImageNet (5,483,032 parameters with 1,000 classes)",
    default_input: 224,
    build,
};

/// torchvision's for this network.
const EPSILON: f32 = 1e-3;

/// An inverted bottleneck: depthwise kernel, expanded channels, output channels, whether it has a
/// gate, its activation, its stride.
struct Bottleneck(usize, usize, usize, bool, Activation, usize);

const RELU: Activation = Activation::Relu;
const SWISH: Activation = Activation::HardSwish;

const BOTTLENECKS: [Bottleneck; 15] = [
    Bottleneck(3, 16, 16, false, RELU, 1),
    Bottleneck(3, 64, 24, false, RELU, 2),
    Bottleneck(3, 72, 24, false, RELU, 1),
    Bottleneck(5, 72, 40, true, RELU, 2),
    Bottleneck(5, 120, 40, true, RELU, 1),
    Bottleneck(5, 120, 40, true, RELU, 1),
    Bottleneck(3, 240, 80, false, SWISH, 2),
    Bottleneck(3, 200, 80, false, SWISH, 1),
    Bottleneck(3, 184, 80, false, SWISH, 1),
    Bottleneck(3, 184, 80, false, SWISH, 1),
    Bottleneck(3, 480, 112, true, SWISH, 1),
    Bottleneck(3, 672, 112, true, SWISH, 1),
    Bottleneck(5, 672, 160, true, SWISH, 2),
    Bottleneck(5, 960, 160, true, SWISH, 1),
    Bottleneck(5, 960, 160, true, SWISH, 1),
];

const STEM: usize = 16;
/// The last convolution's channels per channel of its input.
const LAST_EXPANSION: usize = 6;
/// Outputs of the first linear layer.
const HIDDEN: usize = 1280;

fn build(b: &mut Builder) -> Result<(), GraphError> {
    let stem = channels(b, STEM);
    b.conv("stem", stem, 3, 2)?;
    finish(b, "stem", Some(SWISH))?;
    for (i, bottleneck) in BOTTLENECKS.iter().enumerate() {
        inverted(b, &format!("b{}", i + 1), bottleneck)?;
    }
    let last = LAST_EXPANSION * b.graph.shape(b.at).c;
    b.conv("last", last, 1, 1)?;
    finish(b, "last", Some(SWISH))?;
    b.add("pool", Op::Mean)?;
    let hidden = channels(b, HIDDEN);
    b.linear("fc1", hidden)?;
    b.add("fc1.hard-swish", Op::Activation(SWISH))?;
    b.linear("fc", b.spec.classes)?;
    Ok(())
}

/// A channel count under the width multiplier.
fn channels(b: &Builder, channels: usize) -> usize {
    multiple_of_8(channels as f64 * b.spec.width)
}

/// The nearest multiple of 8 that is at least 8 and not more than a tenth below `wanted`.
fn multiple_of_8(wanted: f64) -> usize {
    let nearest = ((wanted + 4.0) as usize / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * wanted { nearest + 8 } else { nearest }
}

/// Batch norm, and an activation or none.
fn finish(b: &mut Builder, name: &str, activation: Option<Activation>) -> Result<(), GraphError> {
    b.batch_norm_of(&format!("{name}.bn"), EPSILON)?;
    if let Some(a) = activation {
        b.add(&format!("{name}.{}", a.name()), Op::Activation(a))?;
    }
    Ok(())
}

fn inverted(b: &mut Builder, name: &str, shape: &Bottleneck) -> Result<(), GraphError> {
    let &Bottleneck(kernel, expanded, out, gated, activation, stride) = shape;
    let (entry, inputs) = (b.at, b.graph.shape(b.at).c);
    let (expanded, out) = (channels(b, expanded), channels(b, out));
    if expanded != inputs {
        b.conv(&format!("{name}.expand"), expanded, 1, 1)?;
        finish(b, &format!("{name}.expand"), Some(activation))?;
    }
    let depthwise = Conv2d { groups: expanded, ..Conv2d::square(expanded, expanded, kernel, stride, kernel / 2) };
    b.convolution(&format!("{name}.depthwise"), depthwise, false)?;
    finish(b, &format!("{name}.depthwise"), Some(activation))?;
    if gated {
        squeeze_excite(b, &format!("{name}.gate"))?;
    }
    b.conv(&format!("{name}.project"), out, 1, 1)?;
    finish(b, &format!("{name}.project"), None)?;
    if stride == 1 && inputs == out {
        b.at = b.graph.add_node(&format!("{name}.add"), Op::Add, &[b.at, entry], &[])?;
    }
    Ok(())
}

/// A factor per channel from the map's means: two 1×1 convolutions with bias, ReLU between, a
/// hard-sigmoid at the end.
fn squeeze_excite(b: &mut Builder, name: &str) -> Result<(), GraphError> {
    let map = b.at;
    let expanded = b.graph.shape(map).c;
    let pointwise = |from, to| Conv2d::square(from, to, 1, 1, 0);
    let squeezed = multiple_of_8((expanded / 4) as f64);
    b.add(&format!("{name}.mean"), Op::Mean)?;
    b.convolution(&format!("{name}.squeeze"), pointwise(expanded, squeezed), true)?;
    b.relu(&format!("{name}.relu"))?;
    b.convolution(&format!("{name}.excite"), pointwise(squeezed, expanded), true)?;
    b.add(&format!("{name}.hard-sigmoid"), Op::Activation(Activation::HARD_SIGMOID))?;
    b.at = b.graph.add_node(&format!("{name}.mul"), Op::Mul, &[map, b.at], &[])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::multiple_of_8;

    #[test]
    fn channels_are_rounded_as_torchvision_rounds_them() {
        let rounded = [72.0 / 4.0, 120.0 / 4.0, 960.0 / 4.0, 2.0, 12.0, 43.9].map(multiple_of_8);
        assert_eq!(rounded, [24, 32, 240, 8, 16, 40]);
    }
}
