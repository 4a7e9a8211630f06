//! How far a figure can be trusted.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Ordered from best to worst: a result has the *worst* (greatest) confidence of what went into it.
///
/// A value measured on the device at hand stands above a published one; a value carried over from
/// another device stands below one computed from figures of this device; a guess stands last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Measured on this very device.
    Measured,
    /// The named document was read.
    Primary,
    /// A transcription of the named document, or a report about it, was read.
    SecondHand,
    /// Arithmetic on other figures, or a tool's output.
    Derived,
    /// A figure of another device.
    Borrowed,
    /// A standard that everyone quotes; its text was not read.
    RecalledUnverified,
    /// Chosen, without a source.
    Assumed,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Measured => "measured",
            Self::Primary => "primary",
            Self::SecondHand => "second-hand",
            Self::Derived => "derived",
            Self::Borrowed => "borrowed",
            Self::RecalledUnverified => "recalled-unverified",
            Self::Assumed => "assumed",
        })
    }
}
