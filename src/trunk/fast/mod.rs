//! Fast int8 steps: packed weights and one microkernel per instruction set, chosen at run time.
//!
//! The reference loops of `op` define every code and every count; a kernel here equals them bit for
//! bit or is not used. A [`Plan`] is made once per layer, when the trunk is prepared, and only for
//! layers whose products provably fit 32 bits. It refuses (and the step keeps the reference loop)
//! sums that could wrap. What compilers vectorise by themselves is a plain loop compiled per instruction
//! set (`versions.rs`); intrinsics and raw pointers stay in this folder.
//!
//! `neon.rs` has only ever run under an emulator (`tests/conformance/neon.sh`): its codes are tested, its
//! speed is not. CPUs with none of these instruction sets keep the reference loops.

mod addend;
pub mod backward;
mod depthwise;
mod finish;
mod geometry;
mod lookup;
mod mean;
mod mul;
#[cfg(target_arch = "aarch64")]
#[expect(clippy::needless_range_loop, reason = "rows and columns of a register tile are indexed alike")]
mod neon;
mod norm;
mod pack;
mod place;
mod plan;
mod pool;
mod portable;
mod requant;
mod softmax;
mod sum;
mod table;
mod task;
mod tasks;
mod versions;

#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "rows and columns of a register tile are indexed alike")]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "rows and columns of a register tile are indexed alike")]
mod avx512;
#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "rows and columns of a register tile are indexed alike")]
mod avx_vnni;

pub use depthwise::Depthwise;
pub use lookup::Lookup;
pub use mean::Mean;
pub use mul::Mul;
pub use norm::Norm;
pub use place::{Concatenation, Padding};
pub use plan::Plan;
pub use pool::Pooling;
pub use softmax::Softmax;
pub use sum::Sum;
pub use table::{InstructionSet, Kernels};
pub use task::After;

use super::Map;
use super::work::Work;
use crate::op::Counts;
use crate::op::pool::Average;
use crate::op::product::Join;
use crate::quant::weights::WeightCodes;
use crate::tensor::Shape;

/// A step's work on the fast kernels.
#[derive(Clone, Debug)]
pub(super) enum Fast {
    Product(Box<Plan>),
    Depthwise(Box<Depthwise>),
    Norm(Norm),
    Sum(Sum),
    Mul(Mul),
    Pooling(Pooling),
    Mean(Mean),
    Padding(Padding),
    Concatenation(Concatenation),
    Lookup(Lookup),
    Softmax(Softmax),
    /// The same codes under another shape.
    Copy,
}

impl Fast {
    /// The fast form of a step's work on maps of these shapes; none where the reference loop must run.
    pub fn new(work: &Work, inputs: &[Shape], weights: Option<&WeightCodes>, kernels: Kernels) -> Option<Self> {
        match (work, weights) {
            (Work::Conv2d(op, p), Some(codes)) => match Depthwise::new(op, inputs[0], codes, p, kernels) {
                Some(plan) => Some(Fast::Depthwise(Box::new(plan))),
                None => Plan::conv2d(op, inputs[0], codes, p, kernels).map(|plan| Fast::Product(Box::new(plan))),
            },
            (Work::Linear(op, p), Some(codes)) => {
                Plan::linear(op, codes, p, kernels).map(|plan| Fast::Product(Box::new(plan)))
            }
            (Work::BatchNorm(p), _) => Norm::new(p, kernels).map(Fast::Norm),
            (Work::Add(p), _) => Sum::new(p, kernels).map(Fast::Sum),
            (Work::Mul(p), _) => Mul::new(p, kernels).map(Fast::Mul),
            (Work::AvgPool(op, Average::Tflite(codes), clamp), _) => {
                Pooling::average(op, inputs[0], *codes, *clamp, kernels).map(Fast::Pooling)
            }
            (Work::MaxPool(op, clamp), _) => Pooling::maximum(op, inputs[0], *clamp, kernels).map(Fast::Pooling),
            (Work::Mean(p), _) => Mean::new(p, inputs[0], kernels).map(Fast::Mean),
            (Work::Pad(op, zero), _) => Padding::new(op, inputs[0], *zero, kernels).map(Fast::Padding),
            (Work::Concat(tables), _) => Concatenation::new(tables, inputs, kernels).map(Fast::Concatenation),
            (Work::Table(table, _), _) => Lookup::new(table, kernels).map(Fast::Lookup),
            (Work::Softmax(p), _) => Softmax::new(p, inputs[0], kernels).map(Fast::Softmax),
            (Work::Reshape(_), _) => kernels.set().map(|_| Fast::Copy),
            _ => None,
        }
    }

    /// Writes the codes of `work`, which the form was made from, over all of `out`; returns the
    /// reference loop's counts. What `out` held before does not matter.
    pub fn run_into(&self, work: &Work, inputs: &[Map<'_>], join: Option<Join<'_>>, out: &mut [i8]) -> Counts {
        match (self, work) {
            (Fast::Product(plan), Work::Conv2d(_, p) | Work::Linear(_, p)) => {
                plan.run_into(inputs[0], p, join, None, out)[0]
            }
            (Fast::Product(_), _) => unreachable!("a product was made from a convolution or a linear layer"),
            (Fast::Depthwise(plan), _) => plan.run_into(inputs[0], join, out),
            (Fast::Norm(norm), _) => norm.run_into(inputs[0], out),
            (Fast::Sum(sum), _) => sum.run_into(inputs[0], inputs[1], out),
            (Fast::Mul(mul), _) => mul.run_into(inputs[0], inputs[1], out),
            (Fast::Pooling(pooling), _) => pooling.run_into(inputs[0], out),
            (Fast::Mean(mean), _) => mean.run_into(inputs[0], out),
            (Fast::Padding(padding), _) => padding.run_into(inputs[0], out),
            (Fast::Concatenation(concatenation), _) => concatenation.run_into(inputs, out),
            (Fast::Lookup(lookup), _) => lookup.run_into(inputs[0], out),
            (Fast::Softmax(softmax), _) => softmax.run_into(inputs[0], out),
            (Fast::Copy, _) => {
                out.copy_from_slice(inputs[0].codes);
                Counts::default()
            }
        }
    }

    /// [`Fast::run_into`], which also marks in `cut`, all of which it writes, the codes that their own range cut
    /// off; none where the form does not tell.
    pub fn run_cutting(
        &self,
        work: &Work,
        inputs: &[Map<'_>],
        join: Option<Join<'_>>,
        out: &mut [i8],
        cut: &mut Vec<u8>,
    ) -> Option<Counts> {
        let (Fast::Product(plan), Work::Conv2d(_, p) | Work::Linear(_, p)) = (self, work) else { return None };
        cut.resize(out.len(), 0);
        Some(plan.run_cutting(inputs[0], p, join, out, cut))
    }

    /// The same for a product and the addition after it; returns the counts of both.
    pub fn run_before(
        &self,
        work: &Work,
        inputs: &[Map<'_>],
        join: Option<Join<'_>>,
        after: After<'_>,
        out: &mut [i8],
    ) -> [Counts; 2] {
        let (Fast::Product(plan), Work::Conv2d(_, p) | Work::Linear(_, p)) = (self, work) else {
            unreachable!("additions follow products");
        };
        plan.run_into(inputs[0], p, join, Some(after), out)
    }
}
