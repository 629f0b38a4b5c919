//! Whether a file can serve as a golden image: whole, self-contained, in a format named by us.

use super::error::ImageError;
use camino::{Utf8Path, Utf8PathBuf};
use host::cmd::{Cmd, CmdError};
use host::names::DiskFormat;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::time::Duration;

/// A disk image that has been looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Disk {
    /// The file, absolute.
    pub path: Utf8PathBuf,
    /// Its format.
    pub format: DiskFormat,
    /// The size of the disk that a guest sees, bytes.
    pub virtual_bytes: u64,
}

/// `qemu-img info --output=json`, the parts that matter.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    virtual_size: u64,
    cluster_size: Option<u64>,
    backing_filename: Option<String>,
    #[serde(default)]
    encrypted: bool,
    format_specific: Option<Specific>,
}

#[derive(Deserialize)]
struct Specific {
    data: SpecificData,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SpecificData {
    data_file: Option<String>,
    #[serde(default)]
    corrupt: bool,
}

/// `qemu-img check --output=json`, the parts that matter.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Check {
    image_end_offset: Option<u64>,
}

/// Look at a file closely. Nothing is written to it.
pub(super) fn inspect(path: &Utf8Path) -> Result<Disk, ImageError> {
    let unfit = |why: String| ImageError::Unfit { path: path.to_owned(), why };
    let path = path.canonicalize_utf8().map_err(|e| unfit(e.to_string()))?;
    if !path.is_file() {
        return Err(unfit("it is not a file".into()));
    }
    let format = format_of(&path).map_err(|e| unfit(e.to_string()))?.ok_or_else(|| {
        unfit("it is neither a qcow2 image nor a raw disk with a boot signature (0x55AA at byte 510)".into())
    })?;
    let info = info(&path, format)?;
    if let Some(why) = refuse(&info) {
        return Err(unfit(why));
    }
    if format == DiskFormat::Qcow2 {
        check(&path, info.cluster_size.unwrap_or(64 << 10))?;
    }
    Ok(Disk { path, format, virtual_bytes: info.virtual_size })
}

/// What the first sector says: qcow2's magic, or the signature of a boot sector.
fn format_of(path: &Utf8Path) -> std::io::Result<Option<DiskFormat>> {
    let mut sector = Vec::new();
    std::fs::File::open(path)?.take(512).read_to_end(&mut sector)?;
    Ok(if sector.starts_with(b"QFI\xfb") {
        Some(DiskFormat::Qcow2)
    } else if sector.get(510..) == Some(&[0x55, 0xaa]) {
        Some(DiskFormat::Raw)
    } else {
        None
    })
}

/// Why an image cannot stand alone or must not be trusted.
fn refuse(info: &Info) -> Option<String> {
    let data = info.format_specific.as_ref().map(|specific| &specific.data);
    if let Some(backing) = &info.backing_filename {
        return Some(format!("it is an overlay on {backing}; a golden image stands alone"));
    }
    if let Some(file) = data.and_then(|data| data.data_file.as_ref()) {
        return Some(format!("its data lie in another file, {file}"));
    }
    if data.is_some_and(|data| data.corrupt) {
        return Some("it is marked as corrupt".into());
    }
    info.encrypted.then(|| "it is encrypted".into())
}

/// Check the qcow2 structure, and that no part of it lies behind the end of the file.
fn check(path: &Utf8Path, cluster: u64) -> Result<(), ImageError> {
    let unfit = |why| ImageError::Unfit { path: path.to_owned(), why };
    let bytes = std::fs::metadata(path).map_err(|e| unfit(e.to_string()))?.len();
    let cmd = Cmd::new("qemu-img").args(["check", "--output=json", "-f", "qcow2"]).arg(path);
    let (status, output) = cmd.limit(Duration::from_secs(120)).status()?;
    // 3 means that some clusters belong to nobody: space lost, no data.
    let leaks = status.code() == Some(3);
    if !(status.success() || leaks) {
        let first = output.stderr.lines().next().unwrap_or("qemu-img finds errors in it");
        return Err(unfit(format!("it is corrupt or truncated: {first}")));
    }
    let check: Check = understand(&output.stdout).map_err(unfit)?;
    let end = check.image_end_offset.unwrap_or(0);
    // The last cluster's unused end may be missing from the file; a whole one, or one that tears a hole, not.
    if end > bytes && (leaks || end - bytes >= cluster) {
        return Err(unfit(format!("it is truncated: {bytes} bytes of {end}")));
    }
    Ok(())
}

/// `qemu-img info`; that it says no is the image's fault, not the host's.
fn info(path: &Utf8Path, format: DiskFormat) -> Result<Info, ImageError> {
    let unfit = |why| ImageError::Unfit { path: path.to_owned(), why };
    // The format is named, never probed by qemu-img: a raw disk's content must not choose it.
    let cmd = Cmd::new("qemu-img").args(["info", "--output=json", "-f", format.name()]).arg(path);
    match cmd.run() {
        Err(CmdError::Failed { said, .. }) => Err(unfit(said)),
        other => understand(&other?.stdout).map_err(unfit),
    }
}

fn understand<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|e| format!("qemu-img's answer is not understood: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> Utf8PathBuf {
            Utf8PathBuf::from_path_buf(self.0.path().join(name)).unwrap()
        }

        /// A raw disk of 1 MiB with something in it.
        fn raw(&self) -> Utf8PathBuf {
            let path = self.path("disk.raw");
            let mut bytes: Vec<u8> = (0..1u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
            bytes[..4].copy_from_slice(&[0xeb, 0x63, 0x90, 0]);
            std::fs::write(&path, bytes).unwrap();
            path
        }

        /// The same, packed as qcow2 with these options.
        fn qcow2(&self, options: &[&str]) -> Utf8PathBuf {
            let (raw, path) = (self.raw(), self.path("disk.qcow2"));
            let cmd = Cmd::new("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).args(options);
            cmd.arg(raw).arg(&path).run().unwrap();
            path
        }
    }

    fn why(path: &Utf8Path) -> String {
        match inspect(path).unwrap_err() {
            ImageError::Unfit { why, .. } => why,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn whole_images_of_both_formats_are_taken() {
        let folder = Folder::new();
        let raw = inspect(&folder.raw()).unwrap();
        assert_eq!((raw.format, raw.virtual_bytes), (DiskFormat::Raw, 1 << 20));
        for options in [&[][..], &["-c"], &["-c", "-o", "compression_type=zstd"]] {
            let disk = inspect(&folder.qcow2(options)).unwrap();
            assert_eq!((disk.format, disk.virtual_bytes), (DiskFormat::Qcow2, 1 << 20));
        }
    }

    #[test]
    fn a_truncated_image_is_refused_wherever_it_was_cut() {
        let folder = Folder::new();
        for options in [&[][..], &["-c"]] {
            let path = folder.qcow2(options);
            let whole = std::fs::metadata(&path).unwrap().len();
            for left in [whole - (64 << 10), whole / 2, 100] {
                OpenOptions::new().write(true).open(&path).unwrap().set_len(left).unwrap();
                assert!(!why(&path).is_empty());
                std::fs::remove_file(&path).unwrap();
                folder.qcow2(options);
            }
        }
    }

    #[test]
    fn an_overlay_is_refused_with_the_name_of_what_it_stands_on() {
        let folder = Folder::new();
        let (base, over) = (folder.qcow2(&[]), folder.path("over.qcow2"));
        let create = Cmd::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]);
        create.arg(&base).arg(&over).run().unwrap();
        assert!(why(&over).contains("overlay on") && why(&over).contains("disk.qcow2"));
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        let folder = Folder::new();
        let path = folder.path("notes.qcow2");
        assert!(why(&path).contains("No such file"));
        std::fs::write(&path, "hello").unwrap();
        assert!(why(&path).starts_with("it is neither"));
        assert_eq!(why(&folder.path("")), "it is not a file");
    }

    #[test]
    fn a_raw_disk_cannot_pass_itself_off_as_another_format() {
        let folder = Folder::new();
        let path = folder.raw();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..4].copy_from_slice(b"KDMV");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(inspect(&path).unwrap().format, DiskFormat::Raw);
    }
}
