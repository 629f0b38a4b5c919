//! The serial console: its bytes as lines ([`engine`]), what the lines mean ([`rules`]), and which boot
//! they belong to ([`boots`]). Works on a live console and on any file.

pub mod boots;
pub mod engine;
pub mod rules;
pub mod tail;
