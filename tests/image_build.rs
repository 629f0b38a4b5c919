//! Building a golden image for real, from the machine's own Debian mirror: as root, or as an ordinary user
//! with subordinate ids. The whole build and its boot take minutes, so that test belongs to the soak lane.

#![allow(clippy::unwrap_used)] // a test's helpers fail by panicking

use boma_qemu::image::{Cache, Catalogue, ImageError, Patience, Silent, Watch};
use camino::{Utf8Path, Utf8PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a boot may take; the machine may be busy and has no KVM.
const PATIENCE: Duration = Duration::from_secs(300);

fn catalogue() -> Catalogue {
    Catalogue::read(Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/images.json"))).unwrap()
}

fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    // Not below /tmp, which may be a small file system in memory.
    let dir = tempfile::Builder::new().prefix("boma-image-").tempdir_in("/var/tmp").unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

fn names(dir: &Utf8Path) -> Vec<String> {
    dir.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned()).collect()
}

/// Stops as soon as packages are being unpacked.
#[derive(Default)]
struct StopEarly(AtomicBool);

impl Watch for StopEarly {
    fn say(&self, line: &str) {
        if line.contains("extracting archives") {
            self.0.store(true, Relaxed);
        }
    }
    fn progress(&self, _: u64, _: Option<u64>) {}
    fn stopped(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Processes that have the folder's name in their command line.
fn processes(dir: &Utf8Path) -> Vec<String> {
    let all =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    all.map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(dir.as_str()))
        .collect()
}

#[test]
fn a_stopped_build_leaves_nothing_and_takes_what_a_killed_one_left() {
    let (_keep, dir) = folder();
    let killed = dir.join(".build-debian-13-1");
    drop(host::ledger::folder::make(&killed).unwrap());
    std::fs::create_dir_all(killed.join("root/etc")).unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let stop = StopEarly::default();
    let error = Cache::alone(&dir, Patience::default()).build(&catalogue(), "debian-13", &stop).unwrap_err();
    assert!(matches!(error, ImageError::Stopped { .. }), "{error}");
    assert_eq!(names(&dir), [".debian-13.lock"]);
    assert_eq!(processes(&dir), [""; 0]);
    assert_eq!(std::fs::read_to_string("/proc/self/mounts").unwrap(), mounts);
}

struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "soak: builds an image and boots it, minutes"]
fn a_built_image_boots_to_its_login_prompt() {
    let (_keep, dir) = folder();
    let golden = Cache::alone(&dir, Patience::default()).build(&catalogue(), "debian-13", &Silent).unwrap();
    let console = dir.join("console.log");
    // Writes go to a temporary file of QEMU's own: the image is read-only.
    let drive = format!("if=virtio,snapshot=on,format={},file={}", golden.format.name(), golden.path);
    let mut guest = Guest(
        Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048"])
            .args(["-nodefaults", "-display", "none", "-drive", &drive, "-serial", &format!("file:{console}")])
            .stdin(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let start = Instant::now();
    loop {
        let seen = std::fs::read(&console).unwrap_or_default();
        let seen = String::from_utf8_lossy(&seen);
        if seen.contains(" login: ") {
            return;
        }
        let end: String = seen.chars().rev().take(800).collect::<Vec<_>>().into_iter().rev().collect();
        assert_eq!(guest.0.try_wait().unwrap(), None, "QEMU ended; console: {end}");
        assert!(start.elapsed() < PATIENCE, "no login prompt in {PATIENCE:?}; console: {end}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
