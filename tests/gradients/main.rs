//! The gradients of all kernels: finite differences in f64 against the backward twins, optimisers
//! against their formulas in f64, and the same bits however a batch is cut into micro-batches.

mod check;
mod layers;
mod modules;
mod products;
mod training;
