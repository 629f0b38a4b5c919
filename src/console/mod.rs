//! The serial console: its bytes as lines ([`engine`]), what the lines mean ([`rules`]), which boot
//! they belong to ([`boots`]), when they came ([`times`]), and a root shell on it ([`session`]). All but the shell work on a live
//! console and on any file.

pub mod boots;
pub mod engine;
pub mod rules;
pub mod session;
pub mod tail;
pub mod terminal;
pub mod times;
