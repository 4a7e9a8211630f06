//! Doors in: model files and the built-in zoo.

pub mod zoo;
