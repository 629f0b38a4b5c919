//! The ways to look, with what each expects: `"probe": {"unit-state": {"unit": "x.service", "expect": ["active"]}}`.
//!
//! The tag stands outside the fields, so that a typo in either is refused with the line and column where it stands.

mod sense;

use super::condition::Phase;
use crate::form::pattern::Pattern;
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// One way to look.
#[expect(missing_docs, reason = "the sentence over each says what its fields are")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Probe {
    // -- host
    /// The shells have these variables, and USER and HOME are this user's.
    ShellEnvironment {
        #[serde(default = "both_shells")]
        shells: Vec<Shell>,
        set: Vec<String>,
    },
    /// The shells find these commands.
    CommandsPresent {
        #[serde(default = "both_shells")]
        shells: Vec<Shell>,
        names: Vec<String>,
    },
    /// A command ends well in the shells, and says what is expected.
    CommandWorks {
        #[serde(default = "both_shells")]
        shells: Vec<Shell>,
        argv: Vec<String>,
        expect: Option<Pattern>,
    },
    /// QEMU has these devices.
    QemuDevices { expect: Vec<String> },
    /// QEMU makes a machine with these devices, stopped before its first instruction.
    QemuSmoke {
        #[serde(default)]
        devices: Vec<String>,
    },
    /// QEMU makes a network card on user networking.
    UserNetwork {
        #[serde(default = "card")]
        device: String,
    },
    /// The accelerator runs instructions, each time.
    Accelerator {
        #[serde(default)]
        expect: Accelerator,
        #[serde(default = "three")]
        times: u8,
    },
    /// A file can be opened in this way.
    FileAccess { path: Utf8PathBuf, access: Access },
    /// So much memory can be had.
    Memory { at_least_mib: u64 },
    /// The control groups that this process is in leave it so much.
    CgroupLimit {
        at_least_mib: u64,
        #[serde(default)]
        at_least_pids: u64,
    },
    /// A folder has room: `state`, `runs`, `build`, or an absolute path.
    DiskFree { folder: String, at_least_mib: u64 },
    /// An address answers with one of these statuses.
    UrlReachable {
        url: String,
        #[serde(default = "found")]
        expect: Vec<u16>,
    },
    /// The Python of a virtual environment imports these modules.
    PythonImports { venv: Utf8PathBuf, modules: Vec<String> },
    /// `nix flake show` reads the flake in the build folder and shows these outputs.
    NixFlakeShow {
        #[serde(default)]
        expect: Vec<String>,
    },
    /// One of these is there to be sourced, and a shell that sources it finds nix.
    NixProfileScript {
        #[serde(default = "nix_scripts")]
        paths: Vec<Utf8PathBuf>,
    },
    /// A derivation that is known to exist is realised.
    NixRealises { installable: String },
    /// An attribute of the flake is evaluated, and its value is as expected.
    NixEval { attribute: String, expect: Option<Pattern> },
    /// The profile's build command makes one image.
    Build {},

    // -- image
    /// The path or glob names one file.
    OneImage {},
    /// The file's size.
    Size { at_least_mib: u64, at_most_mib: u64 },
    /// The file is as long as its own volume descriptor says.
    Whole {},
    /// It has boot entries for these firmwares.
    ElTorito { expect: Vec<Firmware> },
    /// The boot loaders' entries that start Linux have these kernel arguments, and none of the forbidden ones; `*` is any text
    /// in one (`console=ttyS0,115200*`). Entries by these titles or ids are left out.
    LoaderArgs {
        #[serde(default)]
        expect: Vec<String>,
        #[serde(default)]
        forbid: Vec<String>,
        entries: Entries,
        #[serde(default)]
        except: Vec<String>,
    },
    /// Each boot path boots an entry without a key: one with this title (`More > Rescue` in a submenu), within so many seconds.
    BootsByItself { title: Option<Pattern>, within_s: Option<u64> },
    /// Kernels, RAM disks and the files that configurations lead to are where their loader looks for them.
    LoaderFiles {
        #[serde(default = "all")]
        entries: Entries,
        #[serde(default)]
        except: Vec<String>,
    },
    /// Labels and UUIDs that entries look for (`root=LABEL=`, `CDLABEL=`, `archisolabel=`, …) are the image's.
    LoaderLabels {
        #[serde(default = "all")]
        entries: Entries,
        #[serde(default)]
        except: Vec<String>,
    },
    /// These files are in it; `*` is any text within a name, `**` any folders, and `a|b` either.
    FilesPresent { paths: Vec<String> },
    /// These are not: neither on the volume, nor in an EFI file system, nor in a squashfs.
    FilesAbsent { paths: Vec<String> },
    /// Each file system that its /etc/fstab mounts is one of the disk's (UUID, LABEL, PARTUUID, PARTLABEL), of the kind that it
    /// says, and `/` is the one that it lies on.
    Fstab {},
    /// A file on the volume, in an EFI file system or in a squashfs has text that matches each of the first, none that matches
    /// one of the second, and this checksum.
    FileInImage {
        path: String,
        #[serde(default)]
        contains: Vec<Pattern>,
        #[serde(default)]
        lacks: Vec<Pattern>,
        sha256: Option<String>,
    },
    /// The squashfs in it lists these files; without one in the image there is nothing to list.
    SquashfsLists {
        path: Option<String>,
        files: Vec<String>,
        /// Whether there must be one.
        #[serde(default)]
        required: bool,
    },
    /// The file's SHA-256 is this one, or the one in a file beside it (`IMAGE.sha256`, `SHA256SUMS`) if there is one.
    Checksum { sha256: Option<String> },

    // -- runtime
    /// The machine starts, and the console is never silent for longer than that until it asks for a login.
    ConsoleAlive { max_gap_s: f64 },
    /// The console's first words come within that time.
    ConsoleSpeaks { within_s: u64 },
    /// The user of the profile gets a shell.
    Login {},
    /// That shell becomes root's.
    Escalation {},
    /// What `sudo -l` allows the user.
    SudoList { expect: Pattern },
    /// The user is in one of these groups, or named in sudoers.
    Membership { groups: Vec<String> },
    /// Properties of a unit, as `systemctl show` has them.
    UnitProperties { unit: String, expect: BTreeMap<String, String> },
    /// A unit comes to one of these states and, if said, substates; a state from which it cannot come there ends the wait.
    UnitState {
        unit: String,
        expect: Vec<String>,
        #[serde(default)]
        sub: Vec<String>,
    },
    /// A unit that does its work once (`Type=oneshot`) has done it, whether it stays active afterwards or not.
    UnitSucceeds { unit: String },
    /// A file has these lines.
    FileContent { path: Utf8PathBuf, expect: Vec<String> },
    /// A volume group exists.
    VolumeGroup { name: String },
    /// A logical volume exists.
    LogicalVolume { group: String, name: String },
    /// The disks have these names.
    DiskNames { expect: Vec<String> },
    /// An extra disk held nothing but zeros before the machine started: by its number in the profile, from 0.
    DiskBlankBefore { disk: usize },
    /// An interface exists, is up, and has an address.
    Interface { name: String, ipv4: Ipv4 },
    /// The guest sees a device for entropy and uses it.
    EntropyDevice { expect: Pattern },
    /// The console never said this.
    ConsoleNever { pattern: Pattern },
    /// The guest's clock is right.
    TimeSane { within_s: u64 },
    /// A command of one's own, as root.
    Command {
        run: String,
        #[serde(default)]
        code: i32,
        expect: Option<Pattern>,
    },
}

/// A shell as somebody gets it who just came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shell {
    /// `bash -lc`, with what login(1) sets and nothing else.
    FreshLogin,
    /// `bash -c`, likewise.
    FreshNonLogin,
}

/// Which accelerator must work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accelerator {
    /// KVM, or else TCG.
    #[default]
    Any,
    /// KVM.
    Kvm,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// For reading.
    Read,
    /// For writing.
    Write,
    /// For both.
    ReadWrite,
}

/// What starts an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// A PC BIOS.
    Bios,
    /// UEFI.
    Efi,
}

/// Which entries of a boot loader are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entries {
    /// Each that starts a kernel.
    All,
    /// The one that each loader starts by itself.
    Default,
}

/// What IPv4 address an interface must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ipv4 {
    /// One by DHCP, with a lifetime.
    Lease,
    /// Any.
    Any,
    /// None is asked for.
    NotNeeded,
}

fn all() -> Entries {
    Entries::All
}
fn both_shells() -> Vec<Shell> {
    vec![Shell::FreshLogin, Shell::FreshNonLogin]
}
fn card() -> String {
    "virtio-net-pci".into()
}
fn three() -> u8 {
    3
}
fn found() -> Vec<u16> {
    vec![200]
}
/// Where Nix's installers put it: for one user, for all users, and on NixOS.
fn nix_scripts() -> Vec<Utf8PathBuf> {
    [
        "~/.nix-profile/etc/profile.d/nix.sh",
        "/nix/var/nix/profiles/default/etc/profile.d/nix-daemon.sh",
        "/etc/set-environment",
    ]
    .map(Utf8PathBuf::from)
    .to_vec()
}

impl Probe {
    /// The phase that it belongs to.
    pub fn phase(&self) -> Phase {
        match self {
            Self::ShellEnvironment { .. }
            | Self::CommandsPresent { .. }
            | Self::CommandWorks { .. }
            | Self::QemuDevices { .. }
            | Self::QemuSmoke { .. }
            | Self::UserNetwork { .. }
            | Self::Accelerator { .. }
            | Self::FileAccess { .. }
            | Self::Memory { .. }
            | Self::CgroupLimit { .. }
            | Self::DiskFree { .. }
            | Self::UrlReachable { .. }
            | Self::PythonImports { .. }
            | Self::NixFlakeShow { .. }
            | Self::NixProfileScript { .. }
            | Self::NixRealises { .. }
            | Self::NixEval { .. }
            | Self::Build {} => Phase::Host,
            Self::OneImage {}
            | Self::Size { .. }
            | Self::Whole {}
            | Self::ElTorito { .. }
            | Self::LoaderArgs { .. }
            | Self::BootsByItself { .. }
            | Self::LoaderFiles { .. }
            | Self::LoaderLabels { .. }
            | Self::FilesPresent { .. }
            | Self::FilesAbsent { .. }
            | Self::FileInImage { .. }
            | Self::SquashfsLists { .. }
            | Self::Fstab {}
            | Self::Checksum { .. } => Phase::Image,
            _ => Phase::Runtime,
        }
    }

    /// Its tag, as a profile has it.
    pub fn name(&self) -> String {
        // An enum with the tag outside is an object with one key.
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
            _ => String::new(),
        }
    }

    /// How long looking takes at most on a busy machine without KVM, unless the profile knows better.
    pub fn usual_limit(&self) -> Duration {
        Duration::from_secs(match self {
            Self::Build {} => 3600,
            Self::NixFlakeShow { .. } | Self::NixEval { .. } | Self::NixRealises { .. } => 600,
            Self::ConsoleAlive { .. } => 600,
            Self::Login {} | Self::UnitState { .. } | Self::UnitSucceeds { .. } => 180,
            Self::Interface { .. }
            | Self::Checksum { .. }
            | Self::SquashfsLists { .. }
            | Self::FilesAbsent { .. }
            | Self::Whole {}
            | Self::FileInImage { .. } => 120,
            Self::Accelerator { .. } => 90,
            _ => 60,
        })
    }

    /// What it may take by its own fields, in seconds, with the field's name: a shorter limit would end it in between.
    pub(super) fn needs(&self) -> Option<(f64, &'static str)> {
        match self {
            Self::ConsoleSpeaks { within_s } => Some((*within_s as f64, "within-s")),
            Self::ConsoleAlive { max_gap_s } if max_gap_s.is_finite() => Some((*max_gap_s, "max-gap-s")),
            _ => None,
        }
    }
}
