//! What one layer of the trunk asks of its chip: shapes, operations and bytes, never values.
//!
//! Codes are taken as bytes; a chip with wider words says so in its file, and its model charges
//! them. Sizes may come from files, so nothing here overflows.

use super::mul;
use crate::op::Op;
use crate::tensor::Shape;
use serde::Serialize;

/// What sort of layer it is, as far as arrays treat them differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerKind {
    Conv,
    /// One filter (or a few) per input channel.
    Depthwise,
    Linear,
    Pool,
    /// Element by element: sums, products, activations, batch norms that stand alone.
    #[default]
    Elementwise,
    /// Nothing is computed: padding, concatenation, transposition.
    Move,
}

/// The geometry of a sliding window; of a linear layer, one window of one position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    pub in_h: u64,
    pub in_w: u64,
    pub in_c: u64,
    pub out_h: u64,
    pub out_w: u64,
    pub out_c: u64,
    pub kernel: [u64; 2],
    pub stride: [u64; 2],
    pub groups: u64,
}

/// A layer as products of matrices: `m` × `k` times `k` × `n`, `groups` times over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gemm {
    pub m: u64,
    pub n: u64,
    pub k: u64,
    pub groups: u64,
}

impl Window {
    pub fn in_b(&self) -> u64 {
        mul(&[self.in_h, self.in_w, self.in_c])
    }

    pub fn out_pixels(&self) -> u64 {
        mul(&[self.out_h, self.out_w])
    }

    pub fn out_b(&self) -> u64 {
        mul(&[self.out_h, self.out_w, self.out_c])
    }

    pub fn taps(&self) -> u64 {
        mul(&self.kernel)
    }

    /// Weights, each output channel seeing the inputs of its group.
    pub fn weights(&self) -> u64 {
        mul(&[self.taps(), self.in_c / self.groups.max(1), self.out_c])
    }

    pub fn macs(&self) -> u64 {
        mul(&[self.out_pixels(), self.weights()])
    }

    /// The matrix product it amounts to; none of a window that is empty.
    pub fn gemm(&self) -> Option<Gemm> {
        let groups = self.groups.max(1);
        let k = mul(&[self.taps(), self.in_c / groups]);
        let gemm = Gemm { m: self.out_pixels(), n: self.out_c / groups, k, groups };
        (gemm.m > 0 && gemm.n > 0 && gemm.k > 0).then_some(gemm)
    }

    /// Bytes of the input rows that one row of output needs.
    pub fn least_input_b(&self) -> u64 {
        mul(&[self.kernel[0].max(self.stride[0]).min(self.in_h), self.in_w, self.in_c])
    }
}

/// Work of one step of the trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrunkWork {
    pub kind: LayerKind,
    pub macs: u64,
    /// Operations of a layer that does not multiply and accumulate: window elements of a pool,
    /// elements of the others.
    pub element_ops: u64,
    pub weight_b: u64,
    /// Of these, what stays on the chip from image to image.
    pub resident_weight_b: u64,
    pub input_b: u64,
    pub output_b: u64,
    pub output_pixels: u64,
    pub input_pixels: u64,
    /// All zero where only the counts are known.
    pub window: Window,
}

impl TrunkWork {
    /// What an operation asks for, its weights being bytes.
    pub fn of(op: &Op, inputs: &[Shape], output: Shape) -> Self {
        let elements = |shape: &Shape| shape.elements() as u64;
        let window = window(op, inputs, output);
        let macs = op.macs(inputs, output);
        let input_b = inputs.iter().map(elements).sum();
        let weight_b = match op {
            Op::Conv2d(_) | Op::Linear(_) => op.param_lengths().first().map_or(0, |&n| n as u64),
            _ => 0,
        };
        let element_ops = match op {
            Op::Conv2d(_) | Op::Linear(_) => 0,
            Op::AvgPool(p) | Op::MaxPool(p) => mul(&[elements(&output), p.kernel[0] as u64, p.kernel[1] as u64]),
            _ if kind(op) == LayerKind::Move => 0,
            _ => elements(&output).max(input_b / inputs.len().max(1) as u64),
        };
        Self {
            kind: kind(op),
            macs,
            element_ops,
            weight_b,
            resident_weight_b: 0,
            input_b,
            output_b: elements(&output),
            output_pixels: output.pixels() as u64,
            input_pixels: inputs.iter().map(|s| s.pixels() as u64).max().unwrap_or(0),
            window,
        }
    }

    /// A convolution or a linear layer known by its window alone.
    pub fn of_window(kind: LayerKind, window: Window) -> Self {
        Self {
            kind,
            macs: window.macs(),
            element_ops: 0,
            weight_b: window.weights(),
            resident_weight_b: 0,
            input_b: window.in_b(),
            output_b: window.out_b(),
            output_pixels: window.out_pixels(),
            input_pixels: mul(&[window.in_h, window.in_w]),
            window,
        }
    }

    /// Weights to load for every image.
    pub fn loaded_weight_b(&self) -> u64 {
        self.weight_b.saturating_sub(self.resident_weight_b)
    }
}

fn kind(op: &Op) -> LayerKind {
    match op {
        Op::Conv2d(conv) if conv.is_depthwise() => LayerKind::Depthwise,
        Op::Conv2d(_) => LayerKind::Conv,
        Op::Linear(_) => LayerKind::Linear,
        Op::AvgPool(_) | Op::MaxPool(_) | Op::Mean | Op::ChannelPool => LayerKind::Pool,
        Op::Pad(_) | Op::Concat | Op::Reshape(_) | Op::Transpose(_) | Op::Upsample(_) => LayerKind::Move,
        Op::BatchNorm(_) | Op::Activation(_) | Op::Add | Op::Mul | Op::Softmax(_) | Op::Dropout(_) | Op::Requantise => {
            LayerKind::Elementwise
        }
    }
}

fn window(op: &Op, inputs: &[Shape], output: Shape) -> Window {
    let pair = |p: [usize; 2]| p.map(|n| n as u64);
    let Some(input) = inputs.first() else { return Window::default() };
    let at = |kernel, stride, groups| Window {
        in_h: input.h as u64,
        in_w: input.w as u64,
        in_c: input.c as u64,
        out_h: output.h as u64,
        out_w: output.w as u64,
        out_c: output.c as u64,
        kernel,
        stride,
        groups,
    };
    match op {
        Op::Conv2d(conv) => at(pair(conv.kernel), pair(conv.stride), conv.groups as u64),
        Op::AvgPool(pool) | Op::MaxPool(pool) => at(pair(pool.kernel), pair(pool.stride), input.c as u64),
        Op::Linear(linear) => Window {
            in_h: 1,
            in_w: 1,
            in_c: linear.inputs as u64,
            out_h: 1,
            out_w: 1,
            out_c: linear.outputs as u64,
            kernel: [1; 2],
            stride: [1; 2],
            groups: 1,
        },
        _ => Window::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Conv2d, Linear, Pool};

    #[test]
    fn work_comes_from_shapes() {
        let input = Shape::new(8, 8, 4);
        let conv = Op::Conv2d(Conv2d::square(4, 6, 3, 2, 1));
        let work = TrunkWork::of(&conv, &[input], Shape::new(4, 4, 6));
        assert_eq!((work.macs, work.weight_b, work.input_b, work.output_b), (3456, 216, 256, 96));
        assert_eq!(work.window.gemm(), Some(Gemm { m: 16, n: 6, k: 36, groups: 1 }));
        assert_eq!((work.window.macs(), work.window.weights()), (work.macs, work.weight_b));
        let depthwise = Op::Conv2d(Conv2d { groups: 4, ..Conv2d::square(4, 4, 3, 1, 1) });
        let work = TrunkWork::of(&depthwise, &[input], input);
        assert_eq!((work.kind, work.macs), (LayerKind::Depthwise, 64 * 9 * 4));
        assert_eq!(work.window.gemm(), Some(Gemm { m: 64, n: 1, k: 9, groups: 4 }));
        let linear = Op::Linear(Linear { inputs: 256, outputs: 10 });
        let work = TrunkWork::of(&linear, &[input], Shape::vector(10));
        assert_eq!(work.window.gemm(), Some(Gemm { m: 1, n: 10, k: 256, groups: 1 }));
    }

    #[test]
    fn layers_without_macs_have_operations() {
        let input = Shape::new(8, 8, 4);
        let pool = Op::MaxPool(Pool { kernel: [3, 3], stride: [2, 2], pad: [1; 4] });
        assert_eq!(TrunkWork::of(&pool, &[input], Shape::new(4, 4, 4)).element_ops, 64 * 9);
        assert_eq!(TrunkWork::of(&Op::Add, &[input, input], input).element_ops, 256);
        assert_eq!(TrunkWork::of(&Op::Mean, &[input], Shape::vector(4)).element_ops, 256);
        assert_eq!(TrunkWork::of(&Op::Concat, &[input, input], Shape::new(8, 8, 8)).element_ops, 0);
    }
}
