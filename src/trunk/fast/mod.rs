//! Fast int8 products: packed weights and one microkernel per instruction set, chosen at run time.
//!
//! The reference loops of `op` define every code and every count; a kernel here equals them bit for
//! bit or is not used. A [`Plan`] is made once per layer, when the trunk is prepared, and only for
//! layers whose products provably fit 32 bits. It refuses (and the step keeps the reference loop)
//! weights with a zero point and sums that could wrap. Intrinsics and raw pointers stay in this
//! folder: `avx512.rs`, `avx_vnni.rs` and `avx2.rs`.
//!
//! There is no NEON file yet: this family of CPUs could not test it, so it runs `portable.rs`.

mod geometry;
mod pack;
mod plan;
mod portable;
mod requant;
mod table;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;

pub use plan::Plan;
pub use table::{InstructionSet, Kernels};
