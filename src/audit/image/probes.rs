//! The image as a whole: its size, its structure, its checksum.

use crate::audit::outcome::Seen;
use crate::audit::probe::Firmware;
use boot_media::medium::{Damage, Medium, Platform};
use camino::Utf8Path;

/// The file's size lies between two.
pub(super) fn size(bytes: u64, at_least_mib: u64, at_most_mib: u64) -> Seen {
    let mib = bytes >> 20;
    let cause = match mib {
        mib if mib < at_least_mib => Some(format!("the image has {mib} MiB, and at least {at_least_mib} are expected")),
        mib if mib >= at_most_mib => Some(format!("the image has {mib} MiB, and less than {at_most_mib} are expected")),
        _ => None,
    };
    Seen::judged(format!("{mib} MiB"), cause)
}

/// Nothing of it is missing or damaged.
pub(super) fn whole(medium: &Medium) -> Seen {
    let damage = medium.damage();
    let all: Vec<_> = damage.iter().map(ToString::to_string).collect();
    // That the file is too short explains all the rest.
    let first = damage.iter().find(|one| matches!(one, Damage::Short { .. })).or(damage.first());
    let cause = first.map(ToString::to_string);
    Seen::judged(format!("{} of {} bytes", medium.size(), medium.volume_size()), cause).in_text(all.join("\n"))
}

/// Each firmware finds something to boot.
pub(super) fn el_torito(medium: &Medium, expect: &[Firmware]) -> Seen {
    let entries = medium.boot_entries();
    let has = |firmware: &&Firmware| {
        let platform = match firmware {
            Firmware::Bios => Platform::Bios,
            Firmware::Efi => Platform::Efi,
        };
        entries.iter().any(|entry| entry.platform == platform && entry.bootable)
    };
    let missing: Vec<_> = expect.iter().filter(|firmware| !has(firmware)).map(|firmware| named(*firmware)).collect();
    let listed: Vec<_> = entries.iter().map(ToString::to_string).collect();
    let there: Vec<_> = entries.iter().map(|entry| entry.platform.to_string()).collect();
    let there = if there.is_empty() { "no boot catalogue".into() } else { there.join(", ") };
    let cause = (!missing.is_empty()).then(|| format!("nothing to boot for {}: {there}", missing.join(" and ")));
    Seen::judged(there, cause).in_text(listed.join("\n"))
}

fn named(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Bios => "BIOS",
        Firmware::Efi => "EFI",
    }
}

/// The checksum is the one that is given, or the one in a file beside the image; without either it is only told.
pub(super) fn checksum(path: &Utf8Path, own: &str, given: Option<&str>) -> Seen {
    let published = match given {
        Some(digest) => Some(("the profile".to_owned(), digest.to_ascii_lowercase())),
        None => beside(path),
    };
    match published {
        None => Seen::holds(format!("{own}; none is published beside it")),
        Some((_, digest)) if digest == own => Seen::holds(own),
        Some((whose, digest)) => Seen::fails(own, format!("its SHA-256 is {own}, and by {whose} it is {digest}")),
    }
}

/// The digest in `IMAGE.sha256` or in `SHA256SUMS`, as sha256sum(1) writes them.
fn beside(path: &Utf8Path) -> Option<(String, String)> {
    let name = path.file_name()?;
    let own = path.with_file_name(format!("{name}.sha256"));
    let all = path.with_file_name("SHA256SUMS");
    let digest = |word: &str| (word.len() == 64).then(|| word.to_ascii_lowercase());
    let of_own = || std::fs::read_to_string(&own).ok()?.split_whitespace().next().and_then(digest);
    let of_all = || {
        let text = std::fs::read_to_string(&all).ok()?;
        let line = |line: &str| {
            let (sum, file) = line.split_once(char::is_whitespace)?;
            (file.trim_start().trim_start_matches('*') == name).then(|| digest(sum)).flatten()
        };
        text.lines().find_map(line)
    };
    let named = |path: &Utf8Path, digest| (path.file_name().unwrap_or_default().to_owned(), digest);
    of_own().map(|found| named(&own, found)).or_else(|| of_all().map(|found| named(&all, found)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::outcome::Verdict;

    #[test]
    fn a_size_lies_between_two() {
        assert_eq!(size(5 << 20, 5, 6), Seen::holds("5 MiB"));
        assert!(matches!(size(5 << 20, 6, 9).verdict, Verdict::Fails(cause) if cause.contains("at least 6")));
        assert!(matches!(size(9 << 20, 6, 9).verdict, Verdict::Fails(cause) if cause.contains("less than 9")));
    }

    #[test]
    fn a_checksum_is_that_of_the_profile_or_of_a_file_beside_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let image = Utf8Path::from_path(dir.path()).unwrap().join("a.iso");
        let (own, other) = ("a".repeat(64), "b".repeat(64));
        assert!(checksum(&image, &own, None).observed.contains("none is published"));
        assert_eq!(checksum(&image, &own, Some(&own.to_uppercase())).verdict, Verdict::Holds);
        std::fs::write(image.with_file_name("SHA256SUMS"), format!("{own}  b.iso\n{other} *a.iso\n")).unwrap();
        let Verdict::Fails(cause) = checksum(&image, &own, None).verdict else { panic!() };
        assert!(cause.contains("by SHA256SUMS it is bbbb"), "{cause}");
        std::fs::write(image.with_file_name("a.iso.sha256"), format!("{own}\n")).unwrap();
        assert_eq!(checksum(&image, &own, None).verdict, Verdict::Holds);
    }
}
