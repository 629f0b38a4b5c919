//! Everything that fuzzing has found worth keeping, once more, in an instant.

#![allow(clippy::unwrap_used)]

use boma_qemu::hostile::KINDS;
use std::path::Path;

#[test]
fn no_input_of_the_corpus_breaks_what_must_hold() {
    for (name, hold) in KINDS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 3, "{} holds {} inputs", folder.display(), files.len());
        for file in files {
            // The test's output names the input if it panics.
            eprintln!("{}", file.display());
            hold(&std::fs::read(file).unwrap());
        }
    }
}
