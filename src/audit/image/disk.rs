//! The condition of a disk: its fstab.
//!
//! What lies where nobody here can look (LVM, LUKS, btrfs, …) is never taken for what is not there.

use super::told;
use crate::audit::outcome::Seen;
use boot_media::medium::{Medium, Volume};

/// The largest fstab, bytes.
const LARGEST: u64 = 1 << 20;

/// What has been found of a condition so far.
#[derive(Default)]
struct Found {
    /// What is wrong.
    wrong: Vec<String>,
    /// What could not be looked at.
    unknown: Vec<String>,
    /// What is worth knowing.
    told: Vec<String>,
    /// How many were as they must be.
    good: usize,
}

impl Found {
    /// Something that is wrong decides, whatever could not be looked at.
    fn seen(self, observed: String) -> Seen {
        let evidence = [self.wrong.clone(), self.unknown.clone(), self.told].concat().join("\n");
        let more = |all: &[String]| match all.len() {
            0 | 1 => String::new(),
            count => format!("; and {} more", count - 1),
        };
        let seen = match (self.wrong.first(), self.unknown.first()) {
            (Some(first), _) => Seen::fails(observed, format!("{first}{}", more(&self.wrong))),
            (None, Some(first)) => Seen::unknown(format!("{first}{}", more(&self.unknown))),
            (None, None) => Seen::holds(observed),
        };
        seen.in_text(evidence)
    }
}

/// Each file system that an fstab mounts is in the image, is of the kind that it says, and `/` is the one that it lies on.
pub(super) fn fstab(medium: &Medium) -> Seen {
    let mut found = Found::default();
    let mut read = Vec::new();
    for volume in medium.volumes() {
        let file = format!("{}:/etc/fstab", volume.name);
        match medium.has(&file) {
            Ok(false) => {}
            Ok(true) => match medium.read(&file, LARGEST) {
                Ok(text) => {
                    judge(medium, volume, &file, &String::from_utf8_lossy(&text), &mut found);
                    read.push(file);
                }
                Err(error) => found.unknown.push(told(&error)),
            },
            Err(error) => found.unknown.push(told(&error)),
        }
    }
    if read.is_empty() {
        return match (found.unknown.first().map(String::as_str), medium.unread().next()) {
            (Some(why), _) | (None, Some(why)) => Seen::unknown(why),
            (None, None) => {
                Seen::fails("no /etc/fstab", format!("no file system of the {} has an /etc/fstab", medium.form()))
            }
        };
    }
    if found.good == 0 && found.wrong.is_empty() && found.unknown.is_empty() {
        let told = found.told.first().cloned().unwrap_or_else(|| format!("{} mounts nothing", read.join(", ")));
        found.unknown.push(format!("no file system is named by what the image has: {told}"));
    }
    let observed = format!("{} of {} are in the image", count(found.good, "file system"), read.join(", "));
    found.seen(observed)
}

fn judge(medium: &Medium, own: &Volume, file: &str, text: &str, found: &mut Found) {
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        let mut fields = line.split_whitespace().map(unescaped);
        let (Some(source), Some(target)) = (fields.next(), fields.next()) else { continue };
        if source.starts_with('#') {
            continue;
        }
        let (kind, options) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let place = format!("{file}:{number}: {source} ({target})");
        let Some((tag, value)) = tag(&source) else {
            if source.starts_with("/dev/") {
                found.told.push(format!("{place}: named by its device, which the machine decides: not judged"));
            }
            continue;
        };
        let volume = medium.volumes().iter().find(|volume| volume.is(tag, &value));
        match volume {
            Some(volume) if target == "/" && volume.name != own.name => {
                found.wrong.push(format!("{place}: it is {}, and this fstab lies on {}", volume.name, own.name));
            }
            Some(volume) if !same_kind(&kind, volume) => {
                found.wrong.push(format!("{place}: {} is {}, and not {kind}", volume.name, volume.content));
            }
            Some(_) => found.good += 1,
            None => absent(medium, &place, &options, found),
        }
    }
}

/// A file system that is not among those of the image.
fn absent(medium: &Medium, place: &str, options: &str, found: &mut Found) {
    let optional = options.split(',').any(|option| matches!(option, "nofail" | "noauto"));
    if optional {
        found.told.push(format!("{place}: not in the image, and the boot does not wait for it"));
    } else if let Some(hidden) = medium.volumes().iter().find(|volume| volume.content.is_opaque()) {
        found.unknown.push(format!("{place}: not in the image, but {} is {}", hidden.name, hidden.content));
    } else {
        found.wrong.push(format!("{place}: no such file system in the image; it has {}", listed(medium)));
    }
}

/// `UUID=…` and its like, also as a path below /dev/disk.
fn tag(source: &str) -> Option<(&'static str, String)> {
    const TAGS: [(&str, &str, &str); 4] = [
        ("UUID", "UUID=", "/dev/disk/by-uuid/"),
        ("LABEL", "LABEL=", "/dev/disk/by-label/"),
        ("PARTUUID", "PARTUUID=", "/dev/disk/by-partuuid/"),
        ("PARTLABEL", "PARTLABEL=", "/dev/disk/by-partlabel/"),
    ];
    let of = |(tag, prefix, path): &(&'static str, &str, &str)| {
        let value = source.strip_prefix(prefix).or_else(|| source.strip_prefix(path))?;
        Some((*tag, value.trim_matches('"').to_owned()))
    };
    TAGS.iter().find_map(of)
}

/// Whether a volume is what the third field says; `auto` is anything.
fn same_kind(kind: &str, volume: &Volume) -> bool {
    let own = volume.content.name();
    match kind {
        "auto" | "" | "none" => true,
        "ext2" | "ext3" => own == "ext4",
        "msdos" => own == "vfat",
        kind => kind == own,
    }
}

/// Spaces and tabs stand in an fstab as octal numbers.
fn unescaped(field: &str) -> String {
    let mut text = field.to_owned();
    for (code, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(code, plain);
    }
    text
}

fn listed(medium: &Medium) -> String {
    let one = |volume: &Volume| {
        let uuid = volume.uuid.as_ref().map(|uuid| format!(", UUID={uuid}")).unwrap_or_default();
        let label = volume.label.as_ref().map(|label| format!(", LABEL={label}")).unwrap_or_default();
        format!("{} ({}{uuid}{label})", volume.name, volume.content)
    };
    medium.volumes().iter().map(one).collect::<Vec<_>>().join(", ")
}

fn count(number: usize, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_named_by_its_tag_or_by_a_path_that_says_the_same() {
        assert_eq!(tag("UUID=\"ab-c\""), Some(("UUID", "ab-c".into())));
        assert_eq!(tag("/dev/disk/by-partlabel/esp"), Some(("PARTLABEL", "esp".into())));
        assert_eq!((tag("/dev/vda1"), tag("tmpfs")), (None, None));
        assert_eq!(unescaped("/my\\040disk"), "/my disk");
    }
}
