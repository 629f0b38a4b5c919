//! The ISO that the audit's tests run on: a real Debian live system that behaves like a NixOS one with a provisioning
//! service, and variants of it that are each broken in one way.
//!
//! `base.sh` makes the parts once, from packages (`setup.sh` and `root/` turn them into the live system); `pack.sh` makes an
//! image of them in seconds. A variant is the same system with another kernel argument, which `init` hands to `break`
//! before systemd starts, or another boot loader configuration. Everything is kept below `target/tmp`, under the hash of
//! these files, so it is built when one of them has changed.
//!
//! The system boots by isolinux (BIOS) and GRUB (UEFI). User `nixos`, password `nixos`, is logged in on ttyS0 and may
//! use sudo without a password, as a member of `wheel`.

#![allow(dead_code)] // each test binary uses a part of it

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::process::Command;
use std::time::Instant;

/// In every entry of every menu: the consoles, no security module that makes systemd load BPF programs (3 s), and no test
/// of the timer, which panics on an emulated processor that was not scheduled in time.
const SERIAL: &str = "lsm=landlock,yama no_timer_check console=tty0 console=ttyS0,115200";
const SCREEN: &str = "lsm=landlock,yama no_timer_check console=tty0";

/// An image, good or broken in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Everything works. With a disk that is not virtio-blk there is no /dev/vda: that is the wrong bus.
    Good,
    /// Everything works, and the kernel prints to the console about six times a second.
    Noise,
    /// No loader entry names ttyS0, and neither loader uses the serial port.
    NoSerial,
    /// LVM refuses the disk: `pre-nixos.service` fails, and the status says so.
    FailingStorage,
    /// The network is configured without DHCP.
    NoDhcp,
    /// sudo wants the password.
    SudoAsks,
    /// `pre-nixos.service` starts for ever.
    NeverEnds,
    /// The good image without its last third.
    Truncated,
}

impl Variant {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Good,
        Self::Noise,
        Self::NoSerial,
        Self::FailingStorage,
        Self::NoDhcp,
        Self::SudoAsks,
        Self::NeverEnds,
        Self::Truncated,
    ];

    /// Its name has a mark of what it is made with, so that an image of other arguments is not taken for it.
    fn file(self) -> String {
        let made_with = Sha256::digest(self.consoles().to_owned() + self.args());
        format!("{self:?}-{:02x}{:02x}.iso", made_with[0], made_with[1]).to_lowercase()
    }

    fn consoles(self) -> &'static str {
        if self == Self::NoSerial { SCREEN } else { SERIAL }
    }

    /// The kernel arguments that make the difference.
    fn args(self) -> &'static str {
        match self {
            Self::Good | Self::NoSerial | Self::Truncated => "",
            // Without the second one, the kernel keeps most of them back.
            Self::Noise => "boma.noise printk.devkmsg=on",
            Self::FailingStorage => "boma.break=storage",
            Self::NoDhcp => "boma.break=dhcp",
            Self::SudoAsks => "boma.break=sudo",
            Self::NeverEnds => "boma.break=hang",
        }
    }
}

/// The image of this variant, built if it is not there. Needs root, and a package mirror the first time.
pub(crate) fn iso(variant: Variant) -> Utf8PathBuf {
    let folder = folder();
    let image = folder.join(variant.file());
    let _lock = lock(&folder);
    if !image.exists() {
        let started = Instant::now();
        let new = folder.join("new.iso");
        make(variant, &base(&folder), &new);
        fs::rename(new, &image).unwrap();
        eprintln!("{image}: {:.1} s", started.elapsed().as_secs_f64());
    }
    image
}

/// A glob that matches two images, in a folder with nothing else.
pub(crate) fn two() -> String {
    let good = iso(Variant::Good);
    let folder = good.parent().unwrap().join("two");
    fs::create_dir_all(&folder).unwrap();
    for name in ["a.iso", "b.iso"] {
        match fs::hard_link(&good, folder.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => panic!("{folder}/{name}: {e}"),
            _ => {}
        }
    }
    format!("{folder}/*.iso")
}

fn make(variant: Variant, base: &Utf8Path, image: &Utf8Path) {
    if variant == Variant::Truncated {
        make(Variant::Good, base, image);
        let file = File::options().write(true).open(image).unwrap();
        file.set_len(file.metadata().unwrap().len() / 3 * 2).unwrap();
        return;
    }
    let loader = if variant == Variant::NoSerial { "screen" } else { "serial" };
    let args = format!("{} {}", variant.consoles(), variant.args());
    run(Command::new(recipe().join("pack.sh")).args([base.as_str(), image.as_str(), args.trim(), loader]));
}

/// The parts of all images.
fn base(folder: &Utf8Path) -> Utf8PathBuf {
    let base = folder.join("base");
    if !base.exists() {
        assert!(rustix::process::geteuid().is_root(), "building {base} needs root: run the tests as root once");
        let new = folder.join("new");
        if new.exists() {
            run(Command::new("rm").args(["-rf", "--one-file-system", new.as_str()]));
        }
        fs::create_dir(&new).unwrap();
        // What was started ends with us, and its mounts with it.
        let inside = "--pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc --";
        run(Command::new("setpriv").args(inside.split(' ')).arg(recipe().join("base.sh")).arg(&new));
        fs::rename(new, &base).unwrap();
        drop_others(folder);
    }
    base
}

/// The images of other recipes are of no use to anybody.
fn drop_others(folder: &Utf8Path) {
    for entry in folder.parent().unwrap().read_dir_utf8().unwrap() {
        let other = entry.unwrap().into_path();
        if other != *folder && other.file_name().is_some_and(|name| name.starts_with("iso-")) {
            fs::remove_dir_all(other).unwrap();
        }
    }
}

fn run(command: &mut Command) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let out = command.env("PATH", path).output();
    let out = out.unwrap_or_else(|e| panic!("cannot run {command:?}: {e}; `.ci/install` installs it"));
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?} ended with {}: {said}", out.status);
}

fn recipe() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/iso")
}

/// Where the images of this recipe are.
fn folder() -> Utf8PathBuf {
    let mut files = Vec::new();
    list(&recipe(), &mut files);
    files.sort();
    let mut digest = Sha256::new();
    for file in files.iter().filter(|file| file.extension() != Some("rs")) {
        digest.update(file.strip_prefix(recipe()).unwrap().as_str());
        digest.update(fs::read(file).unwrap());
    }
    let hash: String = digest.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("iso-{hash}"));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn list(folder: &Utf8Path, files: &mut Vec<Utf8PathBuf>) {
    for entry in folder.read_dir_utf8().unwrap() {
        let path = entry.unwrap().path().to_owned();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

/// One builder at a time, of all test binaries.
fn lock(folder: &Utf8Path) -> File {
    let file = File::create(folder.join("lock")).unwrap();
    file.lock().unwrap();
    file
}
