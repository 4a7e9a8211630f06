//! What one step computes: an operation with everything it needs but its inputs.

use super::program::Hash;
use crate::op::product::{Join, Product};
use crate::op::upsample::Between;
use crate::op::{
    Conv2d, Counts, Linear, Pad, Pool, Registers, Table, add, batch_norm, concat, conv2d, linear, mean, mul, pad, pool,
    softmax, table, transpose, upsample,
};
use crate::op::{Transpose, Upsample};
use crate::quant::weights::WeightCodes;
use crate::quant::{Clamp, Multiplier};
use crate::tensor::{Shape, Tensor};

#[derive(Clone, Debug)]
pub(super) enum Work {
    Conv2d(Conv2d, Product),
    Linear(Linear, Product),
    BatchNorm(batch_norm::Int8),
    Add(add::Int8),
    Mul(mul::Int8),
    AvgPool(Pool, pool::Average, Clamp),
    MaxPool(Pool, Clamp),
    Mean(mean::Int8),
    Pad(Pad, i32),
    Transpose(Transpose),
    Upsample(Upsample, i32),
    Concat(Vec<Option<Table>>),
    Reshape(Shape),
    Softmax(softmax::Int8),
    /// A function of one code, and the bytes that the chip holds for it.
    Table(Table, u64),
}

impl Work {
    pub fn run(&self, inputs: &[&Tensor<i8>], join: Option<Join<'_>>) -> (Tensor<i8>, Counts) {
        let x = inputs[0];
        match self {
            Work::Conv2d(op, p) => conv2d::int8(op, x, p, join),
            Work::Linear(op, p) => linear::int8(op, x, p, join),
            Work::BatchNorm(p) => batch_norm::int8(x, p),
            Work::Add(p) => add::int8(x, inputs[1], p),
            Work::Mul(p) => mul::int8(x, inputs[1], p),
            Work::AvgPool(op, form, clamp) => pool::average_int8(op, x, *form, *clamp),
            Work::MaxPool(op, clamp) => pool::maximum_int8(op, x, *clamp),
            Work::Mean(p) => mean::int8(x, p),
            Work::Pad(op, zero_point) => (pad::int8(op, x, *zero_point), Counts::default()),
            Work::Transpose(op) => (transpose::int8(op, x), Counts::default()),
            Work::Upsample(op, zero_point) => (upsample::int8(op, x, *zero_point), Counts::default()),
            Work::Concat(tables) => concat::int8(inputs, tables),
            Work::Reshape(to) => (Tensor::from_vec(x.batch, *to, x.data.clone()), Counts::default()),
            Work::Softmax(p) => softmax::int8(x, p),
            Work::Table(table, _) => table::int8(x, table),
        }
    }

    /// Orders a layer's weights for its reference loop, or drops that copy where the loop is not run.
    pub fn keep_weights(&mut self, codes: Option<&WeightCodes>) {
        let nothing = || linear::pack(&Linear { inputs: 0, outputs: 0 }, &[], &[0]);
        match self {
            Work::Conv2d(op, p) => {
                p.weights = codes.map_or_else(nothing, |w| conv2d::pack(op, &w.codes, &w.zero_points));
            }
            Work::Linear(op, p) => {
                p.weights = codes.map_or_else(nothing, |w| linear::pack(op, &w.codes, &w.zero_points));
            }
            _ => {}
        }
    }

    pub fn registers(&self) -> Option<&Registers> {
        match self {
            Work::Conv2d(_, p) | Work::Linear(_, p) => Some(&p.registers),
            Work::BatchNorm(p) => Some(&p.registers),
            _ => None,
        }
    }

    /// Bytes of requantisation registers and tables.
    pub fn register_bytes(&self) -> u64 {
        let of_tables = |tables: &[Option<Table>]| tables.iter().flatten().map(|t| t.codes().len() as u64).sum();
        match self {
            Work::Conv2d(..) | Work::Linear(..) | Work::BatchNorm(_) => {
                self.registers().map_or(0, |r| r.channels() as u64 * Registers::CHANNEL_BYTES)
            }
            Work::Add(_) => 3 * Multiplier::BYTES,
            Work::Mul(_) | Work::Mean(_) | Work::Softmax(_) => Multiplier::BYTES,
            Work::AvgPool(..) | Work::MaxPool(..) | Work::Pad(..) | Work::Reshape(_) => 0,
            Work::Transpose(_) | Work::Upsample(..) => 0,
            Work::Concat(tables) => of_tables(tables),
            Work::Table(_, bytes) => *bytes,
        }
    }

    /// Everything that can change a code, weights apart.
    pub fn hash(&self, hash: &mut Hash) {
        match self {
            Work::Conv2d(op, p) => {
                hash.sizes(&[&op.kernel[..], &op.stride, &op.dilation, &op.pad, &[op.groups]].concat());
                hash_product(p, hash);
            }
            Work::Linear(_, p) => hash_product(p, hash),
            Work::BatchNorm(p) => {
                hash.int(p.input_zero_point);
                hash.words(&p.factors);
                hash.registers(&p.registers);
                hash.output(&p.output);
            }
            Work::Add(p) => {
                hash.words(&p.words());
                hash.output(&p.output);
            }
            Work::Mul(p) => {
                hash.words(&p.words());
                hash.output(&p.output);
            }
            Work::AvgPool(op, form, clamp) => {
                hash_pool(op, hash);
                hash.words(&form.words());
                hash.clamp(*clamp);
            }
            Work::MaxPool(op, clamp) => {
                hash_pool(op, hash);
                hash.clamp(*clamp);
            }
            Work::Mean(p) => {
                hash.multiplier(p.multiplier);
                hash.output(&p.output);
            }
            Work::Transpose(op) => hash.sizes(&op.order),
            Work::Upsample(op, zero_point) => {
                hash.sizes(&[&op.factor[..], &[usize::from(op.between == Between::Zeros)]].concat());
                hash.int(*zero_point);
            }
            Work::Pad(op, zero_point) => {
                hash.sizes(&[&op.space[..], &op.channels].concat());
                hash.int(*zero_point);
            }
            Work::Concat(tables) => {
                tables.iter().for_each(|t| hash.codes(t.as_ref().map_or(&[], Table::codes)));
            }
            Work::Reshape(to) => hash.sizes(&[to.h, to.w, to.c]),
            Work::Softmax(p) => hash.words(&p.words()),
            Work::Table(table, _) => hash.codes(table.codes()),
        }
    }
}

fn hash_product(p: &Product, hash: &mut Hash) {
    hash.int(p.input_zero_point);
    hash.registers(&p.registers);
    hash.output(&p.output);
}

fn hash_pool(op: &Pool, hash: &mut Hash) {
    hash.sizes(&[&op.kernel[..], &op.stride, &op.pad].concat());
}
