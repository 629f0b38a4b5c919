//! Disks from outside: whether one holds nothing, before the guest has written to any.

use crate::audit::outcome::Seen;
use camino::Utf8Path;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// The bytes that a guest has written to all its disks, by QMP's `query-blockstats`; none if it does not say.
pub fn written(stats: &Value) -> Option<u64> {
    let devices = stats.as_array()?;
    devices.iter().try_fold(0_u64, |all, device| all.checked_add(device["stats"]["wr_bytes"].as_u64()?))
}

/// Whether the disk in a file reads as zeros by `qemu-img map --output=json`, and its guest had not written anything by
/// then. What the map says to be data is read: a raw disk's first block is allocated when it is made.
pub fn judge_blank(disk: &Utf8Path, map: &str, written: Option<u64>) -> Seen {
    let Ok(Value::Array(parts)) = serde_json::from_str::<Value>(map) else {
        return Seen::unknown(format!("qemu-img map says {map:?}"));
    };
    match written {
        Some(0) => {}
        Some(bytes) => {
            return Seen::unknown(format!("the guest had written {bytes} bytes before the disk was looked at"));
        }
        None => return Seen::unknown("QEMU does not say whether the guest has written anything"),
    }
    let length = |part: &Value| part["length"].as_u64().unwrap_or(0);
    let total = parts.iter().map(length).fold(0, u64::saturating_add);
    let mut cause = None;
    for part in parts.iter().filter(|part| part["zero"] != true) {
        let (at, offset) = (part["start"].as_u64().unwrap_or(0), part["offset"].as_u64());
        match offset.map(|offset| is_zero(disk, offset, length(part))) {
            Some(Ok(true)) => {}
            Some(Err(error)) => return Seen::unknown(format!("cannot read {disk}: {error}")),
            Some(Ok(false)) | None => {
                cause = Some(format!("the disk is not blank: something stands in {} bytes at {at}", length(part)));
                break;
            }
        }
    }
    Seen::judged(format!("{} MiB of zeros", total >> 20), cause).in_text(map)
}

/// Whether a part of a file holds nothing but zeros.
fn is_zero(file: &Utf8Path, offset: u64, length: u64) -> std::io::Result<bool> {
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(offset))?;
    let (mut part, mut buffer) = (file.take(length), vec![0; 1 << 16]);
    loop {
        match part.read(&mut buffer)? {
            0 => return Ok(true),
            count if buffer[..count].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::outcome::Verdict;
    use host::cmd::Cmd;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_disk_is_blank_until_a_byte_of_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let map = |format: &str, path: &str| {
            Cmd::new("qemu-img").args(["map", "-U", "--output=json", "-f", format, path]).run().unwrap().stdout
        };
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for format in ["raw", "qcow2"] {
            Cmd::new("qemu-img").args(["create", "-q", "-f", format, &path(format), "64M"]).run().unwrap();
            let seen = judge_blank(path(format).as_str().into(), &map(format, &path(format)), Some(0));
            assert_eq!((&seen.verdict, seen.observed.as_str()), (&Verdict::Holds, "64 MiB of zeros"), "{seen:?}");
        }
        let raw = std::fs::OpenOptions::new().write(true).open(path("raw")).unwrap();
        raw.write_all_at(b"x", 5 << 20).unwrap();
        let Verdict::Fails(cause) =
            judge_blank(path("raw").as_str().into(), &map("raw", &path("raw")), Some(0)).verdict
        else {
            panic!()
        };
        assert!(cause.contains("bytes at 5242880"), "{cause}");
        assert!(
            matches!(judge_blank("d".into(), "[]", Some(512)).verdict, Verdict::Unknown(why) if why.contains("512 bytes"))
        );
        assert!(matches!(judge_blank("d".into(), "[]", None).verdict, Verdict::Unknown(_)));
    }

    #[test]
    fn what_was_written_is_the_sum_over_all_devices() {
        let stats = serde_json::json!([{"device": "", "stats": {"wr_bytes": 0}}, {"stats": {"wr_bytes": 7}}]);
        assert_eq!(written(&stats), Some(7));
        assert_eq!(written(&serde_json::json!([{"stats": {}}])), None);
        assert_eq!(written(&serde_json::json!({})), None);
    }
}
