//! A whole adapter by the formulas of its kernels: adaptive attention `F * sigmoid(K * relu(F * alpha))`.

use super::check::{Case, DX, G, Y, random};
use super::products::convolve;
use trunkline::kernel::*;
use trunkline::op::{Activation, Conv2d};
use trunkline::tensor::Shape;

const F: BufferId = BufferId(0);
const ALPHA: BufferId = BufferId(1);
const K: BufferId = BufferId(2);
/// The ReLU's bits and output, the mask, and gradients on the way back.
const HIDDEN: BufferId = BufferId(10);
const BITS: BufferId = BufferId(11);
const MASK: BufferId = BufferId(12);
const D_MASK: BufferId = BufferId(13);
const D_SUM: BufferId = BufferId(14);
const D_HIDDEN: BufferId = BufferId(15);
const D_INNER: BufferId = BufferId(16);
const PARTS: BufferId = BufferId(17);
const THROUGH: BufferId = BufferId(18);

const BATCH: usize = 2;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn adaptive_attention() {
    let (map, middle, mask) = (Shape::new(6, 5, 4), Shape::new(6, 5, 2), Shape::new(6, 5, 1));
    let (alpha, k) = (Conv2d::square(4, 2, 1, 1, 0), Conv2d::square(2, 1, 7, 1, 3));
    let definition = |v: &[Vec<f64>]| {
        let hidden: Vec<f64> = convolve(BATCH, map, &alpha, &v[0], &v[1], &[]).iter().map(|x| x.max(0.0)).collect();
        let mask = convolve(BATCH, middle, &k, &hidden, &v[2], &[]);
        v[0].iter().enumerate().map(|(i, x)| x * sigmoid(mask[i / 4])).collect()
    };
    let n = BATCH as u32;
    let (inner, outer) = (conv1x1::Params::new(n, map, middle, &alpha), conv2d::Params::new(n, middle, mask, &k));
    let gate = activation::Params::new(n, mask.elements(), Activation::Sigmoid { gain: 1.0 });
    let product = mul::Params::new(n, map, mask);
    let relu = pass_mask::Params::new(n, middle.elements(), Activation::Relu).unwrap();
    let forward = [
        conv1x1::call(inner, F, ALPHA, None, D_INNER),
        activation::call(activation::Params::new(n, middle.elements(), Activation::Relu), D_INNER, HIDDEN),
        pass_mask::call(relu, HIDDEN, BITS),
        conv2d::call(outer, HIDDEN, K, None, D_SUM),
        activation::call(gate, D_SUM, MASK),
        mul::call(product, F, MASK, Y),
    ];
    let values = [random(1, BATCH * map.elements()), random(2, alpha.weights()), random(3, k.weights())];
    let case = Case::new(&definition, &values, &forward);
    let back = [
        dot_channels::call(channel_sum::Params::new(n, map.pixels(), map.c), G, F, D_MASK),
        activation_grad::call(gate, MASK, D_MASK, D_SUM),
        conv2d_input_grad::call(outer, D_SUM, K, D_HIDDEN),
        mask_grad::call(mask_grad::Params::new(n, middle.elements(), Activation::Relu), D_HIDDEN, BITS, D_INNER),
    ];
    let with = |calls: [KernelCall; 2]| [back.to_vec(), calls.to_vec()].concat();
    let rows = |rows, count| sum_rows::call(sum_rows::Params::new(n, rows, count, false), PARTS, DX);
    let d_alpha = conv1x1_weight_grad::call(inner, F, D_INNER, PARTS);
    case.check(1, &with([d_alpha, rows(conv1x1_weight_grad::parts(&inner), alpha.weights())]), DX);
    let d_k = conv2d_weight_grad::call(outer, HIDDEN, D_SUM, PARTS);
    case.check(2, &with([d_k, rows(conv2d_weight_grad::parts(&outer), k.weights())]), DX);
    let d_map = [
        mul::call(product, G, MASK, DX),
        conv1x1_input_grad::call(inner, D_INNER, ALPHA, THROUGH),
        accumulate::call(accumulate::Params::new(n, map.elements()), THROUGH, DX),
    ];
    case.check(0, &[back.to_vec(), d_map.to_vec()].concat(), DX);
}
