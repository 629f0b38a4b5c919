//! What a file is, by its first bytes and a few others, before anything in it is read: so that what is no boot image is named
//! by what it is, and not by the first thing that is missing from it.
//!
//! Numbers: file(1)'s magic, and the formats' own documents.

use super::bytes::{Bytes, u16_le, u32_le};
use super::error::Fault;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// ISO 9660, hybrid or not.
    Iso,
    /// A disk, byte by byte: with a partition table, or one file system.
    Raw,
    /// QEMU's own disk format.
    Qcow2,
    /// A tar archive: an OVA, if a description is in it.
    Tar,
    /// An EFI program: a unified kernel image, if a kernel is in it.
    Efi,
    /// A bootable thing that nobody here can read: what it is, and what to do.
    Unread(&'static str, &'static str),
    /// Nothing that boots as it is: what it is, and what to do.
    Other(&'static str, &'static str),
}

const CONVERT: &str = "convert a copy of it: `qemu-img convert -O qcow2 IN OUT`";
const DECOMPRESS: &str = "decompress it first";
const PART: &str = "name the image that it belongs to";

/// What a file begins with, unless another place is named.
const MAGIC: [(usize, &[u8], Format); 30] = [
    (0, b"QFI\xfb", Format::Qcow2),
    (0, b"COWD", Format::Unread("a VMware disk (an old VMDK)", CONVERT)),
    (
        0,
        b"# Disk DescriptorFile",
        Format::Unread("the description of a VMware disk, whose data lies in other files", CONVERT),
    ),
    (0, b"vhdxfile", Format::Unread("a Hyper-V disk (VHDX)", CONVERT)),
    (0, b"conectix", Format::Unread("a Hyper-V or Virtual PC disk (VHD)", CONVERT)),
    (64, b"\x7f\x10\xda\xbe", Format::Unread("a VirtualBox disk (VDI)", CONVERT)),
    (0, b"\x1f\x8b", Format::Other("a gzip file", DECOMPRESS)),
    (0, b"\xfd7zXZ\0", Format::Other("an xz file", DECOMPRESS)),
    (0, b"\x28\xb5\x2f\xfd", Format::Other("a zstd file", DECOMPRESS)),
    (0, b"BZh", Format::Other("a bzip2 file", DECOMPRESS)),
    (0, b"\x04\x22\x4d\x18", Format::Other("an lz4 file", DECOMPRESS)),
    (0, b"PK\x03\x04", Format::Other("a zip archive", "unpack it first")),
    (0, b"7z\xbc\xaf\x27\x1c", Format::Other("a 7z archive", "unpack it first")),
    (0, b"MSWIM\0\0\0", Format::Other("a Windows image (WIM)", "name the ISO that it belongs to")),
    (0, b"070701", Format::Other("an initial RAM disk (cpio)", PXE)),
    (0, b"hsqs", Format::Other("a squashfs file system", PART)),
    (0, b"\x7fELF", Format::Other("an ELF program", PART)),
    (0x202, b"HdrS", Format::Other("a Linux kernel", PXE)),
    (0x38, b"ARM\x64", Format::Other("a Linux kernel for arm64", PXE)),
    (257, b"ustar", Format::Tar),
    (0, b"<!", Format::Other("an HTML page", "download the image itself: this is what the server said instead")),
    (0, b"<html", Format::Other("an HTML page", "download the image itself: this is what the server said instead")),
    (0x8001, b"BEA01", Format::Unread("a UDF volume without ISO 9660 in it", "make it with ISO 9660 as well")),
    (1080, b"\x53\xef", Format::Raw),
    (0, b"XFSB", Format::Raw),
    (0x10040, b"_BHRfS_M", Format::Raw),
    (4086, b"SWAPSPACE2", Format::Other("swap space", PART)),
    (0, b"LUKS\xba\xbe", Format::Unread("an encrypted disk (LUKS)", "give a copy that is not encrypted")),
    (
        512,
        b"LABELONE",
        Format::Unread("an LVM physical volume", "give the disk with its partition table and an ext4 root"),
    ),
    (510, b"\x55\xaa", Format::Raw),
];

const PXE: &str = "name kernel, initrd and arguments in the profile's `pxe`";

/// What the image is.
pub(super) fn of(image: &Bytes) -> Result<Format, Fault> {
    if image.len() == 0 {
        return Ok(Format::Other("an empty file", "build or copy the image again"));
    }
    // ISO 9660 first: its first 32 KiB are the system's own, and a hybrid image has a partition table there.
    if starts(image, 0x8001, b"CD001")? {
        return Ok(Format::Iso);
    }
    if starts(image, 0, b"KDMV")? {
        return vmdk(image);
    }
    for (at, magic, format) in MAGIC {
        if starts(image, at as u64, magic)? {
            return Ok(format);
        }
    }
    if starts(image, 0, b"MZ")? {
        return Ok(Format::Efi);
    }
    if image.len() >= 512 && starts(image, image.len() - 512, b"conectix")? {
        return Ok(Format::Unread("a Hyper-V or Virtual PC disk (VHD)", CONVERT));
    }
    if image.len() >= 512 && starts(image, image.len() - 512, b"koly")? {
        return Ok(Format::Unread("an Apple disk image (DMG)", CONVERT));
    }
    let head = image.take(0, image.len().min(64 << 10) as usize)?;
    if head.iter().all(|byte| *byte == 0) {
        return Ok(Format::Other("zeros from its beginning on", "build or copy the image again"));
    }
    if std::str::from_utf8(&head[..head.len().min(512)]).is_ok() {
        return Ok(Format::Other("a text", "name the image itself"));
    }
    Ok(Format::Other(
        "no ISO 9660, no disk with a partition table, no qcow2, no OVA and no unified kernel image",
        "name one of these",
    ))
}

/// A VMware disk says itself whether it is one for transport (`streamOptimized`: compressed, and marked so).
fn vmdk(image: &Bytes) -> Result<Format, Fault> {
    let head = image.take(0, image.len().min(80) as usize)?;
    let (flags, packed) = (u32_le(&head, 8), u16_le(&head, 77));
    Ok(match flags & 0x1_0000 != 0 && packed == 1 {
        true => Format::Unread("a VMware disk (VMDK, streamOptimized)", CONVERT),
        false => Format::Unread("a VMware disk (VMDK)", CONVERT),
    })
}

fn starts(image: &Bytes, at: u64, magic: &[u8]) -> Result<bool, Fault> {
    match image.take(at, magic.len()) {
        Ok(bytes) => Ok(bytes == magic),
        Err(Fault::Short { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(at: usize, magic: &[u8]) -> Format {
        let mut bytes = vec![0; 64 << 10];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        of(&Bytes::of_memory(bytes)).unwrap()
    }

    #[test]
    fn what_is_no_boot_image_is_named_by_what_it_is() {
        let name = |format| match format {
            Format::Unread(what, _) | Format::Other(what, _) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(name(of(&Bytes::of_memory(Vec::new())).unwrap()), "an empty file");
        assert_eq!(name(said(0, &[0x1f, 0x8b, 8])), "a gzip file");
        assert_eq!(name(said(0, b"KDMV\x01\0\0\0\x03\0\0\0")), "a VMware disk (VMDK)");
        let mut stream = b"KDMV\x03\0\0\0\x01\0\x03\0".to_vec();
        stream.resize(77, 0);
        stream.extend([1, 0]);
        assert_eq!(name(said(0, &stream)), "a VMware disk (VMDK, streamOptimized)");
        assert_eq!(name(said((64 << 10) - 512, b"conectix")), "a Hyper-V or Virtual PC disk (VHD)");
        assert_eq!(name(said(0, b"")), "zeros from its beginning on");
        assert_eq!(name(of(&Bytes::of_memory(b"hello\n".to_vec())).unwrap()), "a text");
    }

    #[test]
    fn an_iso_is_one_whatever_lies_before_it() {
        let mut bytes = vec![0; 64 << 10];
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(of(&Bytes::of_memory(bytes.clone())).unwrap(), Format::Raw);
        bytes[0x8001..0x8006].copy_from_slice(b"CD001");
        assert_eq!(of(&Bytes::of_memory(bytes)).unwrap(), Format::Iso);
    }
}
