//! Whether a file is a kernel or an initial RAM disk, by its first bytes: what a machine gets over the network is nothing but these.
//!
//! Numbers: Linux's Documentation/arch/x86/boot.rst and arch/arm64/booting.rst, and lib/decompress.c.

use super::bytes::u16_le;
use std::fmt;

/// How much of a file is needed to tell.
pub const KERNEL_HEAD: usize = 0x1_0000;

/// What a kernel is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// x86, with its version as it is written in it.
    X86(String),
    /// arm64.
    Arm64,
    /// Compressed as a whole, as arm64's are: for which machine is not known.
    Packed,
    /// An EFI program, such as a unified kernel image.
    Efi,
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::X86(version) => write!(f, "x86, {version}"),
            Self::Arm64 => f.write_str("arm64"),
            Self::Packed => f.write_str("compressed as a whole"),
            Self::Efi => f.write_str("an EFI program"),
        }
    }
}

/// What kernel begins so; `None` if it is none.
pub fn kernel(head: &[u8]) -> Option<Kernel> {
    let at = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    if at(0x202, b"HdrS") {
        let text = head.get(0x200 + usize::from(u16_le(head, 0x20e))..).unwrap_or_default();
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let version = String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned();
        return Some(Kernel::X86(if version.is_empty() { "of unknown version".into() } else { version }));
    }
    if at(0x38, b"ARM\x64") {
        return Some(Kernel::Arm64);
    }
    if at(0, b"MZ") {
        return Some(Kernel::Efi);
    }
    PACKED.iter().take(5).any(|(magic, _)| at(0, magic)).then_some(Kernel::Packed)
}

/// How an initial RAM disk can begin; what a kernel is compressed with comes first.
const PACKED: [(&[u8], &str); 9] = [
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x5d\0\0", "lzma"),
    (b"070701", "cpio, not compressed"),
    (b"070702", "cpio, not compressed"),
];

/// How an initial RAM disk that begins so is packed; `None` if it is none.
pub fn initrd(head: &[u8]) -> Option<&'static str> {
    PACKED.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, how)| *how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_and_ram_disks_are_told_by_their_heads() {
        let mut head = vec![0; 0x400];
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head[0x20e] = 0x80;
        head[0x280..0x286].copy_from_slice(b"6.12.1");
        assert_eq!(kernel(&head), Some(Kernel::X86("6.12.1".into())));
        head[0x20e..0x210].fill(0xff);
        assert_eq!(kernel(&head), Some(Kernel::X86("of unknown version".into())), "it leads out of the file");
        assert_eq!(kernel(b"<!DOCTYPE html>"), None);
        assert_eq!(kernel(b"MZ"), Some(Kernel::Efi));
        assert_eq!(
            (initrd(b"070701000"), initrd(b"\x1f\x8b\x08"), initrd(b"")),
            (Some("cpio, not compressed"), Some("gzip"), None)
        );
    }
}
