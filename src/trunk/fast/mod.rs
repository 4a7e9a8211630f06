//! Fast int8 products and sums: packed weights and one microkernel per instruction set, chosen at run time.
//!
//! The reference loops of `op` define every code and every count; a kernel here equals them bit for
//! bit or is not used. A [`Plan`] is made once per layer, when the trunk is prepared, and only for
//! layers whose products provably fit 32 bits. It refuses (and the step keeps the reference loop)
//! weights with a zero point and sums that could wrap. Intrinsics and raw pointers stay in this
//! folder: `avx512.rs`, `avx_vnni.rs` and `avx2.rs`.
//!
//! There is no NEON file yet, because it could not be tested: other CPUs keep the reference loops.

mod geometry;
mod pack;
mod plan;
mod portable;
mod requant;
mod sum;
mod table;

#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "rows and columns of a register tile are indexed alike")]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "rows and columns of a register tile are indexed alike")]
mod avx512;
#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "rows and columns of a register tile are indexed alike")]
mod avx_vnni;

pub use plan::Plan;
pub use sum::Sum;
pub use table::{InstructionSet, Kernels};

/// A step's work on the fast kernels.
#[derive(Clone, Debug)]
pub(super) enum Fast {
    Product(Box<Plan>),
    Sum(Sum),
}
