//! What playbook runs did and said: what the callback plugin wrote of them ([`events`]), the outcome checks ([`checks`]),
//! what they changed ([`deeds`]), passes in check mode ([`tried`]), and what a reader has to know of them ([`reports`]).
//!
//! Fuzzed as `ansible`.

pub mod checks;
pub mod deeds;
pub mod events;
pub mod reports;
pub mod tried;
