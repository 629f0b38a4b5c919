//! The serial console: its bytes as lines ([`engine`]), what the lines mean ([`rules`]), what a host's profile
//! makes of that ([`allow`]), all of it over a whole log ([`check`]), which boot the lines belong to ([`boots`]), when
//! they came ([`times`]), and what is left of a flood ([`gap`]). All of it works on a live console and on any file; who
//! talks to a guest over it is [`crate::serial`].
//!
//! Fuzzed as `console`.

pub mod allow;
pub mod boots;
pub mod check;
pub mod engine;
pub mod follow;
pub mod gap;
pub mod rules;
pub mod tail;
pub mod times;
