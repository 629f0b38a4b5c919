//! Everything that fuzzing has found worth keeping, once more, in an instant.

#![allow(clippy::unwrap_used)]

#[allow(unreachable_pub, reason = "the fuzz targets call it, too")]
mod hostile;

use hostile::KINDS;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The inputs of one kind.
fn inputs(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(kind);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3, "{} holds {} inputs", folder.display(), files.len());
    files
}

#[test]
fn no_input_of_the_corpus_breaks_what_must_hold() {
    for (name, hold) in KINDS {
        for file in inputs(name) {
            // The test's output names the input if it panics.
            eprintln!("{}", file.display());
            hold(&std::fs::read(file).unwrap());
        }
    }
}

/// A few bytes changed, taken out or put in: what fuzzing does, without its memory of what that reached. `BOMA_ROUNDS` asks
/// for more than the second that this takes, and `BOMA_SEED` for others.
#[test]
fn no_small_change_of_an_input_breaks_what_must_hold() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |value| value.parse().unwrap());
    let mut random = StdRng::seed_from_u64(number("BOMA_SEED", 1));
    for (name, hold) in KINDS {
        let inputs: Vec<_> = inputs(name).iter().map(|file| std::fs::read(file).unwrap()).collect();
        for input in inputs.iter().cycle().take(inputs.len() * number("BOMA_ROUNDS", 50) as usize) {
            let mut bytes = input.clone();
            for _ in 0..random.random_range(1..6) {
                change(&mut bytes, &mut random);
            }
            let held = std::panic::catch_unwind(|| hold(&bytes));
            assert!(held.is_ok(), "{name}: {}", bytes.escape_ascii());
        }
    }
}

fn change(bytes: &mut Vec<u8>, random: &mut StdRng) {
    let at = random.random_range(0..=bytes.len());
    let value = match random.random_range(0..4) {
        0 => 0xff,
        1 => 0,
        _ => random.random(),
    };
    match (at < bytes.len(), random.random_range(0..16)) {
        (true, 0) => bytes.truncate(at),
        (true, 1) => {
            bytes.remove(at);
        }
        (true, 2..) => bytes[at] = value,
        _ => bytes.insert(at, value),
    }
}

/// What reads bytes or text that came from somewhere.
const READS: [&str; 7] = [
    "from_utf8",
    "serde_json::from_",
    "from_be_bytes",
    "from_le_bytes",
    ".lines()",
    "split_whitespace(",
    "split_once(",
];

/// The program's source files, by their path below `src`, without their tests and comments.
fn sources() -> BTreeMap<PathBuf, String> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => walk(&entry, into),
                false => into.push(entry),
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    let is_code = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        path.extension().is_some_and(|end| end == "rs")
            && !["tests", "testing"].contains(&name)
            && !name.ends_with("_tests")
    };
    let below = |path: PathBuf| (path.strip_prefix(&src).unwrap().to_owned(), std::fs::read_to_string(path).unwrap());
    files.into_iter().filter(is_code).map(below).collect()
}

/// What a file's own head, or else that of the room it is in, says of who tries it: kinds, or none with a reason.
fn said_of<'a>(file: &Path, sources: &'a BTreeMap<PathBuf, String>) -> Option<(bool, &'a str)> {
    let rooms = file.ancestors().skip(1).filter(|room| !room.as_os_str().is_empty());
    let heads = rooms.flat_map(|room| [room.join("mod.rs"), room.with_extension("rs"), room.join("lib.rs")]);
    std::iter::once(file.to_owned()).chain(heads).find_map(|head| {
        let mut lines = sources.get(&head)?.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
        lines.find_map(|line| match (line.strip_prefix("Fuzzed as "), line.strip_prefix("Not fuzzed: ")) {
            (Some(kinds), _) => Some((true, kinds)),
            (_, Some(why)) => Some((false, why)),
            _ => None,
        })
    })
}

/// Whoever reads what others wrote says who tries it with hostile input, in the head of the file or of its room. A new
/// parser that nobody thought of has no such word, and is named here.
#[test]
fn every_file_that_reads_says_which_fuzz_target_tries_it() {
    let sources = sources();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let hostile: String =
        std::fs::read_dir(tests).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let (mut wrong, mut tried) = (Vec::new(), BTreeSet::new());
    for (file, text) in &sources {
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let reads = code.filter_map(|line| READS.iter().find(|word| line.contains(**word))).next();
        if reads.is_none() {
            continue;
        }
        // Below a crate of its own it is the second part of the path.
        let is_crate = sources.contains_key(&Path::new(file.iter().next().unwrap()).join("lib.rs"));
        let room = file.iter().nth(usize::from(is_crate)).unwrap().to_str().unwrap().trim_end_matches(".rs");
        match said_of(file, &sources) {
            None => {
                wrong.push(format!("{}: it reads ({}), and nothing says who tries it", file.display(), reads.unwrap()))
            }
            Some((false, why)) if why.len() > 20 => {}
            Some((false, _)) => wrong.push(format!("{}: why is it not tried?", file.display())),
            Some((true, kinds)) => {
                for kind in kinds.trim_end_matches('.').split(", ").map(|kind| kind.trim_matches('`')) {
                    tried.insert(kind.to_owned());
                    if !KINDS.iter().any(|(known, _)| *known == kind) {
                        wrong.push(format!("{}: there is no fuzz target {kind}", file.display()));
                    }
                }
                if !hostile.contains(&format!("::{room}"))
                    && !hostile.contains(&format!("{room},"))
                    && !hostile.contains(&format!(" {room}}}"))
                {
                    wrong.push(format!("{}: no fuzz target calls anything of {room}", file.display()));
                }
            }
        }
    }
    for text in sources.values() {
        let own = text.lines().find_map(|line| line.strip_prefix("//! Fuzzed as "));
        tried.extend(
            own.iter()
                .flat_map(|kinds| kinds.trim_end_matches('.').split(", "))
                .map(|kind| kind.trim_matches('`').to_owned()),
        );
    }
    let idle = KINDS.iter().map(|(kind, _)| *kind).filter(|kind| !tried.contains(*kind));
    wrong.extend(idle.map(|kind| format!("{kind}: no file says that it is tried by this one")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each kind has a target that calls its function, is built, and has inputs to begin with.
#[test]
fn every_kind_of_input_has_a_fuzz_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (name, _) in KINDS {
        let target = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap_or_default();
        assert!(target.contains(&format!("boma_qemu_fuzz::{name}(bytes)")), "{name} has no target");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not built");
        inputs(name);
    }
    let targets = std::fs::read_dir(fuzz.join("fuzz_targets")).unwrap().count();
    assert_eq!(targets, KINDS.len(), "a target of no kind");
}
