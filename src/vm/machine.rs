//! The folder of one VM: what lies where below `$BOMA_STATE/vms/<host>/`.
//!
//! Nothing about a VM lives only in some process's memory: every command finds it through this folder.

use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{DirError, Dirs, folders_in};
use host::lock::Lock;
use host::names::{HostName, SnapshotName};
use host::presence::Presence;

/// The folder of one VM.
#[derive(Clone, Debug)]
pub struct VmDir {
    path: Utf8PathBuf,
}

macro_rules! places {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub fn $name(&self) -> Utf8PathBuf { self.path.join($file) })*
    };
}

impl VmDir {
    /// The folder of the VM that mirrors `host`.
    pub fn of(dirs: &Dirs, host: &HostName) -> Self {
        Self { path: Self::all(dirs).join(host.as_str()) }
    }

    /// What is kept of a snapshot outside of the disks.
    pub fn snapshot(&self, name: &SnapshotName) -> Utf8PathBuf {
        self.snapshots().join(name.as_str())
    }

    /// The record as it was when the snapshot was taken.
    pub fn snapshot_record(&self, name: &SnapshotName) -> Utf8PathBuf {
        self.snapshot(name).join("record.json")
    }

    /// The guest's host key of a kind ([`boot_media::seed::HOST_KEYS`]), made by us.
    pub fn host_key(&self, kind: &str) -> Utf8PathBuf {
        self.keys().join(format!("host_{kind}"))
    }

    /// The folder of the VM at a path, for the hidden subcommands, which are given it.
    pub fn at(path: impl Into<Utf8PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder that holds all VMs' folders.
    pub fn all(dirs: &Dirs) -> Utf8PathBuf {
        dirs.state.join("vms")
    }

    /// Every VM that has a folder, running or not, in the order of their names.
    pub fn list(dirs: &Dirs) -> Result<Vec<(HostName, Self)>, DirError> {
        let hosts = folders_in::<HostName>(&Self::all(dirs))?;
        Ok(hosts.into_iter().map(|host| (host.clone(), Self::of(dirs, &host))).collect())
    }

    /// The state in which the VM of a host is: the one that runs, else the one of which something is left; where there is none,
    /// `dirs` itself.
    pub fn home(dirs: &Dirs, host: &HostName) -> Result<Dirs, DirError> {
        let all = dirs.all()?;
        let is_there = |of: &&Dirs| !Presence::of(Self::of(of, host).path()).is_gone();
        let runs = |of: &&Dirs| is_there(of) && Self::of(of, host).is_alive();
        let found = all.iter().find(runs).or_else(|| all.iter().find(is_there));
        Ok(found.unwrap_or(dirs).clone())
    }

    /// The folder itself.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Whether every socket below the folder has a name that Linux allows: `sun_path` holds 107 bytes,
    /// and ssh adds 17 random ones to its own while it makes it.
    pub fn check_length(&self) -> Result<(), DirError> {
        let longest = self.keys().join("m4194304.9999.0123456789abcdef");
        match longest.as_str().len() {
            0..=107 => Ok(()),
            _ => Err(DirError::TooLong { path: self.path.clone() }),
        }
    }

    /// Whether the VM's monitor is alive: it holds this lock for its whole life.
    pub fn presence(&self) -> Presence {
        Lock::look(&self.alive())
    }

    /// Whether the VM's monitor may be alive: it is, or it cannot be looked at.
    pub fn is_alive(&self) -> bool {
        !self.presence().is_gone()
    }

    places! {
        /// What the run did and saw so far.
        record = "record.json";
        /// What the run was to do, as resolved before anything was made.
        plan = "plan.json";
        /// What QEMU is started with; the monitor reads it at each start.
        machine = "machine.json";
        /// The changes to the host that this VM brought.
        ledger = "ledger.ndjson";
        /// The journal of everything that the monitor saw.
        events = "events.ndjson";
        /// The snapshots, a folder for each ([`VmDir::snapshot`]).
        snapshots = "snapshots";
        /// The serial console, every byte of it.
        console = "console.log";
        /// The console rules that the profile allows; the monitor reads it when it starts.
        console_allowed = "console-allowed.json";
        /// When the console's bytes came.
        console_times = "console.times";
        /// When it is removed by itself.
        expiry = "expiry.json";
        /// The folder of the network that it is in, for the monitor to watch.
        network = "network";
        /// Ports of the host that lead to it, a file for each.
        forwards = "forwards";
        /// The monitor's control socket.
        control = "ctl.sock";
        /// Locked while the monitor lives.
        alive = "alive.lock";
        /// The throwaway overlay.
        disk = "disk.qcow2";
        /// What the disk was given while a log of it was kept.
        drive_log = "drive.log";
        /// The memory in snapshots.
        memory = "memory.qcow2";
        /// The NoCloud seed.
        seed = "seed.iso";
        /// The UEFI's variables.
        vars = "vars.fd";
        /// There if the VM is to stay when `prune` comes, and has no record that says so.
        kept = "kept";
        /// What QEMU wrote to standard error.
        qemu_err = "qemu.err";
        /// What the monitor wrote to its log.
        monitor_log = "monitor.log";
        /// Keys and passwords (0700).
        keys = "keys";
        /// The private key that we log in with.
        ssh_key = "keys/id_ed25519";
        /// The pinned host key, as `ssh` reads it.
        known_hosts = "keys/known_hosts";
        /// The only `ssh` configuration that is ever read.
        ssh_config = "keys/ssh_config";
        /// The ways into the guest, and which of them answered last.
        ways = "keys/ways.json";
        /// The password of the rescue user on the serial console.
        break_glass = "keys/break-glass";
        /// Inventories, extra-vars and logs of the playbook runs.
        ansible = "ansible";
    }
}
