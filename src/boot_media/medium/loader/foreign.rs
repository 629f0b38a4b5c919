//! Boot loaders that are known by what their files say of themselves, and whose menus are not read here. What they boot is not
//! known, and is never taken for nothing.
//!
//! The words are those of the loaders' sources: FreeBSD's stand/i386/cdboot and stand/efi/loader, OpenBSD's and NetBSD's
//! sys/arch/amd64/stand, Microsoft's etfsboot.com and bootmgfw.efi, GRUB 0.97, LILO 24, Limine, rEFInd, iPXE, ELILO, EDK II.

use memchr::memmem;

/// What is said, and by whom.
type Word = (&'static str, &'static str);

/// In a BIOS boot image.
const BIOS: [Word; 14] = [
    ("CD Loader 1.", "FreeBSD's loader"),
    ("/BOOT/LOADER", "FreeBSD's loader"),
    ("/boot/loader", "FreeBSD's loader"),
    ("CDBOOT  .", "OpenBSD's boot loader"),
    ("/amd64/CDBOOT", "OpenBSD's boot loader"),
    ("NetBSD/x86", "NetBSD's boot loader"),
    ("BOOTMGR", "Windows' boot manager"),
    ("NTLDR", "Windows' boot manager"),
    ("GRUB Legacy", "GRUB Legacy"),
    ("/boot/grub/menu.lst", "GRUB Legacy"),
    ("LILO", "LILO"),
    ("Limine", "Limine"),
    ("limine", "Limine"),
    ("iPXE", "iPXE"),
];

/// In an EFI program, in ASCII or in UTF-16.
const EFI: [Word; 12] = [
    ("FreeBSD/", "FreeBSD's loader"),
    ("OpenBSD/", "OpenBSD's boot loader"),
    ("NetBSD/", "NetBSD's boot loader"),
    ("bootmgfw", "Windows' boot manager"),
    ("Windows Boot Manager", "Windows' boot manager"),
    ("rEFInd", "rEFInd"),
    ("Limine", "Limine"),
    ("limine.conf", "Limine"),
    ("iPXE", "iPXE"),
    ("ELILO", "ELILO"),
    ("UEFI Interactive Shell", "the UEFI shell"),
    ("Memtest86", "Memtest86+"),
];

/// Whether a word is in it.
pub(super) fn contains(bytes: &[u8], word: &str) -> bool {
    memmem::find(bytes, word.as_bytes()).is_some()
}

fn contains_wide(bytes: &[u8], word: &str) -> bool {
    let wide: Vec<u8> = word.encode_utf16().flat_map(u16::to_le_bytes).collect();
    memmem::find(bytes, &wide).is_some()
}

/// The loader that a BIOS boot image is. GRUB Legacy's is known by its name alone.
pub(super) fn of_bios(name: &str, head: &[u8]) -> Option<&'static str> {
    if name.to_ascii_lowercase().contains("stage2_eltorito") {
        return Some("GRUB Legacy");
    }
    BIOS.iter().find(|(word, _)| contains(head, word)).map(|(_, loader)| *loader)
}

/// The loader that an EFI program is.
pub(super) fn of_efi(head: &[u8]) -> Option<&'static str> {
    EFI.iter().find(|(word, _)| contains(head, word) || contains_wide(head, word)).map(|(_, loader)| *loader)
}
