//! The `boma-qemu` program.

fn main() {}
