//! The user that QEMU runs as where we are root: a number of its own, which nobody else has.

use host::names::VmName;
use nix::unistd::{Uid, User};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;

/// The numbers that systemd keeps for users that exist only while something runs
/// (<https://systemd.io/UIDS-GIDS>, "dynamic service users").
const DYNAMIC: std::ops::RangeInclusive<u32> = 61_184..=65_519;

/// A user for a VM's QEMU: the first number from where the VM's name points to that nobody has. None where we are
/// not root and so have no other users, or where our user namespace knows none of these numbers.
pub fn of_its_own(vm: &VmName) -> Option<u32> {
    if !Uid::effective().is_root() {
        return None;
    }
    let taken = taken();
    let known = mapped(&std::fs::read_to_string("/proc/self/uid_map").ok()?);
    let free = |uid: &u32| {
        let named = matches!(User::from_uid(Uid::from_raw(*uid)), Ok(Some(_)));
        let of_systemd = std::fs::exists(format!("/run/systemd/dynamic-uid/{uid}")).unwrap_or(false);
        !taken.contains(uid) && !named && !of_systemd && known(*uid)
    };
    candidates(vm.as_str()).find(free)
}

/// All the numbers, in an order of this name's own.
fn candidates(name: &str) -> impl Iterator<Item = u32> {
    let count = DYNAMIC.end() - DYNAMIC.start() + 1;
    let hash = Sha256::digest(name.as_bytes());
    let first = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) % count;
    (0..count).map(move |n| DYNAMIC.start() + (first + n) % count)
}

/// The users of all processes.
fn taken() -> HashSet<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return HashSet::new() };
    let numbered = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit());
    processes.flatten().filter(numbered).filter_map(|entry| entry.metadata().ok()).map(|of| of.uid()).collect()
}

/// Whether a user namespace with this map knows a number (user_namespaces(7)): lines of first, outside, count.
fn mapped(map: &str) -> impl Fn(u32) -> bool + use<> {
    let ranges: Vec<(u64, u64)> = map
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().ok());
            Some((numbers.next()??, numbers.nth(1)??))
        })
        .collect();
    move |uid| ranges.iter().any(|(first, count)| (*first..first + count).contains(&u64::from(uid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_range_is_tried_once() {
        let all: HashSet<_> = candidates("boma-it-askari-7f3a").collect();
        assert_eq!(all.len(), candidates("boma-it-askari-7f3a").count());
        assert!(all.iter().all(|uid| DYNAMIC.contains(uid)) && all.len() == 4336);
        assert_ne!(candidates("a").next(), candidates("b").next());
    }

    #[test]
    fn a_container_that_knows_one_user_has_no_other() {
        let all = mapped("         0          0 4294967295\n");
        let one = mapped("         0       1000          1\n");
        let two = mapped("0 1000 1\n1 100000 65536\n");
        assert_eq!([&all as &dyn Fn(u32) -> bool, &one, &two].map(|known| known(61_200)), [true, false, true]);
    }
}
