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
    gather(conv, input, zero, image, i, &mut scratch.x);
    scratch.w.clear();
    scratch.w.extend(codes(step, conv, i % conv.out_c));
}

/// The centred inputs of output `i`.
pub fn gather(conv: &Conv2d, input: Shape, zero: i32, image: &[i8], i: usize, x: &mut Vec<i16>) {
    let output = conv.output_shape(input).expect("the graph has checked this convolution");
    let (c, [kh, kw]) = (i % conv.out_c, conv.kernel);
    let (per_group, group) = (conv.in_c / conv.groups, c / (conv.out_c / conv.groups));
    let (oy, ox) = (i / conv.out_c / output.w, i / conv.out_c % output.w);
    x.clear();
    for tap in 0..kh * kw {
        let at = conv.source(0, oy, tap / kw, input.h).zip(conv.source(1, ox, tap % kw, input.w));
        match at {
            Some((iy, ix)) => {
                let codes = &image[(iy * input.w + ix) * conv.in_c + group * per_group..][..per_group];
                x.extend(codes.iter().map(|&q| i16::from(q) - zero as i16));
            }
            None => x.resize(x.len() + per_group, 0),
        }
    }
}

/// The centred weights of channel `c`.
pub fn centred(step: &TrunkStep, conv: &Conv2d, c: usize) -> Vec<i16> {
    codes(step, conv, c).collect()
}

fn codes<'a>(step: &'a TrunkStep, conv: &Conv2d, c: usize) -> impl Iterator<Item = i16> + 'a {
    let weights = step.weights.as_ref().expect("a layer has weights");
    let (zero, depth) = (weights.zero_point(c) as i16, conv.depth());
    weights.codes[c * depth..][..depth].iter().map(move |&q| i16::from(q) - zero)
}
