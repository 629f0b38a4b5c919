//! Crash states without a guest: a window whose changes are known, its states drawn by a seed, each examined on a real ext4 by
//! e2fsck, and judged.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test's helpers fail by panicking, and tell what they saw

use boot_media::medium::layers::{Below, Disk};
use camino::{Utf8Path, Utf8PathBuf};
use evidence::experiment::crash::guest::{Place, Sums};
use evidence::experiment::crash::{CrashStates, Judge, Shape};
use host::failure::Exit;
use sha2::{Digest, Sha256};
use vm::crash::{Bench, Change, Partition, State, Window};

const MIB: u64 = 1 << 20;
const CONTROLS: &str = "boma-qemu-crash";

fn tool(program: &str, args: &[&str]) -> String {
    let ran =
        host::cmd::Cmd::new(program).args(args).env("PATH", host::programs::widened(&host::programs::path())).run();
    ran.unwrap_or_else(|error| panic!("{error}")).stdout
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A small ext4 whose files are there and only overwritten: then each state is one of their data alone, and the file system
/// is sound in all of them.
struct Guest {
    _keep: tempfile::TempDir,
    dir: Utf8PathBuf,
}

impl Guest {
    fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
        for name in [CONTROLS, "srv"] {
            std::fs::create_dir_all(dir.join("files").join(name)).unwrap();
        }
        std::fs::create_dir(dir.join("scratch")).unwrap();
        let old =
            [(format!("{CONTROLS}/clean"), "the old one".into()), (format!("{CONTROLS}/unsynced"), "?".repeat(11))];
        let files = [("srv/synced".to_owned(), "o".repeat(8192)), ("srv/unsynced".to_owned(), "o".repeat(8192))];
        for (name, text) in old.into_iter().chain(files) {
            std::fs::write(dir.join("files").join(name), text).unwrap();
        }
        let [files, fs, top] = ["files", "fs", "top"].map(|name| dir.join(name).into_string());
        tool("mke2fs", &["-q", "-t", "ext4", "-b", "4096", "-d", &files, &fs, "16M"]);
        tool("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &fs, &top]);
        Self { _keep: keep, dir }
    }

    /// New content over a file's blocks.
    fn overwritten(&self, name: &str, text: &str) -> Change {
        let said = tool("debugfs", &["-R", &format!("blocks /{name}"), self.dir.join("fs").as_str()]);
        let first: u64 = said.split_whitespace().next().unwrap().parse().unwrap();
        let mut data = text.as_bytes().to_vec();
        data.resize(data.len().next_multiple_of(512), 0);
        Change { at: first * 4096, data }
    }

    /// Both files and both controls get their new content: the synced ones before the last flush.
    fn window(&self) -> Window {
        let synced = vec![
            self.overwritten(&format!("{CONTROLS}/clean"), "the new one"),
            self.overwritten("srv/synced", &"n".repeat(8192)),
        ];
        let not = vec![
            self.overwritten(&format!("{CONTROLS}/unsynced"), "the new one"),
            self.overwritten("srv/unsynced", &"n".repeat(8192)),
        ];
        Window { epochs: vec![synced, not], promised: 1, overruns: 0 }
    }

    async fn examine(&self, states: usize, seed: u64) -> (CrashStates, Vec<State>, f64) {
        let fs = Below { path: self.dir.join("fs"), qcow2: false };
        let disk = Disk::open(&self.dir.join("top"), Vec::new(), &[fs]).unwrap();
        let place = Place { mount: "/".into(), start: 0, length: 16 * MIB };
        let mut bench = Bench::new(&self.dir.join("scratch"), &disk, Partition { start: 0, length: 16 * MIB }).unwrap();
        let [before, after] = ["o", "n"].map(|letter| {
            let one = |name: &str| (format!("/srv/{name}"), sum(letter.repeat(8192).as_bytes()));
            Sums::from(["synced", "unsynced"].map(one))
        });
        let window = self.window();
        let (shape, mut judge) = (Shape::of(&window), Judge::new(&place, &before, &after, window.promised));
        let paths = judge.paths(&place);
        let (mut made, mut seconds) = (Vec::new(), 0.0);
        for n in 0..states {
            let state = shape.state(seed, n);
            let found = bench.examine(window.writes(&state), &paths).await.unwrap();
            judge.take(n, &state, &found);
            seconds += found.seconds;
            made.push(state);
        }
        bench.finish().unwrap();
        (judge.finish(place, seed), made, seconds / states as f64)
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

#[test]
fn what_was_not_synced_is_found_within_thirty_states_and_what_was_survives_two_hundred() {
    let guest = Guest::new();
    let (found, states, seconds) = run(guest.examine(200, 7));
    println!("{} states, {seconds:.3} s each: {:?}", states.len(), found.controls);
    assert_eq!(found.exit(), Exit::Verify, "{:?}", found.wrong());
    assert!(found.damaged.is_empty() && found.unchecked.is_empty(), "{:?}", found.wrong());
    let names: Vec<_> = found.not_durable.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["/srv/unsynced"]);
    assert!(found.not_durable[0].first.unwrap() < 30);
    assert_eq!(found.not_durable[0].states.len(), 3, "kept, as before and torn: {:?}", found.not_durable);
    let [clean, unsynced] = found.controls.as_slice() else { panic!("{:?}", found.controls) };
    assert!(clean.clean && clean.file.first.is_none() && unsynced.file.first.unwrap() < 30, "{:?}", found.controls);
    assert_eq!(clean.file.states.values().sum::<usize>(), 200);
}

#[test]
fn the_same_seed_gives_the_same_states_and_the_same_findings() {
    let guest = Guest::new();
    let ((one, first, _), (two, second, _)) = run(async {
        let first = guest.examine(30, 3).await;
        // A scratch copy is made for each.
        std::fs::remove_dir_all(guest.dir.join("scratch")).unwrap();
        std::fs::create_dir(Utf8Path::new(&guest.dir.join("scratch"))).unwrap();
        (first, guest.examine(30, 3).await)
    });
    assert_eq!((first, one), (second, two));
}
