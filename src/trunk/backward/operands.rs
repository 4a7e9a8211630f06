//! The operands of one output of a layer: what one sum of products is made of.

use crate::op::Conv2d;
use crate::tensor::Shape;
use crate::trunk::TrunkStep;

/// The operands of one sum of products.
#[derive(Default)]
pub struct Scratch {
    pub x: Vec<i16>,
    pub w: Vec<i16>,
}

/// The centred inputs and weights of output `i`, in canonical order, with zeros for padding.
pub fn operands(
    step: &TrunkStep,
    conv: &Conv2d,
    input: Shape,
    zero: i32,
    image: &[i8],
    i: usize,
    scratch: &mut Scratch,
) {
    let weights = step.weights.as_ref().expect("a layer has weights");
    let output = conv.output_shape(input).expect("the graph has checked this convolution");
    let (c, [kh, kw], depth) = (i % conv.out_c, conv.kernel, conv.depth());
    let (per_group, group) = (conv.in_c / conv.groups, c / (conv.out_c / conv.groups));
    let (oy, ox) = (i / conv.out_c / output.w, i / conv.out_c % output.w);
    scratch.x.clear();
    for tap in 0..kh * kw {
        let at = conv.source(0, oy, tap / kw, input.h).zip(conv.source(1, ox, tap % kw, input.w));
        match at {
            Some((y, x)) => {
                let codes = &image[(y * input.w + x) * conv.in_c + group * per_group..][..per_group];
                scratch.x.extend(codes.iter().map(|&q| i16::from(q) - zero as i16));
            }
            None => scratch.x.resize(scratch.x.len() + per_group, 0),
        }
    }
    let zero = weights.zero_point(c) as i16;
    scratch.w.clear();
    scratch.w.extend(weights.codes[c * depth..][..depth].iter().map(|&q| i16::from(q) - zero));
}
