//! GRUB on BIOS without a loop device: what `grub-install` would write, patched in by hand.
//!
//! Layout facts: GRUB 2's grub-core/boot/i386/pc/boot.S and diskboot.S, include/grub/offsets.h.

use super::gpt::{BOOT_START, ESP_START, SECTOR};

/// Bytes of the MBR that are boot code; behind them lie the disk signature and the partition table.
pub(super) const BOOT_CODE: usize = 440;
/// boot.img: the sector of the core image, 64 bit.
const KERNEL_SECTOR: usize = 0x5c;
/// boot.img: a jump that `grub-install` replaces for disks, so that the BIOS's drive number is trusted.
const DRIVE_CHECK: usize = 0x66;
/// core.img: in its first sector the sector number of the rest, 64 bit.
const BLOCK_LIST: usize = 0x1f4;

/// Why a GRUB image cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GrubError {
    /// boot.img is not one sector with a boot signature.
    #[error("boot.img is not a boot sector")]
    Boot,
    /// core.img does not begin as expected.
    #[error("core.img does not begin with a block list for a disk")]
    Core,
    /// core.img does not fit.
    #[error("core.img does not fit into the BIOS-boot partition")]
    TooLarge,
}

/// The MBR's boot code from boot.img: load the core image from the BIOS-boot partition.
pub(super) fn boot_code(boot_img: &[u8]) -> Result<[u8; BOOT_CODE], GrubError> {
    if boot_img.len() != SECTOR as usize || boot_img[510..] != [0x55, 0xaa] {
        return Err(GrubError::Boot);
    }
    let mut code = [0; BOOT_CODE];
    code.copy_from_slice(&boot_img[..BOOT_CODE]);
    code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&BOOT_START.to_le_bytes());
    code[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    Ok(code)
}

/// The core image as it lies in the BIOS-boot partition: its first sector finds the rest behind itself.
pub(super) fn core(mut core_img: Vec<u8>) -> Result<Vec<u8>, GrubError> {
    if core_img.len() as u64 > (ESP_START - BOOT_START) * SECTOR {
        return Err(GrubError::TooLarge);
    }
    // grub-mkimage lays the rest out from sector 2, counted from a core that begins at sector 1.
    let place = core_img.get_mut(BLOCK_LIST..BLOCK_LIST + 8).ok_or(GrubError::Core)?;
    if place != 2u64.to_le_bytes() {
        return Err(GrubError::Core);
    }
    place.copy_from_slice(&(BOOT_START + 1).to_le_bytes());
    Ok(core_img)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_img() -> Vec<u8> {
        let mut img = vec![0xeb; 512];
        img[510..].copy_from_slice(&[0x55, 0xaa]);
        img
    }

    fn core_img() -> Vec<u8> {
        let mut img = vec![0; 4096];
        img[BLOCK_LIST] = 2;
        img
    }

    #[test]
    fn the_boot_code_finds_the_core_and_trusts_the_drive() {
        let code = boot_code(&boot_img()).unwrap();
        assert_eq!(code[0x5c..0x64], [0, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(code[0x66..0x68], [0x90, 0x90]);
        assert_eq!(code[0x68], 0xeb, "the rest is untouched");
    }

    #[test]
    fn the_core_finds_its_rest_in_the_next_sector() {
        assert_eq!(core(core_img()).unwrap()[0x1f4..0x1fc], [1, 8, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(boot_code(&[0; 512]), Err(GrubError::Boot));
        assert_eq!(core(vec![0; 4096]), Err(GrubError::Core));
        assert_eq!(core(vec![0; 100]), Err(GrubError::Core));
        assert_eq!(core(vec![0; (3 << 20) + 1]), Err(GrubError::TooLarge));
    }
}
