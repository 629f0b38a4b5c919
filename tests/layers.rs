//! Arrows point down: between the crates, and between the rooms of each.

#![allow(clippy::unwrap_used)]

use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The crates with their folders, from the top to the bottom, and the rooms of each in the same order. A crate uses
/// only crates below it; a room (a file or a folder right in the crate's folder) only rooms of its crate below it.
const HOUSE: [(&str, &str, &str); 5] = [
    (
        "boma-qemu",
        "src",
        "cli jobs plan doctor audit draft ansible template image certificates profile checks form revision",
    ),
    (
        "boma-evidence",
        "src/evidence",
        "page several experiment record ends attribution playbook observe way report verdict allowed",
    ),
    (
        "boma-vm",
        "src/vm",
        "connect template snapshot crash reboot access serial ready handle wait fault monitor timeline diagnose qemu forward ssh keys qmp network drive console machine",
    ),
    ("boma-boot-media", "src/boot_media", "medium seed"),
    (
        "boma-host",
        "src/host",
        "helper promise ledger handshake turn lock dirs links shell cmd memory child print stop names process tail secrets failure failpoint programs sys lookup \
         visible deadline presence hex",
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every crate of the workspace, with the crates of the workspace that it depends on, for its tests too.
fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let said = cargo.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let metadata: Value = serde_json::from_slice(&said.stdout).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let packages = list(&metadata["packages"]);
    let own: BTreeSet<_> = packages.iter().map(name).collect();
    let used = |package: &Value| list(&package["dependencies"]).iter().map(name).filter(|n| own.contains(n)).collect();
    packages.iter().map(|package| (name(package), used(package))).collect()
}

#[test]
fn a_crate_uses_only_crates_below_it() {
    let crates = crates();
    let order: Vec<_> = HOUSE.iter().map(|(name, ..)| *name).collect();
    assert_eq!(crates.keys().map(String::as_str).collect::<BTreeSet<_>>(), order.iter().copied().collect());
    for (at, name) in order.iter().enumerate() {
        for used in &crates[*name] {
            assert!(order[at + 1..].contains(&used.as_str()), "{name} uses {used}, which is not below it");
        }
    }
}

#[test]
fn the_drawing_of_the_crates_has_each_dependency_and_no_other() {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let arrow = Regex::new(r"(?m)^ *([a-z-]+) --> ([a-z-]+)$").unwrap();
    let drawn = arrow.captures_iter(&text).map(|found| (found[1].to_owned(), found[2].to_owned()));
    let used = crates().into_iter().flat_map(|(name, used)| used.into_iter().map(move |other| (name.clone(), other)));
    assert_eq!(drawn.collect::<BTreeSet<_>>(), used.collect::<BTreeSet<_>>());
}

#[test]
fn the_documents_name_files_that_exist() {
    let path = Regex::new(r"`((?:src|profiles|tests)/[^`*]+)`").unwrap();
    for document in ["docs/architecture.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        for found in path.captures_iter(&text) {
            assert!(root().join(&found[1]).exists(), "{document}: {}", &found[1]);
        }
    }
}

/// The source files of a crate by room; the crates in folders below it are none of its rooms.
fn rooms(folder: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    fn walk(path: PathBuf, into: &mut Vec<PathBuf>) {
        if path.is_dir() {
            std::fs::read_dir(path).unwrap().for_each(|entry| walk(entry.unwrap().path(), into));
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
    let mut rooms = BTreeMap::<String, Vec<PathBuf>>::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // What tests share is used from everywhere, and uses everything.
        if !path.join("Cargo.toml").exists() && !["lib", "main", "testing"].contains(&name.as_str()) {
            walk(path, rooms.entry(name).or_default());
        }
    }
    rooms.retain(|_, files| !files.is_empty());
    rooms
}

// Made once, and without Unicode's classes: in a test's build that costs as much as all else.
static ON_TOP: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?-u)\b(?:crate|super)::([a-z_]+)").unwrap());
static DEEPER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?-u)\bcrate::([a-z_]+)").unwrap());

/// The rooms that a file names: after `crate::`, or after `super::` where that is the crate itself.
fn named(folder: &Path, file: &Path) -> Vec<String> {
    let depth = file.strip_prefix(folder).unwrap().components().count();
    let is_on_top = depth == 1 || (depth == 2 && file.ends_with("mod.rs"));
    let names = if is_on_top { &*ON_TOP } else { &*DEEPER };
    // What a test of its own lies a level deeper.
    let text = std::fs::read_to_string(file).unwrap();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| names.captures_iter(line).map(|one| one[1].to_owned()).collect::<Vec<_>>()).collect()
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let mut wrong = Vec::new();
    for (name, folder, order) in HOUSE {
        let order: Vec<_> = order.split_whitespace().collect();
        let folder = root().join(folder);
        let rooms = rooms(&folder);
        let listed = order.iter().map(|room| (*room).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(rooms.keys().cloned().collect::<BTreeSet<_>>(), listed, "the rooms of {name}");
        for (at, room) in order.iter().enumerate() {
            for file in &rooms[*room] {
                for used in named(&folder, file).iter().filter(|used| rooms.contains_key(*used)) {
                    if !order[at..].contains(&used.as_str()) {
                        wrong.push(format!("{}: {room} uses {used}, which is not below it", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where the program may be `unsafe`: the door to the system's calls, and what confines a process for good.
const UNSAFE: [&str; 3] = ["src/host/sys.rs", "src/vm/monitor/confine.rs", "src/vm/network/confine/filter.rs"];

#[test]
fn what_is_unsafe_is_in_one_place_and_in_the_confinements() {
    let mut blocks = 0;
    for file in rooms(&root().join("src"))
        .into_values()
        .flatten()
        .chain(HOUSE[1..].iter().flat_map(|(_, folder, _)| rooms(&root().join(folder)).into_values().flatten()))
    {
        let text = std::fs::read_to_string(&file).unwrap();
        let count =
            text.lines().filter(|line| !line.trim_start().starts_with("//") && line.contains("unsafe {")).count();
        let is_a_place = UNSAFE.iter().any(|place| file == root().join(place));
        assert!(count == 0 || is_a_place, "{} is unsafe", file.display());
        blocks += count;
    }
    assert!((1..=12).contains(&blocks), "{blocks} blocks are unsafe");
}
