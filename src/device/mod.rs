//! Where kernels run: GPU, CPU twins, or nowhere (counts only).
