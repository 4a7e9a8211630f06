//! Doors in: model files and the built-in zoo.
