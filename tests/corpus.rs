//! Everything that fuzzing has found worth keeping, once more, in an instant.

#![allow(clippy::unwrap_used)]

use boma_qemu::hostile::KINDS;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
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
