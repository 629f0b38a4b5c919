//! QEMU's process, and what it may do. The guest's devices are what an attacker in the guest talks to, so the
//! process that emulates them is taken to be hostile: whatever it becomes, it has the descriptors that it was
//! started with, and nothing else.
//!
//! - No capability, `no_new_privs`, and a user of its own where we are root.
//! - No network but the tap, and no System V or POSIX message queue: namespaces of its own, and empty.
//! - No file but its program, libraries and firmware, and these only to be read and run (Landlock). What belongs
//!   to the VM comes as open descriptors. The one file that QEMU must open by itself is a memory that is a file, of a
//!   template: it does so through the descriptor (`/proc/self/fd/N`), and a rule is for that file alone. Landlock also
//!   keeps it from tracing and signalling others of its user.
//! - No more memory, threads and open files than a guest of this size takes, and no core dump, which would hold the
//!   guest's memory (resource limits: a cgroup would need the host's leave, which an ordinary user rarely has).
//! - QEMU's own filter of system calls on top (`-sandbox`): no program started, no thread's scheduling changed.

use crate::qemu::template::Part;
use crate::qemu::{Accel, Machine, PROGRAM};
use camino::Utf8Path;
use host::names::MiB;
use host::process::leave_user_namespace;
use host::sys::{die_with, set_inherited};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    Scope, path_beneath_rules,
};
use nix::libc;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use tokio::process::Command;

/// What QEMU may read and run: where distributions keep programs, libraries and firmware.
const READ: [&str; 9] =
    ["/usr", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/etc/ld.so.cache", "/etc/alternatives", "/proc"];
/// The devices that it may open.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/kvm"];

/// Address space beyond the guest's memory. Measured with QEMU 7.2 and emulation, two processors: 1.9 GiB, of which 1 GiB
/// is for translated code.
const BEYOND_GUEST: MiB = MiB(4096);
/// Threads: one for each processor, and up to 64 workers for each of a few queues.
const THREADS: u64 = 512;
/// Open files, at most.
const FILES: u64 = 256;

/// What of the confinement is in force; it goes into the journal with the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The user that it runs as.
    pub user: u32,
    /// Whether it has a network of its own, with nothing in it.
    pub own_network: bool,
    /// Whether it can open no file of anybody's.
    pub no_files: bool,
    /// Why the rest is not in force, where it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// The address space that it may have, in MiB.
    pub memory_mib: u64,
}

/// How QEMU's process will be confined, with what has to be made before.
pub(crate) struct Confine {
    user: Option<(Uid, Vec<Gid>)>,
    own_network: bool,
    rules: Option<OwnedFd>,
    memory: MiB,
    /// Why there is no network of its own, or no rules.
    missing: Vec<String>,
}

/// Why QEMU could not be confined on this host as far as it should be, for whoever looks before it is started; nothing if it
/// can.
pub fn not_in_force() -> Vec<String> {
    let user = "boma-it-doctor".parse().ok().and_then(|name: host::names::VmName| crate::qemu::user::of_its_own(&name));
    Confine::with(user.map(|uid| (Uid::from_raw(uid), Vec::new())), rules(None), BEYOND_GUEST).missing
}

/// A program that reads what a guest has written, in the same confinement; besides what QEMU may read it has one directory, to
/// read and to write. It is not started yet, and with it comes what of the confinement is not in force.
pub(crate) fn tool(dir: &Utf8Path, argv: &[String], streams: [OwnedFd; 2]) -> (Command, Vec<String>) {
    let confine = Confine::with(None, rules_with(None, Some(dir)), BEYOND_GUEST);
    let missing = confine.missing.clone();
    (confine.command(argv, Vec::new(), streams), missing)
}

impl Confine {
    /// As strictly as this host can.
    pub(crate) fn of(machine: &Machine, ram: Option<&File>) -> Self {
        let user = machine.user.map(|uid| (Uid::from_raw(uid), groups(machine.accel)));
        let memory = MiB(machine.mem.0 + BEYOND_GUEST.0);
        let write = machine.template.as_ref().and_then(Part::saved).is_some_and(|(_, write)| write);
        Self::with(user, rules(ram.map(|file| (file, write))), memory)
    }

    fn with(user: Option<(Uid, Vec<Gid>)>, rules: Result<Option<OwnedFd>, RulesetError>, memory: MiB) -> Self {
        let (rules, why) = match rules {
            Ok(Some(rules)) => (Some(rules), None),
            Ok(None) => (None, Some("no Landlock rules: this kernel has no Landlock".to_owned())),
            Err(e) => (None, Some(format!("no Landlock rules: {e}"))),
        };
        let mut confine = Self { user, own_network: false, rules, memory, missing: why.into_iter().collect() };
        // Whether a user namespace may be made is up to sysctls, AppArmor and seccomp: it is tried, as it will be done.
        match confine.tried() {
            Ok(()) => confine.own_network = true,
            Err(e) => confine.missing.push(format!("no network of its own: {e}")),
        }
        confine
    }

    /// What is in force.
    pub(crate) fn in_force(&self) -> Confinement {
        Confinement {
            user: self.user.as_ref().map_or(Uid::effective(), |(uid, _)| *uid).as_raw(),
            own_network: self.own_network,
            no_files: self.rules.is_some(),
            missing: self.missing.clone(),
            memory_mib: self.memory.0,
        }
    }

    fn tried(&self) -> std::io::Result<()> {
        let mut command = std::process::Command::new("true");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let user = self.user.clone();
        before_exec(&mut command, move || become_user(user.as_ref()).and_then(|()| leave_network()));
        match command.status()? {
            status if status.success() => Ok(()),
            status => Err(std::io::Error::other(format!("the program that tried it ended with {status}"))),
        }
    }

    /// QEMU's process, not started yet. It inherits `fds` and its two streams and nothing else, and dies with the calling thread.
    pub(crate) fn command(self, argv: &[String], fds: Vec<RawFd>, [out, err]: [OwnedFd; 2]) -> Command {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).stdin(Stdio::null()).stdout(out).stderr(err).kill_on_drop(true);
        let parent = std::process::id().cast_signed();
        before_exec(command.as_std_mut(), move || {
            limit(self.memory, self.user.is_some())?;
            become_user(self.user.as_ref())?;
            if self.own_network {
                leave_network()?;
            }
            if let Some(rules) = &self.rules {
                restrict(rules)?;
            }
            // After the last change of credentials, which clears it.
            die_with(parent)?;
            for fd in &fds {
                // The parent keeps them open until the spawn has returned.
                set_inherited(*fd, true)?;
            }
            Ok(())
        });
        command
    }
}

fn before_exec(
    command: &mut std::process::Command,
    steps: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: between fork and exec there are only system calls; what they need was allocated before, but for two short
    // strings, which glibc's allocator allows after a fork.
    unsafe { command.pre_exec(steps) };
}

/// The groups that a user of its own needs: the one that may use KVM.
fn groups(accel: Accel) -> Vec<Gid> {
    match accel {
        Accel::Kvm => std::fs::metadata("/dev/kvm").map(|kvm| Gid::from_raw(kvm.gid())).into_iter().collect(),
        Accel::Tcg => Vec::new(),
    }
}

/// The Landlock rules; none on a kernel without Landlock (before 5.13, or not in its list of security modules). `ram` is the
/// file that is the guest's memory, and whether it is written.
fn rules(ram: Option<(&File, bool)>) -> Result<Option<OwnedFd>, RulesetError> {
    rules_with(ram, None)
}

/// The same, and one directory of which everything is allowed.
fn rules_with(ram: Option<(&File, bool)>, dir: Option<&Utf8Path>) -> Result<Option<OwnedFd>, RulesetError> {
    let newest = ABI::V6;
    let program =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let program: Vec<_> = program.filter(|folder| folder.join(PROGRAM).exists()).collect();
    let created = Ruleset::default()
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?
        .add_rules(path_beneath_rules(READ, AccessFs::from_read(newest)))?
        .add_rules(path_beneath_rules(program, AccessFs::from_read(newest)))?
        .add_rules(path_beneath_rules(
            DEVICES,
            AccessFs::from_read(newest) | AccessFs::WriteFile | AccessFs::IoctlDev,
        ))?;
    let ram = ram.map(|(file, write)| {
        let access = if write { AccessFs::ReadFile | AccessFs::WriteFile } else { BitFlags::from(AccessFs::ReadFile) };
        Ok::<_, RulesetError>(PathBeneath::new(file, access))
    });
    let dir = dir.map(Utf8Path::as_std_path);
    Ok(created.add_rules(ram)?.add_rules(path_beneath_rules(dir, AccessFs::from_all(newest)))?.into())
}

/// Threads are counted by user, so only a user of its own can be held to a number of them.
fn limit(memory: MiB, own_user: bool) -> nix::Result<()> {
    let set = |resource, most| setrlimit(resource, most, most);
    set(Resource::RLIMIT_AS, memory.0 << 20)?;
    set(Resource::RLIMIT_CORE, 0)?;
    set(Resource::RLIMIT_NOFILE, FILES)?;
    if own_user { set(Resource::RLIMIT_NPROC, THREADS) } else { Ok(()) }
}

/// From root to a user of its own, which loses every capability.
fn become_user(user: Option<&(Uid, Vec<Gid>)>) -> std::io::Result<()> {
    let Some((uid, groups)) = user else { return Ok(()) };
    let gid = Gid::from_raw(uid.as_raw());
    setgroups(groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(*uid, *uid, *uid)?;
    Ok(())
}

/// Into a network and an IPC namespace with nothing in them, which takes a user namespace with nobody else in it.
fn leave_network() -> std::io::Result<()> {
    leave_user_namespace(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC)
}

/// landlock_restrict_self(2), and `no_new_privs`, which it takes; the monitor has that already.
fn restrict(rules: &OwnedFd) -> std::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the call reads nothing of ours.
    match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::user;

    /// What a program says that has QEMU's place.
    fn in_its_place(script: &str) -> (String, Confinement) {
        let user = user::of_its_own(&"boma-it-askari-7f3a".parse().unwrap());
        let user = user.map(|uid| (Uid::from_raw(uid), Vec::new()));
        let confine = Confine::with(user, rules(None), MiB(256));
        let in_force = confine.in_force();
        let null = || std::fs::File::options().write(true).open("/dev/null").unwrap().into();
        let argv = ["sh", "-c", script].map(str::to_owned);
        let mut command = confine.command(&argv, Vec::new(), [null(), null()]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let out = runtime.block_on(async { command.stdout(Stdio::piped()).output().await.unwrap() });
        (String::from_utf8(out.stdout).unwrap(), in_force)
    }

    #[test]
    fn rules_that_could_not_be_made_are_told_with_the_reason() {
        let bad = Ruleset::default().handle_access(AccessFs::from_all(ABI::Unsupported)).unwrap_err();
        let in_force = Confine::with(None, Err(bad), MiB(256)).in_force();
        assert!(
            !in_force.no_files && in_force.missing.iter().any(|why| why.contains("Landlock rules")),
            "{in_force:?}"
        );
        let told = serde_json::to_value(&in_force).unwrap();
        assert!(told["missing"].as_array().is_some_and(|why| !why.is_empty()), "{told}");
    }

    #[test]
    fn what_has_qemus_place_finds_no_file_no_network_and_nobody_to_signal() {
        let own = tempfile::NamedTempFile::new().unwrap();
        let (path, pid) = (own.path().display(), std::process::id());
        let (said, in_force) = in_its_place(&format!(
            "cat /etc/passwd {path} 2>/dev/null && echo reads
            (echo x >{path}) 2>/dev/null && echo writes
            (: >/tmp/made-by-qemu) 2>/dev/null && echo makes
            kill -0 {pid} 2>/dev/null && echo signals
            cat /proc/{pid}/environ 2>/dev/null | grep -q . && echo looks
            echo links $(tail -n +3 /proc/self/net/dev | cut -d: -f1)
            dd if=/dev/zero of=/dev/null bs=512M count=1 2>/dev/null && echo takes memory
            [ $(ulimit -c) = 0 ] || echo dumps
            grep -E '^(Uid|CapEff|NoNewPrivs):' /proc/self/status"
        ));
        assert!(
            in_force.own_network && in_force.no_files,
            "this host has neither Landlock nor namespaces: {in_force:?}"
        );
        let words: Vec<_> = said.split_whitespace().collect();
        let uid = in_force.user.to_string();
        assert_eq!(words[..3], ["links", "lo", "Uid:"], "{said}");
        assert!(words[3..7].iter().all(|word| *word == uid), "{said}");
        assert_eq!(words[7..9], ["CapEff:", "0000000000000000"], "{said}");
        assert_eq!(Uid::effective().is_root(), in_force.user != 0 && in_force.user != Uid::effective().as_raw());
    }

    #[test]
    fn a_program_that_reads_what_a_guest_wrote_has_its_directory_and_nothing_else() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = Utf8Path::from_path(own.path()).unwrap();
        let script = format!(
            "echo x >{dir}/made && cat {dir}/made
            cat /etc/passwd 2>/dev/null && echo reads
            (echo x >{}/made) 2>/dev/null && echo writes
            kill -0 {} 2>/dev/null && echo signals
            echo links $(tail -n +3 /proc/self/net/dev | cut -d: -f1)
            grep NoNewPrivs: /proc/self/status",
            other.path().display(),
            std::process::id()
        );
        let null = || std::fs::File::options().write(true).open("/dev/null").unwrap().into();
        let argv = ["sh".to_owned(), "-c".into(), script];
        let (mut command, missing) = tool(dir, &argv, [null(), null()]);
        assert_eq!(missing, Vec::<String>::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let out = runtime.block_on(async { command.stdout(Stdio::piped()).output().await.unwrap() });
        let said = String::from_utf8(out.stdout).unwrap();
        assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["x", "links", "lo", "NoNewPrivs:", "1"]);
    }
}
