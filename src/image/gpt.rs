//! The partition table of a built image: GPT with a BIOS-boot partition and one root partition, written by sfdisk(8).

use camino::Utf8Path;

/// Bytes of a sector.
pub(super) const SECTOR: u64 = 512;
/// First sector of the BIOS-boot partition, where GRUB's core image lies.
pub(super) const BOOT_START: u64 = 2048;
/// First sector of the root partition.
pub(super) const ROOT_START: u64 = 4096;
/// Sectors that are kept free at the end of the disk, for the second table and whole MiB.
const TAIL: u64 = 2048;

/// Sectors of the root partition on a disk of that many MiB.
pub(super) fn root_sectors(disk_mib: u64) -> u64 {
    disk_mib * 2048 - TAIL - ROOT_START
}

/// What sfdisk reads for a disk of that many MiB. The GUIDs are constant: every overlay is a disk of its own VM. The types
/// are GRUB's ("Hah!IdontNeedEFI") and root on x86-64 (Discoverable Partitions Specification).
pub(super) fn script(disk_mib: u64) -> String {
    let (boot, root) = (ROOT_START - BOOT_START, root_sectors(disk_mib));
    format!(
        "label: gpt\n\
         label-id: 616D6F62-712D-4D65-B520-696D61676500\n\
         first-lba: 34\n\
         start={BOOT_START}, size={boot}, type=21686148-6449-6E6F-744E-656564454649, \
         uuid=616D6F62-712D-4D65-B520-696D61676501, name=bios\n\
         start={ROOT_START}, size={root}, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, \
         uuid=616D6F62-712D-4D65-B520-696D61676502, name=root\n"
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
        std::fs::write(&text, script(64)).unwrap();
        // Where the file system would be.
        std::fs::write(&disk, [0, 0x5a].map(|byte| vec![byte; 32 << 20]).concat()).unwrap();
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
        assert_eq!(parts[0]["type"], "21686148-6449-6E6F-744E-656564454649");
        assert_eq!(parts[1]["type"], "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709");
        assert_eq!(parts[1]["start"], 4096);
        assert_eq!(parts[1]["size"], 61 * 2048);
        let bytes = std::fs::read(&disk).unwrap();
        let ours = (BOOT_START * SECTOR) as usize..(64 << 20) - (TAIL * SECTOR) as usize;
        assert!(bytes[ours.clone()].iter().zip(ours).all(|(byte, at)| *byte == if at < 32 << 20 { 0 } else { 0x5a }));
    }
}
