//! What the tests share: a project with state and evidence of its own, and the host's state.

#[path = "../project/executable.rs"]
mod executable;

use assert_cmd::cargo::cargo_bin;
use camino::{Utf8Path, Utf8PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;

/// Who runs the program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// Whoever runs the tests.
    Caller,
    /// A user without any privilege, made for the tests; only root can make it.
    Ordinary,
}

/// The name of the ordinary user.
const ORDINARY: &str = "boma-lane";

/// Take away what a machine needs neither to boot nor to be logged in to: under emulation that is more than half of
/// a boot, and none of it is what is tested here.
pub(crate) const TRIM: &str = "mv /usr/bin/cloud-init /usr/bin/cloud-init.gone
mkdir -p /etc/systemd/system-generators
cp /run/systemd/network/* /etc/systemd/network/
chmod 644 /etc/systemd/network/*
for name in cloud-init-generator netplan systemd-gpt-auto-generator systemd-hibernate-resume-generator \
    systemd-rc-local-generator systemd-run-generator systemd-ssh-generator systemd-system-update-generator \
    systemd-sysv-generator systemd-tpm2-generator; do ln -sf /dev/null /etc/systemd/system-generators/$name; done
systemctl mask --quiet apparmor.service apt-daily.timer apt-daily-upgrade.timer blk-availability.service \
    containerd.service cron.service dev-hugepages.mount dev-mqueue.mount dm-event.socket docker.service docker.socket \
    e2scrub_reap.service getty@tty1.service grub-common.service logrotate.timer lvm2-lvmpolld.socket \
    lvm2-monitor.service modprobe@.service polkit.service proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount \
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount systemd-binfmt.service \
    systemd-creds.socket systemd-fsck-root.service systemd-growfs-root.service systemd-hostnamed.service \
    systemd-hostnamed.socket systemd-initctl.socket systemd-networkd-persistent-storage.service \
    systemd-networkd-wait-online.service systemd-resolved.service systemd-sysext.socket user@.service";

/// A project, state and evidence of one test.
pub(crate) struct Lane {
    _keep: tempfile::TempDir,
    pub(crate) dir: Utf8PathBuf,
    user: User,
}

impl Lane {
    pub(crate) fn new(user: User) -> Self {
        // Short, because sockets lie below it; and open to the ordinary user.
        let keep = tempfile::Builder::new().prefix("bl").tempdir_in("/var/tmp").unwrap();
        let dir = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
        let real = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["net", "overrides", "certs", "verify", "profiles", "tests/fixtures"] {
            let to = dir.join(name);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            // A virtual environment knows its own path: it stays where it was made.
            must("cp", &["-a", real.join(name).as_str(), to.as_str()]);
        }
        executable::copy(cargo_bin("boma-qemu"), dir.join("boma-qemu"));
        if user == User::Ordinary {
            make_ordinary(&dir);
        }
        Self { _keep: keep, dir, user }
    }

    /// Run the program to its end; its output is shown when the test fails.
    pub(crate) fn boma(&self, args: &[&str]) -> Ran {
        let out = self.command(args).output().unwrap();
        Ran::new(args, out)
    }

    /// The same, and its output is shown only when it fails.
    pub(crate) fn quiet(&self, args: &[&str]) -> Ran {
        let out = self.command(args).output().unwrap();
        match out.status.success() {
            true => {
                let out = String::from_utf8_lossy(&out.stdout).into_owned();
                Ran { line: args.join(" "), code: 0, text: String::new(), out }
            }
            false => Ran::new(args, out),
        }
    }

    /// Start the program, send it a signal a moment after it has said `words`, and wait for its end.
    pub(crate) fn boma_signalled(&self, args: &[&str], words: &str, signal: &str) -> Ran {
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
        while !said.contains(words) {
            assert!(std::io::BufRead::read_line(&mut lines, &mut said).unwrap() > 0, "it ended early: {said}");
        }
        // Into the middle of what the words announce.
        std::thread::sleep(std::time::Duration::from_secs(2));
        must("kill", &[signal, &child.id().to_string()]);
        std::io::Read::read_to_string(&mut lines, &mut said).unwrap();
        let mut out = child.wait_with_output().unwrap();
        out.stderr = said.into_bytes();
        Ran::new(args, out)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.other(self.dir.join("boma-qemu").as_str(), args)
    }

    /// Another program, as the same user in the same place.
    pub(crate) fn other(&self, program: &str, args: &[&str]) -> Command {
        let mut command = match self.user {
            User::Caller => Command::new(program),
            User::Ordinary => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", ORDINARY, "--regid", ORDINARY, "--clear-groups", "--inh-caps=-all", "--"]);
                command.arg(program);
                command
            }
        };
        command.args(args).current_dir(&self.dir).stdin(Stdio::null());
        for (name, folder) in [("BOMA_STATE", "s"), ("BOMA_RUNS", "runs")] {
            command.env(name, self.dir.join(folder));
        }
        if self.user == User::Ordinary {
            command.env("HOME", home_of_ordinary());
        }
        command.env_remove("BOMA_ROOT").env_remove("BOMA_REPO");
        command
    }

    /// What a command in the guest prints; it must succeed.
    pub(crate) fn guest(&self, command: &str) -> String {
        let out = self.command(&["ssh", "askari", "--", command]).output().unwrap();
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// The same for a script, as root.
    pub(crate) fn guest_as_root(&self, script: &str) -> String {
        self.guest(&format!("sudo -n sh -ec '{}'", script.replace('\'', "'\\''")))
    }

    /// The events of one kind in the journal of the VM.
    pub(crate) fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.dir.join("s/vms/askari/events.ndjson")).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        events.filter(|event| event["kind"] == kind).collect()
    }

    /// The last run's result.json.
    pub(crate) fn result(&self) -> serde_json::Value {
        serde_json::from_str(&self.evidence("result.json")).unwrap()
    }

    /// A file of the last run's evidence.
    pub(crate) fn evidence(&self, name: &str) -> String {
        let path = self.dir.join("runs/latest").join(name);
        String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))).into_owned()
    }

    /// The evidence folder of the first run; their names begin with the time.
    pub(crate) fn first_run(&self) -> Utf8PathBuf {
        let all = self.dir.join("runs").read_dir_utf8().unwrap().map(|entry| entry.unwrap().into_path());
        all.filter(|path| path.file_name().is_some_and(|name| name.ends_with("-askari"))).min().unwrap()
    }

    /// The process of the VM's monitor, by the VM's own ledger.
    fn monitor(&self) -> i64 {
        let ledger = std::fs::read_to_string(self.dir.join("s/vms/askari/ledger.ndjson")).unwrap();
        let lines = ledger.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let monitor = lines.into_iter().find(|line| line["change"]["role"] == "monitor").unwrap();
        monitor["change"]["id"]["pid"].as_i64().unwrap()
    }

    /// The memory that the VM's monitor holds, in KiB.
    pub(crate) fn monitor_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.monitor())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// SIGKILL to the VM's monitor, by the pid in the VM's own ledger.
    pub(crate) fn kill_monitor(&self) {
        let pid = self.monitor();
        must("kill", &["-9", &pid.to_string()]);
        let gone = || !Utf8Path::new(&format!("/proc/{pid}/exe")).exists();
        let start = std::time::Instant::now();
        while !gone() && start.elapsed().as_secs() < 5 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Nothing of a VM or a network is left: no folder, no process.
    pub(crate) fn is_empty(&self) {
        let start = std::time::Instant::now();
        // Killed processes take a moment to go.
        while !processes(&self.dir).is_empty() && start.elapsed().as_secs() < 3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(processes(&self.dir), Vec::<String>::new());
        // Locks stay: one that is removed could be taken twice.
        let is_lock = |path: &Utf8PathBuf| path.extension() == Some("lock");
        let entries = |path: &Utf8Path| {
            let entries = path.read_dir_utf8().into_iter().flatten();
            entries.map(|entry| entry.unwrap().into_path()).collect::<Vec<_>>()
        };
        let state = self.dir.join("s");
        let lanes = entries(&state.join("lanes"));
        let states: Vec<_> = [state.clone()].into_iter().chain(lanes).collect();
        let parts = states.iter().flat_map(|state| [state.clone(), state.join("vms"), state.join("net")]);
        for path in parts.chain(["/run/boma-qemu".into()]) {
            // A certificate that was issued is kept for the next runs.
            let stays = ["vms", "net", "lanes", "certificates"];
            let is_left = |path: &Utf8PathBuf| !is_lock(path) && !stays.contains(&path.file_name().unwrap_or_default());
            let left: Vec<_> = entries(&path).into_iter().filter(is_left).collect();
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

impl Drop for Lane {
    /// A test that failed must not leave its VM to the next one.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.boma(&["down", "askari"]);
        }
    }
}

/// The ordinary user, and a folder that is theirs.
fn make_ordinary(dir: &Utf8Path) {
    let known = Command::new("id").arg(ORDINARY).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    if !known.success() {
        must("useradd", &["--create-home", "--shell", "/usr/sbin/nologin", ORDINARY]);
    }
    // Ansible takes its user's home from the password file, whatever HOME says.
    must("install", &["-d", "-m", "0755", "-o", ORDINARY, "-g", ORDINARY, &home_of_ordinary()]);
    // On a normal Debian everybody may open it (udev); on some build machines only root may.
    must("chmod", &["0666", "/dev/net/tun"]);
    // The caller's virtual environment may lie where this user cannot look.
    let venv = dir.join("tests/fixtures/boma/.venv");
    let _ = std::fs::remove_dir_all(&venv);
    must("/usr/bin/python3", &["-m", "venv", venv.as_str()]);
    let requirements = dir.join("tests/fixtures/boma/requirements.txt");
    must(venv.join("bin/pip").as_str(), &["install", "--quiet", "--requirement", requirements.as_str()]);
    must("chown", &["-R", &format!("{ORDINARY}:{ORDINARY}"), dir.as_str()]);
}

fn home_of_ordinary() -> String {
    format!("/home/{ORDINARY}")
}

fn must(program: &str, args: &[&str]) {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A run of the program that has ended.
pub(crate) struct Ran {
    line: String,
    pub(crate) code: i32,
    text: String,
    out: String,
}

impl Ran {
    fn new(args: &[&str], out: std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (line, code) = (args.join(" "), out.status.code().unwrap_or(-1));
        let ran =
            Self { line, code, text: format!("{}{}", text(&out.stderr), text(&out.stdout)), out: text(&out.stdout) };
        eprintln!("$ boma-qemu {}\n{}", ran.line, ran.text);
        ran
    }

    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "boma-qemu {}\n{}", self.line, self.text);
        self
    }

    /// All that it said.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What it printed to standard output.
    pub(crate) fn out(&self) -> &str {
        &self.out
    }

    pub(crate) fn says(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(
                self.text.contains(word),
                "{word:?} is not in the output of boma-qemu {}\n{}",
                self.line,
                self.text
            );
        }
        self
    }
}

/// What a run must leave as it found it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HostState {
    pub(crate) links: String,
    nft: String,
    routes: String,
    sysctls: String,
}

impl HostState {
    pub(crate) fn now() -> Self {
        let text = |program: &str, args: &[&str]| {
            String::from_utf8_lossy(&Command::new(program).args(args).output().unwrap().stdout).into_owned()
        };
        let sysctl =
            |key: &str| format!("{key}={}", std::fs::read_to_string(format!("/proc/sys/{key}")).unwrap_or_default());
        let keys = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/conf/all/forwarding"];
        Self {
            links: text("ip", &["-brief", "link"]),
            nft: text("nft", &["list", "ruleset"]),
            routes: text("ip", &["route", "show", "table", "all"]),
            sysctls: keys.map(sysctl).join(""),
        }
    }

    /// The host is as it was.
    pub(crate) fn is_now(&self) {
        assert_eq!(*self, Self::now());
    }

    /// Do something, and look at the host each second of it: it is as it was all the time.
    pub(crate) fn stays_while<T>(&self, work: impl FnOnce() -> T) -> T {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let looks = scope.spawn(move || {
                let mut looks = 0;
                while ended.recv_timeout(std::time::Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                    self.is_now();
                    looks += 1;
                }
                looks
            });
            // It is dropped, and the looking ends, even if the work panics.
            let end = end;
            let done = work();
            drop(end);
            eprintln!("the host was looked at {} times", looks.join().unwrap());
            done
        })
    }
}

/// The processes that belong to a project: its folder stands in their command line or their environment.
/// A zombie is left to whoever has to reap it.
fn processes(dir: &Utf8Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let words = [read("cmdline"), read("environ")].concat();
        if String::from_utf8_lossy(&words).contains(dir.as_str()) {
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            found.push(format!("{} {line}", entry.file_name().to_string_lossy()));
        }
    }
    found
}
