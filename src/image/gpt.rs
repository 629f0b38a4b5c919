//! The partition table of a built image, written by sfdisk(8): that of Debian's cloud images, which boot by BIOS and by UEFI.
//! Partition 1 is the root, 14 GRUB's BIOS-boot partition, 15 the EFI system partition; the root lies last, so that it can grow.

use camino::Utf8Path;

/// The EFI system partition's GUID.
const ESP_UUID: &str = "616D6F62-712D-4D65-B520-696D61676503";
/// Bytes of a sector.
pub(super) const SECTOR: u64 = 512;
/// First sector of the BIOS-boot partition, where GRUB's core image lies.
pub(super) const BOOT_START: u64 = 2048;
/// First sector behind it, and of the EFI system partition.
pub(super) const ESP_START: u64 = 8192;
/// First sector of the root partition.
pub(super) const ROOT_START: u64 = 262_144;
/// Sectors that are kept free at the end of the disk, for the second table and whole MiB.
const TAIL: u64 = 2048;

/// Sectors of the root partition on a disk of that many MiB.
pub(super) fn root_sectors(disk_mib: u64) -> u64 {
    disk_mib * 2048 - TAIL - ROOT_START
}

/// Sectors of the EFI system partition.
pub(super) fn esp_sectors() -> u64 {
    ROOT_START - ESP_START
}

/// What sfdisk reads for a disk of that many MiB. The GUIDs are constant: every overlay is a disk of its own VM. The types
/// are GRUB's ("Hah!IdontNeedEFI"), the EFI system partition's, and root on x86-64 (Discoverable Partitions Specification).
pub(super) fn script(disk_mib: u64) -> String {
    let (boot, esp, root) = (ESP_START - BOOT_START, esp_sectors(), root_sectors(disk_mib));
    format!(
        "label: gpt\n\
         label-id: 616D6F62-712D-4D65-B520-696D61676500\n\
         first-lba: 34\n\
         1: start={ROOT_START}, size={root}, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, \
         uuid=616D6F62-712D-4D65-B520-696D61676502\n\
         14: start={BOOT_START}, size={boot}, type=21686148-6449-6E6F-744E-656564454649, \
         uuid=616D6F62-712D-4D65-B520-696D61676501\n\
         15: start={ESP_START}, size={esp}, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid={ESP_UUID}\n"
    )
}

/// The command that writes the table of a script into a disk, whose file system is there already and stays as it is.
pub(super) fn write(script: &Utf8Path, disk: &Utf8Path) -> Vec<String> {
    let line = "exec sfdisk --quiet --wipe never --wipe-partitions never --no-reread --no-tell-kernel \"$1\" <\"$2\"";
    ["sh", "-c", line, "sh", disk.as_str(), script.as_str()].map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn sfdisk_writes_the_table_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| camino::Utf8PathBuf::from_path_buf(dir.path().join(name)).unwrap();
        let (text, disk) = (path("table"), path("disk"));
        std::fs::write(&text, script(192)).unwrap();
        // Where the file system would be.
        std::fs::write(&disk, [0, 0x5a].map(|byte| vec![byte; 96 << 20]).concat()).unwrap();
        let run = |argv: &[&str]| {
            let out = Command::new(argv[0]).args(&argv[1..]).env("PATH", crate::image::tools::path()).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap()
        };
        let command = write(&text, &disk);
        run(&command.iter().map(String::as_str).collect::<Vec<_>>());
        run(&["sfdisk", "--verify", disk.as_str()]);
        let json: serde_json::Value = serde_json::from_str(&run(&["sfdisk", "--json", disk.as_str()])).unwrap();
        let parts = &json["partitiontable"]["partitions"];
        let seen = |n: usize| {
            let part = &parts[n];
            let number = part["node"].as_str().unwrap().strip_prefix(disk.as_str()).unwrap().to_owned();
            (number, part["start"].as_u64().unwrap(), part["size"].as_u64().unwrap(), part["uuid"].as_str().unwrap())
        };
        assert_eq!(seen(0), ("1".into(), 128 * 2048, 63 * 2048, "616D6F62-712D-4D65-B520-696D61676502"));
        assert_eq!(seen(1), ("14".into(), 2048, 3 * 2048, "616D6F62-712D-4D65-B520-696D61676501"));
        assert_eq!(seen(2), ("15".into(), 4 * 2048, 124 * 2048, ESP_UUID));
        let bytes = std::fs::read(&disk).unwrap();
        let ours = (BOOT_START * SECTOR) as usize..(192 << 20) - (TAIL * SECTOR) as usize;
        assert!(bytes[ours.clone()].iter().zip(ours).all(|(byte, at)| *byte == if at < 96 << 20 { 0 } else { 0x5a }));
    }
}
