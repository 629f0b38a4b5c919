//! Whether a file can serve as a golden image: whole, self-contained, in a format named by us.

use super::error::ImageError;
use crate::host::cmd::{Cmd, CmdError};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::time::Duration;

/// The format of a disk image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// QEMU's own.
    Qcow2,
    /// The disk's bytes.
    Raw,
}

impl Format {
    /// As `qemu-img` and QEMU call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// A disk image that has been looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Disk {
    /// The file, absolute.
    pub path: Utf8PathBuf,
    /// Its format.
    pub format: Format,
    /// The size of the disk that a guest sees, bytes.
    pub virtual_bytes: u64,
}

/// `qemu-img info --output=json`, the parts that matter.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    virtual_size: u64,
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
    // The format is named, never probed by qemu-img: a raw disk's content must not choose it.
    let info = Cmd::new("qemu-img").args(["info", "--output=json", "-f", format.name()]).arg(&path);
    let info: Info = parse(info, &path)?;
    refuse(&info).map_or(Ok(()), |why| Err(unfit(why)))?;
    if format == Format::Qcow2 {
        check(&path)?;
    }
    Ok(Disk { path, format, virtual_bytes: info.virtual_size })
}

/// What the first sector says: qcow2's magic, or the signature of a boot sector.
fn format_of(path: &Utf8Path) -> std::io::Result<Option<Format>> {
    let mut sector = Vec::new();
    std::fs::File::open(path)?.take(512).read_to_end(&mut sector)?;
    Ok(if sector.starts_with(b"QFI\xfb") {
        Some(Format::Qcow2)
    } else if sector.get(510..) == Some(&[0x55, 0xaa]) {
        Some(Format::Raw)
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
fn check(path: &Utf8Path) -> Result<(), ImageError> {
    let check = Cmd::new("qemu-img").args(["check", "--output=json", "-f", "qcow2"]).arg(path);
    let check: Check = parse(check.limit(Duration::from_secs(120)), path)?;
    let unfit = |why| ImageError::Unfit { path: path.to_owned(), why };
    let bytes = std::fs::metadata(path).map_err(|e| unfit(e.to_string()))?.len();
    match check.image_end_offset {
        // The last cluster may be cut where its data end (compressed images), never a whole one.
        Some(end) if end > bytes.next_multiple_of(2 << 20) => {
            Err(unfit(format!("it is truncated: {bytes} bytes of at least {end}")))
        }
        _ => Ok(()),
    }
}

/// Run qemu-img and read its JSON; that it says no is the image's fault, not the host's.
fn parse<T: serde::de::DeserializeOwned>(cmd: Cmd, path: &Utf8Path) -> Result<T, ImageError> {
    let unfit = |why| ImageError::Unfit { path: path.to_owned(), why };
    let output = match cmd.run() {
        Err(CmdError::Failed { said, output, .. }) => {
            let why = if output.stderr.trim().is_empty() { "qemu-img finds errors in it".into() } else { said };
            return Err(unfit(why));
        }
        other => other?,
    };
    serde_json::from_str(&output.stdout).map_err(|e| unfit(format!("qemu-img's answer is not understood: {e}")))
}
