//! The programs that building an image needs, and whether this user may use them.

use super::error::ImageError;
use host::programs;
use std::path::Path;

/// Program, and the Debian package that has it.
const TOOLS: [(&str, &str); 9] = [
    ("mmdebstrap", "mmdebstrap"),
    ("apt-get", "apt"),
    ("mke2fs", "e2fsprogs"),
    ("sfdisk", "fdisk"),
    ("mformat", "mtools"),
    ("mcopy", "mtools"),
    ("qemu-img", "qemu-utils"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
];

/// What an ordinary user needs on top: the set-user-ID helpers that write id maps.
const USER_TOOLS: [(&str, &str); 2] = [("newuidmap", "uidmap"), ("newgidmap", "uidmap")];

/// The keys that Debian's mirrors are checked with.
const KEYRING: (&str, &str) = ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring");

/// PATH for the commands of a build, which also run inside the new tree.
pub(super) fn path() -> String {
    programs::widened(&format!("{}:/usr/bin:/bin", programs::path()))
}

/// Everything that is missing at once, so that one installation mends it.
pub(super) fn check(as_root: bool) -> Result<(), ImageError> {
    let path = path();
    let found = |tool: &str| programs::find(&path, tool).is_some();
    let user_tools = if as_root { &[][..] } else { &USER_TOOLS[..] };
    let mut missing: Vec<_> = TOOLS.iter().chain(user_tools).filter(|(tool, _)| !found(tool)).collect();
    if !Path::new(KEYRING.0).is_file() {
        missing.push(&KEYRING);
    }
    if !missing.is_empty() {
        return Err(name(&missing));
    }
    if as_root { Ok(()) } else { subordinate_ids() }
}

fn name(missing: &[&(&str, &str)]) -> ImageError {
    let tools: Vec<_> = missing.iter().map(|(tool, package)| format!("`{tool}` (package {package})")).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    ImageError::Missing { missing: tools.join(", "), packages: packages.join(" ") }
}

/// unshare(1) maps the ranges of /etc/subuid and /etc/subgid; without one there is only one id to own files.
fn subordinate_ids() -> Result<(), ImageError> {
    let uid = nix::unistd::geteuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if !has_range(&text, &user, uid.as_raw()) {
            return Err(ImageError::NoSubordinateIds { user, file: file.to_owned() });
        }
    }
    Ok(())
}

/// Whether a subuid(5) text gives that user at least 65536 ids in one range.
fn has_range(text: &str, user: &str, uid: u32) -> bool {
    text.lines().any(|line| {
        let mut words = line.split(':');
        let owner = words.next().is_some_and(|who| who == user || who == uid.to_string());
        let count = words.nth(1).and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0);
        owner && count >= 65536
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_brings_what_an_image_is_built_with() {
        let control = include_str!("../../.ci/deb/control");
        let lines =
            control.lines().filter(|line| ["Depends:", "Recommends:"].iter().any(|field| line.starts_with(field)));
        let brought: Vec<_> = lines.flat_map(|line| line.split([' ', ','])).collect();
        for (tool, package) in TOOLS.iter().chain(&USER_TOOLS).chain([&KEYRING]) {
            // No Debian is without these two.
            let is_there = ["apt", "util-linux"].contains(package);
            assert!(is_there || brought.contains(package), "{tool} of {package}");
        }
    }

    #[test]
    fn everything_missing_is_named_at_once_with_its_packages() {
        let error = name(&[&TOOLS[0], &USER_TOOLS[0], &USER_TOOLS[1]]);
        let text = error.to_string();
        assert!(text.contains("`mmdebstrap` (package mmdebstrap), `newuidmap` (package uidmap)"), "{text}");
        let next = host::failure::Blame::next(&error).unwrap();
        assert_eq!(next, "apt-get install mmdebstrap uidmap");
    }

    #[test]
    fn a_range_belongs_to_its_user_and_is_large_enough() {
        let text = "ann:100000:65536\n1001:165536:65536\nbob:231072:100\n";
        assert!(has_range(text, "ann", 7));
        assert!(has_range(text, "carl", 1001));
        assert!(!has_range(text, "bob", 8), "too small");
        assert!(!has_range(text, "an", 9));
    }
}
