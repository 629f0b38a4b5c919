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
    let of = |firmware: &Firmware| {
        let platform = match firmware {
            Firmware::Bios => Platform::Bios,
            Firmware::Efi => Platform::Efi,
        };
        entries.iter().filter(move |entry| entry.platform == platform && entry.bootable)
    };
    let has = |firmware: &&Firmware| of(firmware).next().is_some();
    let missing: Vec<_> = expect.iter().filter(|firmware| !has(firmware)).map(|firmware| named(*firmware)).collect();
    let listed: Vec<_> = entries.iter().map(ToString::to_string).collect();
    let there: Vec<_> = entries.iter().map(|entry| entry.platform.to_string()).collect();
    let there = if there.is_empty() { "no boot catalogue".into() } else { there.join(", ") };
    // One of several is enough.
    let empty = |firmware: &&Firmware| of(firmware).all(|entry| medium.leads_nowhere(entry).is_some());
    let nowhere = expect.iter().filter(has).find(empty).and_then(|firmware| {
        let entry = of(firmware).next()?;
        Some(format!(
            "nothing to boot for {}: entry {}: {}",
            named(*firmware),
            entry.number,
            medium.leads_nowhere(entry)?
        ))
    });
    let cause = (!missing.is_empty()).then(|| format!("nothing to boot for {}: {there}", missing.join(" and ")));
    Seen::judged(there, cause.or(nowhere)).in_text(listed.join("\n"))
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
        Some(digest) => Ok(Some(("the profile".to_owned(), digest.to_ascii_lowercase()))),
        None => beside(path),
    };
    match published {
        Err(why) => Seen { observed: own.to_owned(), ..Seen::unknown(why) },
        Ok(None) => Seen::holds(format!("{own}; none is published beside it")),
        Ok(Some((_, digest))) if digest == own => Seen::holds(own),
        Ok(Some((whose, digest))) => Seen::fails(own, format!("its SHA-256 is {own}, and by {whose} it is {digest}")),
    }
}

/// The digest in `IMAGE.sha256` or in `SHA256SUMS`, as sha256sum(1) writes them, with `--tag` or without. A file of the image's own
/// that has none, or that cannot be read, publishes what is not known here.
fn beside(path: &Utf8Path) -> Result<Option<(String, String)>, String> {
    let Some(name) = path.file_name() else { return Ok(None) };
    let (own, all) = (path.with_file_name(format!("{name}.sha256")), path.with_file_name("SHA256SUMS"));
    if let Some(text) = text_of(&own)? {
        // Some have the digest and nothing else.
        let alone = text.split_whitespace().next().and_then(digest);
        let found = listed(&text, name).or(alone).ok_or_else(|| format!("{own} has no SHA-256 of {name}"))?;
        return Ok(Some((own.file_name().unwrap_or_default().to_owned(), found)));
    }
    let found = text_of(&all)?.and_then(|text| listed(&text, name));
    Ok(found.map(|found| ("SHA256SUMS".to_owned(), found)))
}

fn text_of(path: &Utf8Path) -> Result<Option<String>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

fn digest(word: &str) -> Option<String> {
    (word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| word.to_ascii_lowercase())
}

/// The digest of a file in a list, whatever folder the list has it in.
fn listed(text: &str, name: &str) -> Option<String> {
    let is = |file: &str| file.trim_start().trim_start_matches('*').rsplit('/').next() == Some(name);
    let line = |line: &str| {
        if let Some((file, sum)) = line.strip_prefix("SHA256 (").and_then(|rest| rest.rsplit_once(") = ")) {
            return is(file).then(|| digest(sum.trim())).flatten();
        }
        let (sum, file) = line.trim_start_matches('\\').split_once(char::is_whitespace)?;
        is(file.trim_end()).then(|| digest(sum)).flatten()
    };
    text.lines().find_map(line)
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
