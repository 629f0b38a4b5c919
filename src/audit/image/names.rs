//! The files of an image by patterns: on its volume, in its EFI file systems, and in each squashfs.

use crate::audit::outcome::Seen;
use boot_media::medium::{Damage, Holds, Kind, Medium};

/// What files are told to be in that only the volume's other tree of names has.
const OTHER_NAMES: &str = "the volume's other names";
/// How many names a line shows, and how many the evidence does.
const SHOWN: usize = 5;
const LISTED: usize = 2000;

/// File systems that live systems keep inside of a squashfs (dracut's `dmsquash-live`), and that are not read here.
const INNER: [&str; 2] = ["/liveos/rootfs.img", "/liveos/ext3fs.img"];

/// A path in a condition: whole, with `*` and `?` within a name and `**` for any folders, in any case; `a|b` is either. With `:/`
/// in it, it is the name of a file system and a path in it; else it is a path in any of them.
#[derive(Debug)]
pub(super) struct Wanted<'p> {
    /// As the profile has it.
    pub(super) text: &'p str,
    either: Vec<(bool, glob::Pattern)>,
}

/// A file, by the file system that it is in, if that is not the volume, and its path there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'n> {
    pub(super) within: Option<&'n str>,
    pub(super) path: &'n str,
}

impl Name<'_> {
    pub(super) fn whole(&self) -> String {
        match self.within {
            Some(within) => format!("{within}:{}", self.path),
            None => self.path.to_owned(),
        }
    }
}

impl<'p> Wanted<'p> {
    pub(super) fn new(text: &'p str) -> Self {
        let plain = |path: &str| glob::Pattern::escape(path.trim_start_matches('/'));
        let pattern = |path: &str| {
            let stripped = path.trim_start_matches('/');
            let pattern = glob::Pattern::new(stripped).or_else(|_| glob::Pattern::new(&plain(path)));
            Some((path.contains(":/"), pattern.ok()?))
        };
        Self { text, either: text.split('|').filter_map(pattern).collect() }
    }

    /// Whether a file is meant.
    pub(super) fn is(&self, name: Name<'_>) -> bool {
        let options = glob::MatchOptions {
            case_sensitive: false,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let path = name.path.trim_matches('/');
        self.either.iter().any(|(whole, pattern)| match (whole, name.within) {
            (true, Some(within)) => {
                pattern.matches_with(&format!("{}:/{path}", within.trim_start_matches('/')), options)
            }
            (true, None) => false,
            // A path that is written out means itself, whatever characters are in it.
            (false, _) => pattern.as_str().eq_ignore_ascii_case(path) || pattern.matches_with(path, options),
        })
    }
}

/// Why a pattern means nothing that there can be.
pub(in crate::audit) fn senseless(pattern: &str) -> Option<String> {
    let one = |path: &str| {
        let inner = path.rsplit_once(":/").map_or(path, |(_, inner)| inner);
        let steps: Vec<_> = inner.trim_start_matches('/').split('/').collect();
        if path.is_empty() || inner.trim_matches('/').is_empty() {
            return Some("it is empty".to_owned());
        }
        if path.ends_with('/') {
            return Some(format!(
                "nothing ends with a slash: write {:?} for the folder, or {path}** for what is in it",
                path.trim_end_matches('/')
            ));
        }
        if let Some(step) = steps.iter().find(|step| matches!(**step, "" | "." | "..")) {
            return Some(format!("no path has {step:?} for a name"));
        }
        glob::Pattern::new(path.trim_start_matches('/')).err().map(|error| error.to_string())
    };
    pattern.split('|').find_map(one).map(|why| format!("{pattern:?} can never match: {why}"))
}

/// Tell each name on the volume, in the EFI file systems and in a disk's; why something could not be looked into.
pub(super) fn outer(medium: &Medium, tell: &mut dyn FnMut(Name<'_>)) -> Vec<String> {
    for file in medium.files() {
        let folder = if file.kind == Kind::Folder { "/" } else { "" };
        tell(Name { within: None, path: &format!("{}{folder}", file.path) });
    }
    let (names, closed) = match medium.inner_names() {
        Ok(names) => (names, Vec::new()),
        Err(error) => (Vec::new(), vec![super::told(&error)]),
    };
    for name in names {
        if let Some((within, path)) = name.split_once(":/").map(|(within, _)| (within, &name[within.len() + 1..])) {
            tell(Name { within: Some(within), path });
        }
    }
    closed
}

/// Tell each name in each squashfs; why something could not be looked into.
pub(super) fn inner(medium: &Medium, tell: &mut dyn FnMut(Name<'_>)) -> Vec<String> {
    let mut closed: Vec<_> = medium.unread().map(str::to_owned).collect();
    // What lies in a disk's file system is found by name there, but not opened as a file system of its own.
    let packed = |name: &String| [".squashfs", ".sfs", ".iso"].iter().any(|end| name.ends_with(end));
    let packed: Vec<_> = medium.ext4_files().unwrap_or_default().into_iter().filter(packed).collect();
    closed.extend(packed.iter().map(|name| format!("{name} is a file system of its own, which is not read here")));
    let within = match medium.within() {
        Ok(within) => within,
        Err(error) => return vec![super::told(&error)],
    };
    for one in within {
        match one.holds {
            Holds::Other(kind) => closed.push(format!("{} holds {kind}, which is not read here", one.name)),
            Holds::Fat => {
                let read = medium.fat_names(&one.name, &mut |path| tell(Name { within: Some(&one.name), path }));
                closed.extend(read.err().map(|error| super::told(&error)));
            }
            Holds::Squashfs => {
                let read = medium.squashfs_names(&one.name, &mut |path| {
                    if INNER.iter().any(|inner| path.eq_ignore_ascii_case(inner)) {
                        closed.push(format!("{}:{path} is a file system of its own, which is not read here", one.name));
                    }
                    tell(Name { within: Some(&one.name), path });
                });
                closed.extend(read.err().map(|error| super::told(&error)));
            }
        }
    }
    closed
}

/// What of the image's names is not known, because it is damaged.
fn unread(medium: &Medium) -> Vec<String> {
    let hides = |damage: &&Damage| match damage {
        Damage::Folder { .. } => true,
        Damage::Boot { what, .. } => what.starts_with("EFI image") || what.starts_with("the partition table"),
        Damage::Short { .. } | Damage::File { .. } => false,
    };
    medium.damage().iter().filter(hides).map(ToString::to_string).collect()
}

/// Names for the evidence, as many as are of use there.
#[derive(Default)]
struct Listed {
    names: Vec<String>,
    count: usize,
}

impl Listed {
    fn add(&mut self, name: Name<'_>) {
        self.count += 1;
        if self.names.len() < LISTED {
            self.names.push(name.whole());
        }
    }

    fn text(self) -> String {
        let more = self.count - self.names.len();
        let end = if more > 0 { format!("\nand {more} more") } else { String::new() };
        self.names.join("\n") + &end
    }
}

/// The files are there.
pub(super) fn present(medium: &Medium, paths: &[String]) -> Seen {
    let wanted: Vec<_> = paths.iter().map(|path| Wanted::new(path)).collect();
    let mut found = vec![false; wanted.len()];
    let (mut listed, mut broken) = (Listed::default(), Vec::new());
    let mut closed = outer(medium, &mut |name| {
        listed.add(name);
        for (found, wanted) in found.iter_mut().zip(&wanted) {
            *found = *found || wanted.is(name) && leads_somewhere(medium, name, &mut broken);
        }
    });
    closed.extend(broken);
    let missing: Vec<_> =
        wanted.iter().zip(&found).filter(|(_, found)| !**found).map(|(wanted, _)| wanted.text).collect();
    if let (false, Some(why)) = (missing.is_empty(), closed.first()) {
        return Seen::unknown(format!("not found: {}, and {why}", missing.join(", "))).in_text(listed.text());
    }
    let cause = (!missing.is_empty()).then(|| format!("not in the image: {}", missing.join(", ")));
    Seen::judged(format!("{} of {} are there", paths.len() - missing.len(), paths.len()), cause).in_text(listed.text())
}

/// Whether a name is more than a link to nothing.
fn leads_somewhere(medium: &Medium, name: Name<'_>, broken: &mut Vec<String>) -> bool {
    if name.path.ends_with('/') {
        return true;
    }
    match name.within {
        None => medium.file(name.path).is_some(),
        Some(_) => medium.has(&name.whole()).unwrap_or_else(|error| {
            broken.push(super::told(&error));
            false
        }),
    }
}

/// The files are not there: not on the volume, not in an EFI file system, not in a squashfs. What could not be looked into may
/// hold them.
pub(super) fn absent(medium: &Medium, paths: &[String]) -> Seen {
    let wanted: Vec<_> = paths.iter().map(|path| Wanted::new(path)).collect();
    let mut there = Vec::new();
    let mut count = 0usize;
    let mut look = |name: Name<'_>| {
        count += 1;
        if wanted.iter().any(|wanted| wanted.is(name)) {
            there.push(name.whole());
        }
    };
    let mut closed = outer(medium, &mut look);
    for file in medium.hidden_files() {
        look(Name { within: Some(OTHER_NAMES), path: &file.path });
    }
    closed.extend(unread(medium));
    closed.extend(inner(medium, &mut look));
    let evidence = format!("{}\n\n{}", there.join("\n"), closed.join("\n"));
    if !there.is_empty() {
        let cause = format!("in the image, and must not be: {}", some(&there));
        return Seen::fails(format!("{} of {count} files must not be there", there.len()), cause).in_text(evidence);
    }
    match closed.first() {
        Some(why) => Seen::unknown(format!("none of {count} files, but not all of the image can be read: {why}"))
            .in_text(evidence),
        None => Seen::holds(format!("none of {count} files")),
    }
}

/// The first few of many.
pub(super) fn some(names: &[String]) -> String {
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}

/// The squashfs has the files. Several are looked at as one.
pub(super) fn squashfs(medium: &Medium, path: Option<&str>, files: &[String], required: bool) -> Seen {
    let all: Vec<String> = match path {
        Some(path) => medium.file(path).map(|file| file.path.clone()).into_iter().collect(),
        None => match medium.within() {
            Ok(within) => within.into_iter().filter(|one| one.holds == Holds::Squashfs).map(|one| one.name).collect(),
            Err(error) => return Seen::unknown(super::told(&error)),
        },
    };
    if all.is_empty() {
        let observed = "no squashfs in the image";
        // One that is named must be there; any may be absent.
        let named = path.map(|path| format!("{path} is not in the image"));
        return Seen::judged(observed, named.or_else(|| required.then(|| observed.to_owned())));
    }
    let wanted: Vec<_> = files.iter().map(|file| Wanted::new(file)).collect();
    let mut found = vec![false; wanted.len()];
    let mut listed = Listed::default();
    for within in &all {
        let read = medium.squashfs_names(within, &mut |path| {
            let name = Name { within: Some(within), path };
            listed.add(name);
            found.iter_mut().zip(&wanted).for_each(|(found, wanted)| *found = *found || wanted.is(name));
        });
        if let Err(error) = read {
            return Seen::fails("unreadable", error.to_string());
        }
    }
    let missing: Vec<_> =
        files.iter().zip(&found).filter(|(_, found)| !**found).map(|(file, _)| file.clone()).collect();
    let cause = (!missing.is_empty()).then(|| format!("not in {}: {}", all.join(", "), some(&missing)));
    Seen::judged(format!("{} files in {}", listed.count, all.join(", ")), cause).in_text(listed.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(pattern: &str, within: Option<&str>, path: &str) -> bool {
        Wanted::new(pattern).is(Name { within, path })
    }

    #[test]
    fn a_name_is_found_in_any_case_and_a_star_stays_within_it() {
        assert!(is("/boot/grub/grub.cfg", None, "/BOOT/GRUB/GRUB.CFG") && is("nix", None, "/nix/"));
        assert!(is("/boot/*/*.cfg", None, "/boot/grub/grub.cfg") && !is("/boot/*.cfg", None, "/boot/grub/grub.cfg"));
        assert!(is("/**/grub.cfg", None, "/boot/grub/grub.cfg") && is("/x|/**/nix", None, "/nix"));
        assert!(is("/a[1].txt", None, "/a[1].txt"), "a name that looks like a pattern");
    }

    #[test]
    fn a_name_within_a_file_system_is_found_with_and_without_it() {
        for within in ["/efi.img", "El Torito entry 1", "partition 2"] {
            assert!(is("/**/id_rsa", Some(within), "/EFI/BOOT/id_rsa"), "{within}");
            assert!(is("*:/EFI/BOOT/id_rsa", Some(within), "/EFI/BOOT/ID_RSA"), "{within}");
        }
        assert!(is("/efi.img:/EFI/x", Some("/efi.img"), "/EFI/x") && !is("/efi.img:/EFI/x", None, "/EFI/x"));
        assert!(is("El Torito entry 1:/k", Some("El Torito entry 1"), "/k"));
    }

    #[test]
    fn a_pattern_that_means_nothing_is_told() {
        for pattern in ["", "/", "/live/", "/a//b", "/../x", "/a/./b", "/[x", "/a|", "/a***b"] {
            assert!(senseless(pattern).is_some_and(|why| why.contains("can never match")), "{pattern:?}");
        }
        for pattern in ["/live", "/live/**", "/**/x|y", "*:/EFI/BOOT/x", "/a[0-9]", "El Torito entry 2:/x"] {
            assert_eq!(senseless(pattern), None, "{pattern:?}");
        }
    }
}
