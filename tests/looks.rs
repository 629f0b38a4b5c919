//! What cannot be looked at is neither gone nor fine: it stays, it is named with the reason, and nothing begins beside it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so best by failing")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod project;

use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::Dirs;
use host::ledger::{Change, Ledger, Netns, folder};
use host::lock::Lock;
use host::presence::Presence;
use host::process::{EndError, ProcessId};
use nix::sys::resource::{Resource, setrlimit};
use project::Project;
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use vm::machine::VmDir;
use vm::network::NetDir;

impl Project {
    /// The folder of a VM, made.
    fn vm(&self) -> VmDir {
        let vm = VmDir::at(self.dir.join("s/vms/askari"));
        folder::make(vm.path()).unwrap();
        vm
    }

    /// The command, started by another one.
    fn through(&self, prefix: &[&str], args: &[&str]) -> Output {
        let own = self.command(args);
        let mut command = Command::new(prefix[0]);
        command.args(&prefix[1..]).arg(own.get_program()).args(own.get_args()).current_dir(&self.dir);
        command.env_remove("BOMA_ROOT").env_remove("BOMA_REPO");
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.output().unwrap()
    }

    /// The same without root's power over the modes of files, whoever runs the test.
    fn by_mode(&self, args: &[&str]) -> Output {
        match nix::unistd::geteuid().is_root() {
            true => self.through(&["setpriv", "--bounding-set=-all", "--inh-caps=-all"], args),
            false => self.through(&["env"], args),
        }
    }
}

/// A process to be looked at, which ends with the test.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    fn id(&self) -> ProcessId {
        ProcessId::of(self.0.id().cast_signed()).unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

fn mode(path: &Utf8Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn ended(out: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{said}{}", String::from_utf8_lossy(&out.stdout));
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

/// The object of that event among the lines of JSON.
fn event(out: &Output, name: &str) -> Value {
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.find(|object| object["event"] == name).unwrap_or_else(|| panic!("no {name} in: {text}"))
}

#[test]
fn a_state_folder_that_cannot_be_read_is_not_an_empty_one() {
    for folder in ["s/vms", "s/net"] {
        let world = Project::new();
        world.vm();
        std::fs::create_dir_all(world.dir.join("s/net/boma-it")).unwrap();
        let folder = world.dir.join(folder);
        mode(&folder, 0);
        for args in [&["status"][..], &["net", "down"], &["prune"]] {
            ended(&world.by_mode(args), 3, &["cannot look into", folder.as_str(), "Permission denied", "next:"]);
        }
        mode(&folder, 0o700);
        assert_eq!(folder.read_dir_utf8().unwrap().count(), 1, "what could not be seen is still there");
    }
}

#[test]
fn a_vm_whose_lock_cannot_be_looked_at_keeps_its_network_and_itself() {
    let world = Project::new();
    let vm = world.vm();
    std::fs::create_dir_all(world.dir.join("s/net/boma-it")).unwrap();
    let _held = Lock::try_take(&vm.alive(), "the VM's monitor").unwrap();
    mode(&vm.alive(), 0);
    std::fs::write(vm.kept(), "").unwrap();
    let lock = vm.alive();
    let down = world.by_mode(&["net", "down"]);
    ended(&down, 3, &["cannot tell whether the VM of askari uses the network", lock.as_str(), "next:"]);
    let status = world.by_mode(&["status", "--json"]);
    ended(&status, 0, &[]);
    assert_eq!(event(&status, "vm")["alive"], Value::Null);
    let pruned = world.by_mode(&["prune", "--json"]);
    ended(&pruned, 7, &["network boma-it", lock.as_str()]);
    assert_eq!(event(&pruned, "removed")["removed"]["vms"], serde_json::json!([]));
    assert!(vm.kept().exists() && world.dir.join("s/net/boma-it").exists());
}

#[test]
fn a_process_that_proc_does_not_show_is_a_leak_and_is_not_signalled() {
    let world = Project::new();
    let (vm, mut sleeper) = (world.vm(), Sleeper::new());
    let id = sleeper.id();
    Ledger::open(&vm.ledger()).unwrap().adopt(Change::Process { role: "monitor".into(), id }).unwrap();
    // As `hidepid` does it with the processes of others.
    let hide = format!("mount -t tmpfs none /proc/{} && exec \"$@\"", id.pid);
    let mut prefix = vec!["unshare", "--mount"];
    if !nix::unistd::geteuid().is_root() {
        prefix.push("--map-root-user");
    }
    prefix.extend(["sh", "-c", &hide, "sh"]);
    let out = world.through(&prefix, &["down", "askari", "--json"]);
    ended(&out, 7, &[&format!("process {} (monitor)", id.pid), "/proc does not show it"]);
    let leaks = event(&out, "removed")["removed"]["leaks"].clone();
    assert!(leaks[0]["what"].as_str().unwrap().contains("monitor"), "{leaks}");
    assert!(sleeper.0.try_wait().unwrap().is_none() && vm.ledger().exists());
    // It is seen again, and then it is ended.
    ended(&world.through(&["env"], &["down", "askari"]), 0, &[]);
    assert!(sleeper.0.try_wait().unwrap().is_some() && !vm.path().exists());
}

#[test]
fn a_host_whose_boot_cannot_be_told_from_another_one_undoes_nothing() {
    let world = Project::new();
    let (vm, mut sleeper) = (world.vm(), Sleeper::new());
    let change = Change::Process { role: "monitor".into(), id: sleeper.id() };
    Ledger::open(&vm.ledger()).unwrap().adopt(change).unwrap();
    let mut prefix = vec!["unshare", "--mount"];
    if !nix::unistd::geteuid().is_root() {
        prefix.push("--map-root-user");
    }
    prefix.extend(["sh", "-c", "mount -t tmpfs none /proc/sys/kernel && exec \"$@\"", "sh"]);
    ended(&world.through(&prefix, &["down", "askari"]), 7, &["boot id", vm.path().as_str()]);
    assert!(sleeper.0.try_wait().unwrap().is_none() && vm.ledger().exists());
}

/// What `down` says about an nft table, with this script as `nft`; none is no program of that name that can be run.
fn down_with_nft(script: Option<&str>) -> (Output, bool) {
    let world = Project::new();
    let (vm, bin) = (world.vm(), world.dir.join("bin"));
    std::fs::create_dir(&bin).unwrap();
    if let Some(script) = script {
        std::fs::write(bin.join("nft"), format!("#!/bin/sh\n{script}\n")).unwrap();
        mode(&bin.join("nft"), 0o755);
    }
    let change = Change::NftTable { family: "inet".into(), name: "boma-it".into(), netns: Netns::Host };
    Ledger::open(&vm.ledger()).unwrap().adopt(change).unwrap();
    let path = format!("PATH={bin}");
    let mut prefix = vec!["unshare", "--mount"];
    if !nix::unistd::geteuid().is_root() {
        prefix.push("--map-root-user");
    }
    // Beside PATH it is looked for where distributions keep it.
    let hide = "nft=$(PATH=$PATH:/usr/sbin:/sbin command -v nft) && mount --bind /dev/null $nft && exec \"$@\"";
    match script {
        None => prefix.extend(["sh", "-c", hide, "sh"]),
        // By its full path: it is not in that PATH.
        Some(_) => prefix.extend(["/usr/bin/env", &path]),
    }
    let out = world.through(&prefix, &["down", "askari", "--json"]);
    (out, vm.ledger().exists())
}

#[test]
fn an_nft_that_cannot_answer_is_no_word_that_the_table_is_gone() {
    let words = [
        None,
        Some("echo 'netlink: Error: cache initialization failed: Operation not permitted' >&2; exit 1"),
        Some(
            "echo 'nft: error while loading shared libraries: libnftables.so.1: No such file or directory' >&2; exit 127",
        ),
        Some("echo 'Error: No such file or directory' >&2; exit 127"),
        Some("exit 1"),
        Some("exec /bin/sleep 60"),
    ];
    std::thread::scope(|scope| {
        for script in words {
            scope.spawn(move || {
                let (out, kept) = down_with_nft(script);
                ended(&out, 7, &["nft table inet boma-it", "cannot look for"]);
                assert!(kept, "{script:?}");
            });
        }
    });
    let gone = "printf 'Error: No such file or directory\\nlist table inet boma-it\\n' >&2; exit 1";
    let (out, kept) = down_with_nft(Some(gone));
    ended(&out, 0, &[]);
    assert!(!kept);
}

#[test]
fn without_a_descriptor_left_nothing_is_taken_for_gone() {
    const INSIDE: &str = "BOMA_TEST_NO_DESCRIPTOR_LEFT";
    if std::env::var_os(INSIDE).is_none() {
        // In a process of its own: the limit is the whole process's.
        let mut own = Command::new(std::env::current_exe().unwrap());
        own.args(["--exact", "without_a_descriptor_left_nothing_is_taken_for_gone", "--nocapture"]);
        let out = own.env(INSIDE, "1").output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&out.stderr));
        return;
    }
    let keep = tempfile::tempdir().unwrap();
    let state = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
    let dirs = Dirs { root: state.clone(), cache: state.clone(), runs: state.clone(), state };
    let (vm, net) = (VmDir::of(&dirs, &"askari".parse().unwrap()), NetDir::of(&dirs, &"boma-it".parse().unwrap()));
    for folder in [vm.path(), net.path()] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let _held = [&vm.alive(), &net.alive()].map(|path| Lock::try_take(path, "its keeper").unwrap());
    let mut sleeper = Sleeper::new();
    let (id, netns) = (sleeper.id(), Netns::Host);
    let changes = [
        Change::Process { role: "monitor".into(), id },
        Change::Link { name: "boma-none".into(), netns },
        Change::NftTable { family: "inet".into(), name: "boma-none".into(), netns },
        Change::Sysctl { key: "net/ipv4/ip_forward".into(), old: "x".into(), new: "y".into(), user: None, netns },
    ];
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let looks = changes.each_ref().map(Change::presence);
    let (of_vm, of_net, broken) = (vm.presence(), net.presence(), net.broken_why());
    let (vms, nets, ended) = (VmDir::list(&dirs), NetDir::list(&dirs), id.end(Duration::ZERO));
    let (found, gone) = (ProcessId::of(id.pid), id.wait_gone(&host::deadline::Deadline::after(Duration::ZERO)));
    drop(taken);
    for (look, change) in looks.iter().zip(&changes) {
        assert!(matches!(look, Presence::Unknown(why) if why.contains("open files")), "{change}: {look:?}");
    }
    assert!(matches!((&of_vm, &of_net), (Presence::Unknown(_), Presence::Unknown(_))), "{of_vm:?} {of_net:?}");
    assert!(broken.is_err() && vms.is_err() && nets.is_err() && found.is_err() && !gone);
    assert!(matches!(ended, Err(EndError::Unknown(_))), "{ended:?}");
    assert!(id.is_alive() && sleeper.0.try_wait().unwrap().is_none());
    assert_eq!((vm.presence(), net.presence()), (Presence::There, Presence::There));
    assert_eq!(changes[1].presence(), Presence::Gone);
}
