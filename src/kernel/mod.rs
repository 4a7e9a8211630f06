//! Adapter-device kernels: parameters, tolerance, twin.
