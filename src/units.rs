//! Integer quantities with their unit in the type, and the small closed words of the domain.
//!
//! Everything a run counts stays an integer until `price` turns it into energy. There is
//! deliberately no conversion between these types and no floating-point arithmetic on them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares a `u64` newtype that adds, sums, prints and serialises as a plain integer.
macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl std::ops::Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }
        impl std::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }
        impl std::ops::Mul<u64> for $name {
            type Output = Self;
            fn mul(self, times: u64) -> Self {
                Self(self.0 * times)
            }
        }
        impl std::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
                values.fold(Self(0), |a, b| a + b)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

quantity!(/// Multiply-accumulate operations.
    Macs);
quantity!(/// Bytes (of 8 bits).
    Bytes);
quantity!(/// Tensor elements.
    Elements);
quantity!(/// Simulated time in picoseconds.
    Picoseconds);

/// Where a node runs. Never called plain "domain" in prose: a *visual* domain is a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HardwareDomain {
    /// The frozen int8 network on the fixed-weight device.
    Trunk,
    /// The trainable modules on the adapter device.
    Adapter,
    /// The program around them; computes nothing that trains.
    Host,
}

/// Which way a transfer crosses the bus, named from the trunk's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// A map leaving the trunk.
    TapOut,
    /// A value entering the trunk.
    TapIn,
}

/// Why work was done or bytes crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Forward,
    Backward,
    /// Writing new parameter values after an optimiser step.
    Update,
    /// Loading another task's adapter.
    Switch,
}

/// Implements `Display` as the kebab-case name that JSON and the command line use.
macro_rules! kebab_display {
    ($name:ident { $($variant:ident => $text:literal),+ $(,)? }) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $text),+ })
            }
        }
    };
}
kebab_display!(HardwareDomain { Trunk => "trunk", Adapter => "adapter", Host => "host" });
kebab_display!(Direction { TapOut => "tap-out", TapIn => "tap-in" });
kebab_display!(Phase { Forward => "forward", Backward => "backward", Update => "update", Switch => "switch" });
