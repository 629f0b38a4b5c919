//! What a guest is told before its first boot.

pub mod iso;
