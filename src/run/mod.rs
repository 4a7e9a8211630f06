//! The only loop over steps.
