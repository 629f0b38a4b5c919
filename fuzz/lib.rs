//! What the targets call: it is read from the tests, so that the program has no entry points for them.

#[path = "../tests/hostile/mod.rs"]
mod hostile;

pub use hostile::*;
