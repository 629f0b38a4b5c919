//! The serial console: its bytes as lines ([`engine`]), what the lines mean ([`rules`]), what a host's profile
//! makes of that ([`allow`]), all of it over a whole log ([`check`]), which boot the lines belong to ([`boots`]), when
//! they came ([`times`]), what is left of a flood ([`gap`]), and a root shell ([`session`]). All but the shell work on a live console and on any file.

pub mod allow;
pub mod boots;
pub mod check;
pub mod engine;
pub mod follow;
pub mod gap;
pub mod rules;
pub mod session;
pub mod tail;
pub mod terminal;
pub mod times;
