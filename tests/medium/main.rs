//! Boot media made by programs that others wrote (xorriso, genisoimage, grub-mkrescue, mksquashfs, mtools), and one that
//! nobody here made: read by us, and told as those programs tell them.

#![allow(clippy::unwrap_used)] // a test's helpers fail by panicking

mod boot_entries;
mod files;
mod loaders;
#[path = "../site/mod.rs"]
mod site;
mod squashfs;
