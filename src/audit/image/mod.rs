//! The image's conditions: it is read as a file, without mounting it.

pub mod find;
