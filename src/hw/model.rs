//! A model of whatever kind, with what is said about its file.

use super::adapter::Adapter;
use super::link::Link;
use super::memory::Memory;
use super::schema::Validation;
use super::sheet::{Row, Sheet, rows};
use super::system::System;
use super::table::Table;
use super::trunk::Trunk;

/// A hardware model of any kind.
#[derive(Clone, Debug)]
pub struct Model {
    pub sheet: Sheet,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub enum Body {
    Trunk(Box<Trunk>),
    Adapter(Box<Adapter>),
    Link(Box<Link>),
    Memory(Box<Memory>),
    Table(Box<Table>),
    System(Box<System>),
}

impl Body {
    /// The points that the file says it should meet.
    pub fn validations(&self) -> &[Validation] {
        match self {
            Body::Trunk(trunk) => &trunk.validation,
            Body::Adapter(adapter) => &adapter.validation,
            Body::Link(link) => &link.validation,
            Body::Memory(_) | Body::Table(_) | Body::System(_) => &[],
        }
    }
}

impl Model {
    /// Every figure that the model gives; of a system also those of its parts.
    pub fn rows(&self) -> Vec<Row> {
        match &self.body {
            Body::Trunk(trunk) => rows(trunk.as_ref()),
            Body::Adapter(adapter) => rows(adapter.as_ref()),
            Body::Link(link) => rows(link.as_ref()),
            Body::Memory(memory) => rows(memory.as_ref()),
            Body::Table(table) => rows(table.as_ref()),
            Body::System(system) => system.rows(),
        }
    }
}
