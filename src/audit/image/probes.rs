//! The image's conditions, each over a medium that has been opened.

use crate::audit::outcome::Seen;
use crate::audit::probe::{Entries, Firmware};
use boot_media::medium::{Damage, LoaderEntry, Medium, MediumError, Platform};
use camino::Utf8Path;

/// How many names a line shows.
const SHOWN: usize = 5;

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

/// The boot loaders' entries have the arguments.
pub(super) fn loader_args(medium: &Medium, expect: &[String], which: Entries) -> Seen {
    let loaders = medium.loaders();
    let meant = |entry: &&LoaderEntry| entry.boots_linux() && (which == Entries::All || entry.default);
    let entries: Vec<_> = loaders.entries.iter().filter(meant).collect();
    let place = |entry: &LoaderEntry| format!("{}:{}", entry.file, entry.line);
    let shown: Vec<_> =
        entries.iter().map(|entry| format!("{}: {:?}: {}", place(entry), entry.title, entry.args)).collect();
    let problems: Vec<_> = loaders.problems.iter().map(ToString::to_string).collect();
    let evidence = format!("{}\n\n{}", shown.join("\n"), problems.join("\n"));
    let configs: Vec<_> = loaders.configs.iter().map(|config| config.file.as_str()).collect();
    if entries.is_empty() {
        let read = if configs.is_empty() { "no configuration was found".into() } else { configs.join(", ") };
        let which = if which == Entries::All { "no entry" } else { "no default entry" };
        return Seen::fails(read.clone(), format!("{which} starts a Linux kernel: {read}")).in_text(evidence);
    }
    let lacks = |entry: &LoaderEntry| {
        let missing: Vec<_> = expect.iter().filter(|arg| !has_arg(entry, arg)).map(String::as_str).collect();
        (!missing.is_empty()).then(|| format!("{} ({:?}) lacks {}", place(entry), entry.title, missing.join(" ")))
    };
    let lacking: Vec<_> = entries.iter().filter_map(|entry| lacks(entry)).collect();
    let cause = lacking.first().map(|first| match lacking.len() {
        1 => first.clone(),
        count => format!("{first}; {count} of {} entries do", entries.len()),
    });
    let some = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let observed = format!("{} in {}", some(entries.len(), "entry", "entries"), some(configs.len(), "file", "files"));
    Seen::judged(observed, cause).in_text(format!("{}\n{evidence}", lacking.join("\n")))
}

/// Whether a word of the entry's command line is the argument, in which `*` is any text.
fn has_arg(entry: &LoaderEntry, arg: &str) -> bool {
    match glob::Pattern::new(arg) {
        Ok(pattern) => entry.args.split_whitespace().any(|word| pattern.matches(word)),
        Err(_) => entry.has_arg(arg),
    }
}

/// The names of all files, those in EFI images and in a disk's file systems too.
fn names(medium: &Medium) -> Result<Vec<String>, MediumError> {
    let files = medium.files().map(|file| file.path.clone());
    let inside = medium.efi_files().map(|(name, _)| name).chain(medium.ext4_files()?);
    Ok(files.chain(inside).collect())
}

/// The first name that a path means: whole, with `*` and `?` within a name and `**` for any folders, in any case. `a|b` is
/// either.
fn find<'n>(names: &'n [String], path: &str) -> Option<&'n String> {
    path.split('|').find_map(|path| find_one_of(names, path))
}

fn find_one_of<'n>(names: &'n [String], path: &str) -> Option<&'n String> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let options = glob::MatchOptions {
        case_sensitive: false,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    // `partition 2:/etc/fstab` is meant by that, and by its path alone.
    let inner = |name: &str| name.split_once(":/").map(|(_, inner)| format!("/{inner}"));
    let is = |name: &str, test: &dyn Fn(&str) -> bool| {
        let name = name.trim_end_matches('/');
        let whole = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
        test(&whole) || inner(name).is_some_and(|inner| test(&inner))
    };
    let exact = names.iter().find(|name| is(name, &|own| own.eq_ignore_ascii_case(&path)));
    exact.or_else(|| {
        let pattern = glob::Pattern::new(&path).ok()?;
        names.iter().find(|name| is(name, &|own| pattern.matches_with(own, options)))
    })
}

/// The files are there.
pub(super) fn present(medium: &Medium, paths: &[String]) -> Seen {
    let names = match names(medium) {
        Ok(names) => names,
        Err(error) => return Seen::unknown(error.to_string()),
    };
    let missing: Vec<_> = paths.iter().filter(|path| find(&names, path).is_none()).map(String::as_str).collect();
    let cause = (!missing.is_empty()).then(|| format!("not in the image: {}", missing.join(", ")));
    Seen::judged(format!("{} of {} are there", paths.len() - missing.len(), paths.len()), cause)
        .in_text(names.join("\n"))
}

/// The files are not there.
pub(super) fn absent(medium: &Medium, paths: &[String]) -> Seen {
    let names = match names(medium) {
        Ok(names) => names,
        Err(error) => return Seen::unknown(error.to_string()),
    };
    let there: Vec<_> = paths.iter().filter_map(|path| find(&names, path)).map(String::as_str).collect();
    let cause = (!there.is_empty()).then(|| format!("in the image, and must not be: {}", there.join(", ")));
    Seen::judged(format!("none of {} is there", paths.len() - there.len()), cause)
}

/// The squashfs has the files. Several are looked at as one.
pub(super) fn squashfs(medium: &Medium, path: Option<&str>, files: &[String], required: bool) -> Seen {
    let all: Vec<String> = match path {
        Some(path) => medium.file(path).map(|file| file.path.clone()).into_iter().collect(),
        None => {
            let is_one = |path: &str| path.ends_with(".squashfs") || path.ends_with(".sfs");
            medium.files().map(|file| file.path.clone()).filter(|path| is_one(path)).collect()
        }
    };
    if all.is_empty() {
        let observed = "no squashfs in the image";
        let cause =
            required.then(|| path.map_or_else(|| observed.to_owned(), |path| format!("{path} is not in the image")));
        return Seen::judged(observed, cause);
    }
    let mut names = Vec::new();
    for path in &all {
        match medium.squashfs(path) {
            Ok(squashfs) => names.extend(squashfs.files),
            Err(error) => return Seen::fails("unreadable", error.to_string()),
        }
    }
    let missing: Vec<_> = files.iter().filter(|file| find(&names, file).is_none()).map(String::as_str).collect();
    let cause = (!missing.is_empty()).then(|| {
        let more = if missing.len() > SHOWN { format!(" and {} more", missing.len() - SHOWN) } else { String::new() };
        format!("not in {}: {}{more}", all.join(", "), missing[..missing.len().min(SHOWN)].join(", "))
    });
    Seen::judged(format!("{} files in {}", names.len(), all.join(", ")), cause).in_text(names.join("\n"))
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
    fn a_name_is_found_in_any_case_and_a_star_stays_within_it() {
        let names = ["/BOOT/GRUB/GRUB.CFG".to_owned(), "/nix/".into(), "/efi.img:/EFI/BOOT/BOOTX64.EFI".into()];
        assert!(find(&names, "/boot/grub/grub.cfg").is_some() && find(&names, "nix").is_some());
        assert!(find(&names, "/boot/*/*.cfg").is_some() && find(&names, "/boot/*.cfg").is_none());
        assert!(find(&names, "/*:/EFI/BOOT/BOOTX64.EFI").is_some());
        assert!(find(&names, "/**/grub.cfg").is_some() && find(&names, "/x|/**/nix").is_some());
    }

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
