//! The seed image, read back by programs that others wrote: blkid, isoinfo and xorriso.
//!
//! The cases are the sizes and names around the 2048-byte sector, where writers of such images go wrong.

#![allow(clippy::unwrap_used)] // a test's helpers fail by panicking

use boot_media::seed::iso::{File, write};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const TIME: u64 = 1_795_173_699;

/// Run a tool that the machine must have; its words are the reason when it is absent or fails.
fn tool(program: &str, args: &[&str]) -> Vec<u8> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let out = Command::new(program).args(args).env("PATH", path).env("LC_ALL", "C.UTF-8").output();
    let out = out.unwrap_or_else(|e| panic!("cannot run {program}: {e}; `.ci/install` installs it"));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{program} {args:?} ended with {}: {said}", out.status);
    for bad in ["WARNING", "SORRY", "FAILURE", "FATAL", "MISHAP", "Damaged"] {
        assert!(!said.contains(bad), "{program} {args:?} complains: {said}");
    }
    out.stdout
}

fn text(program: &str, args: &[&str]) -> String {
    String::from_utf8(tool(program, args)).unwrap()
}

/// An image on disk, and what went into it.
struct Case {
    dir: tempfile::TempDir,
    wanted: BTreeMap<String, Vec<u8>>,
}

impl Case {
    fn new(files: Vec<File>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("seed.iso"), write("cidata", &files, TIME).unwrap()).unwrap();
        Self { dir, wanted: files.into_iter().map(|f| (f.name, f.bytes)).collect() }
    }

    fn image(&self) -> String {
        self.dir.path().join("seed.iso").to_str().unwrap().to_owned()
    }

    /// Everything, by every reader and both trees.
    fn check(&self) {
        self.check_label();
        self.check_isoinfo("-R");
        // isoinfo shows Joliet names in Latin-1 only; xorriso below reads them all.
        if self.wanted.keys().all(|name| name.is_ascii()) {
            self.check_isoinfo("-J");
        }
        for tree in ["norock", "nojoliet"] {
            self.check_xorriso(tree);
        }
    }

    fn check_label(&self) {
        let probe = text("blkid", &["-p", "-o", "export", &self.image()]);
        for line in ["LABEL=cidata", "TYPE=iso9660", "BLOCK_SIZE=2048"] {
            assert!(probe.lines().any(|l| l == line), "blkid sees no {line}:\n{probe}");
        }
        let descriptors = text("isoinfo", &["-d", "-i", &self.image()]);
        for word in ["Volume id: cidata", "Joliet with UCS level 3 found", "Rock Ridge signatures version 1 found"] {
            assert!(descriptors.contains(word), "isoinfo sees no {word:?}:\n{descriptors}");
        }
    }

    fn check_isoinfo(&self, tree: &str) {
        let image = self.image();
        let listed = text("isoinfo", &[tree, "-f", "-i", &image]);
        let mut names: Vec<_> = listed.lines().filter_map(|l| l.strip_prefix('/')).collect();
        names.sort_unstable();
        assert!(names.iter().eq(self.wanted.keys()), "isoinfo {tree} lists {names:?}");
        for (name, bytes) in &self.wanted {
            let path = format!("/{name}");
            let found = tool("isoinfo", &[tree, "-i", &image, "-x", &path]);
            assert!(found == *bytes, "isoinfo {tree} reads {} bytes of {name:?}, not {}", found.len(), bytes.len());
        }
    }

    fn check_xorriso(&self, tree: &str) {
        let (image, out) = (self.image(), self.dir.path().join(tree));
        let into = out.to_str().unwrap();
        let read = ["-read_fs", tree, "-indev", &image, "-osirrox", "on:auto_chmod_on", "-extract", "/", into];
        tool("xorriso", &[&["-abort_on", "WARNING", "-for_backup"], &read[..]].concat());
        assert_eq!(contents(&out), self.wanted, "xorriso {tree}");
    }
}

fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    };
    std::fs::read_dir(dir).unwrap().map(file).collect()
}

/// Content of this length that no other length or offset has.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251 + length % 7) as u8).collect()
}

#[test]
fn a_seed_is_read_back_by_every_reader() {
    let seed = [("meta-data", 60), ("network-config", 200), ("user-data", 5000)];
    Case::new(seed.map(|(name, length)| File::new(name, bytes(length))).into()).check();
}

#[test]
fn sizes_around_the_sector_are_read_back_by_every_reader() {
    let sizes = [0, 1, 2047, 2048, 2049, 4095, 4096, 4097, 100_000];
    Case::new(sizes.map(|n| File::new(format!("size-{n}"), bytes(n))).into()).check();
    for n in sizes {
        Case::new(vec![File::new("user-data", bytes(n))]).check();
    }
}

#[test]
fn names_of_every_shape_are_read_back_by_every_reader() {
    let names = [
        "UPPER",
        "lower",
        "MiXeD.Case",
        "two.dots.here",
        ".hidden",
        "a",
        "with space",
        "under_score-dash",
        "user-data-1",
        "user-data-2",
        "USER-DATA-1",
        "café",
        "日本語.txt",
        "no_extension_but_long_enough",
    ];
    let mut files: Vec<_> = names.iter().map(|n| File::new(*n, n.as_bytes())).collect();
    files.extend([64, 65, 100, 103].map(|n| File::new("n".repeat(n), bytes(n))));
    Case::new(files).check();
}

#[test]
fn rock_ridge_names_that_leave_their_record_are_read_back() {
    // More continuation areas than one sector holds.
    Case::new((0..40).map(|n| File::new(format!("{n:03}{}", "é".repeat(90)), bytes(n))).collect()).check();
}

#[test]
fn folders_whose_records_meet_the_sector_are_read_back() {
    // Each count and length moves the records by another step over the sector's end.
    for count in 8..24 {
        let name = |n| File::new(format!("{n:02}-{}", "x".repeat(count)), [n as u8]);
        Case::new((0..count).map(name).collect()).check();
    }
}

#[test]
fn a_folder_over_many_sectors_is_read_back() {
    let case = Case::new((0..300).map(|n| File::new(format!("file-{n:04}.cfg"), bytes(n))).collect());
    case.check_label();
    case.check_xorriso("norock");
    case.check_xorriso("nojoliet");
}
