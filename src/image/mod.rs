//! Golden images: fetched where they are published, built where that cannot be reached, verified from
//! then on, never written to.
//!
//! Fuzzed as `sums`.

mod build;
mod cache;
#[cfg(test)]
mod cache_tests;
mod catalogue;
mod error;
mod fetch;
#[cfg(test)]
mod fetch_tests;
mod file;
mod gpt;
mod grub;
mod http;
mod inspect;
mod job;
mod left;
mod range;
mod recipe;
mod record;
#[cfg(test)]
mod record_tests;
pub mod sums;
mod tools;
mod trust;
mod watch;

pub use cache::{Cache, Golden, Listed, SHARED};
pub use catalogue::{Catalogue, Entry, Recipe, Source, Wanted};
pub use error::{ImageError, Patience};
pub use http::status_of;
pub use left::clear;
pub use range::{ContentRange, content_range};
pub use record::{Origin, Record, Stamp};
pub use watch::{Silent, Terminal, Watch};

/// Whether this user has what building an image takes; the error names all that is missing.
pub fn can_build() -> Result<(), ImageError> {
    tools::check(rustix::process::geteuid().is_root())
}
