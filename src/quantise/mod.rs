//! Calibration: runs the float graph and fixes scales.
