//! A disk image: what it is, its formats, its partitions and what lies in them; and the profile that asks for them.

use boma_qemu::audit::AuditProfile;
use boot_media::medium::{Medium, initrd, kernel};
use camino::Utf8Path;

/// The size of an image that patches are put into, bytes: a small ext4.
const SMALL: usize = 64 << 10;

/// A disk image. The first byte says how the rest is one: `r` as it is, `p` by patches of zeros (each a place, big-endian, a
/// length, and so many bytes), `d` the same behind a partition table, `k` is the head of a kernel.
pub fn disk(bytes: &[u8]) {
    let Some((part, rest)) = bytes.split_first() else { return };
    let image = match part {
        b'r' => rest.to_vec(),
        b'p' => patched(rest),
        b'd' => partitioned(&patched(rest)),
        _ => {
            let _ = (kernel(rest), initrd(rest));
            return;
        }
    };
    let Ok(medium) = Medium::of_memory("fuzz", image) else { return };
    let files = medium.ext4_files().unwrap_or_default();
    for path in files.iter().take(16) {
        let there = medium.has(path).unwrap_or(false);
        // A name that is no UTF-8 is shown as another; a special file has no bytes.
        let read = medium.read(path, 1 << 20);
        assert!(there || read.is_err(), "{path} is not there, and can be read");
        assert!(read.map_or(true, |bytes| bytes.len() <= 1 << 20), "{path} is larger than was asked for");
    }
    for (path, _) in medium.efi_files().take(16) {
        drop(medium.read(&path, 1 << 20));
    }
    drop((medium.loaders(), medium.wrong_members(), medium.foreign()));
    for volume in medium.volumes() {
        assert!(!volume.is("UUID", "") && !volume.name.is_empty(), "{volume:?}");
    }
}

/// An audit's profile, and what is made of one that is accepted.
pub fn audit_profile(bytes: &[u8]) {
    let path = Utf8Path::new("profiles/fuzz.json");
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match AuditProfile::parse(path, text) {
        Ok(profile) => {
            let again = serde_json::to_string(&profile).unwrap_or_default();
            let read = AuditProfile::parse(path, &again).map(|read| serde_json::to_string(&read).unwrap_or_default());
            assert_eq!(read.ok(), Some(again), "an accepted profile is not accepted again");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn patched(mut patches: &[u8]) -> Vec<u8> {
    let mut image = vec![0; SMALL];
    while let [high, low, length, rest @ ..] = patches {
        let bytes = &rest[..rest.len().min(usize::from(*length))];
        let at = usize::from(u16::from_be_bytes([*high, *low]));
        if let Some(place) = image.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        patches = &rest[bytes.len()..];
    }
    image
}

/// A disk of one partition.
fn partitioned(volume: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; 512];
    disk[446..451].copy_from_slice(&[0x80, 0, 0, 0, 0x83]);
    disk[454..458].copy_from_slice(&1_u32.to_le_bytes());
    disk[458..462].copy_from_slice(&((volume.len() / 512) as u32).to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk.extend(volume);
    disk
}
