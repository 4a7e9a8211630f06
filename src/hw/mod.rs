//! Hardware model files, read and checked; timing of the trunk and of the adapter device.
//!
//! A hardware model is one TOML file under `hw_models/`: every physical number in it is a
//! [`Figure`] with a value, an interval, a source and a [`Confidence`], or the statement that it is
//! unknown. [`library`] finds and reads them, [`check`](check::check) judges one, [`timing`] turns
//! counts into picoseconds. Anything computed from figures is an [`Estimate`], which carries the
//! interval, the worst confidence and the names of the unknown figures that it lacked.
//!
//! What it refuses: a figure without a source, a key that the schema does not have (units are in
//! the keys, so a wrong unit is an unknown key), and numbers that no hardware has. It holds no
//! default for a physical figure: what a file does not say is unknown, and named as such.

pub mod adapter;
pub mod check;
mod confidence;
mod error;
mod estimate;
mod figure;
pub mod library;
pub mod link;
pub mod memory;
mod model;
mod place;
mod reader;
pub mod scalesim;
mod schema;
mod sheet;
mod source;
pub mod system;
pub mod table;
pub mod timing;
pub mod trunk;
mod unit;

pub use adapter::Adapter;
pub use confidence::Confidence;
pub use error::HwError;
pub use estimate::Estimate;
pub use figure::{Figure, Known, State};
pub use link::Link;
pub use memory::Memory;
pub use model::{Body, Model};
pub use schema::{Access, Compat, CostRule, Duplex, Kind, LaunchApi, Overlap, PointRole, RoundsAt, Validation};
pub use sheet::Row;
pub use system::{System, TapAccess};
pub use table::Table;
pub use trunk::Trunk;
