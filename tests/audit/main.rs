//! Audits, as far as they go without a guest: what they find on this machine, and what the program says.

#![allow(clippy::unwrap_used)] // a test's helpers fail by panicking

#[path = "../project/executable.rs"]
mod executable;
mod host;
mod image;
mod image_paths;
mod lint;
mod never_green;
mod program;
#[path = "../project/mod.rs"]
mod project;
#[path = "../site/mod.rs"]
mod site;
mod stops;
