//! This project, with state and evidence of its own.

use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{Dirs, names_in};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use vm::machine::VmDir;
use vm::monitor::events::{monotonic, read_all};

/// The mirrored host that is booted.
pub(crate) const HOST: &str = "askari";
/// How often it is looked whether a login has succeeded.
pub(crate) const LOOK: Duration = Duration::from_millis(5);
/// No boot takes longer, not even under emulation on a busy machine.
pub(crate) const BOOT_LIMIT: Duration = Duration::from_secs(600);

/// The program and its folders. Dropping it takes down what is up.
pub(crate) struct Project {
    _keep: tempfile::TempDir,
    pub(crate) dirs: Dirs,
}

/// One `up`, in seconds.
pub(crate) struct Up {
    /// From the start of the process to the first login.
    pub(crate) login: f64,
    /// From the start of the process until QEMU runs the guest.
    pub(crate) before_guest: f64,
}

impl Project {
    pub(crate) fn new() -> Self {
        // Short, because sockets lie below it.
        let keep = tempfile::Builder::new().prefix("bb").tempdir_in("/var/tmp").unwrap();
        let dir = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
        let real = Dirs::resolve(Some(Utf8Path::new(env!("CARGO_MANIFEST_DIR")))).unwrap();
        let dirs = Dirs { state: dir.join("s"), runs: dir.join("runs"), ..real };
        Self { _keep: keep, dirs }
    }

    /// The program that is measured: the one that was built with this.
    pub(crate) fn exe() -> &'static Utf8Path {
        Utf8Path::new(env!("CARGO_BIN_EXE_boma-qemu"))
    }

    pub(crate) fn binary_bytes(&self) -> u64 {
        Self::exe().metadata().unwrap().len()
    }

    /// The folder of the VM.
    pub(crate) fn vm(&self) -> VmDir {
        VmDir::of(&self.dirs, &HOST.parse().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(Self::exe());
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("BOMA_ROOT", &self.dirs.root).env("BOMA_STATE", &self.dirs.state);
        command.env("BOMA_RUNS", &self.dirs.runs).env("BOMA_IT_CACHE", &self.dirs.cache).env_remove("BOMA_REPO");
        command
    }

    /// Run the program to its end; seconds.
    pub(crate) fn timed(&self, args: &[&str]) -> f64 {
        let start = Instant::now();
        let status = self.command(args).status().unwrap();
        let seconds = start.elapsed().as_secs_f64();
        assert!(status.success(), "boma-qemu {args:?}: {status}");
        seconds
    }

    /// Bring up the VM, and wait until it has settled.
    pub(crate) fn up(&self, options: &[&str]) -> Up {
        let (start, start_mono) = (Instant::now(), monotonic());
        let mut child = self.command(&[&["up", HOST], options].concat()).spawn().unwrap();
        let login = first_login(&self.vm(), &start, &mut child);
        let status = child.wait().unwrap();
        assert!(status.success(), "boma-qemu up {HOST}: {status}");
        let events = read_all(&self.vm().events()).unwrap();
        let started = events.iter().find(|event| event.kind() == "qemu-started").unwrap();
        Up { login, before_guest: started.mono - start_mono }
    }

    /// Bring the VM back to a snapshot: seconds to the first login, and to the end of the proof.
    pub(crate) fn reset(&self, snapshot: &str) -> (f64, f64) {
        let args = ["reset", HOST, "--to", snapshot, "--json"];
        let out = self.command(&args).stdout(Stdio::piped()).output().unwrap();
        assert!(out.status.success(), "boma-qemu {args:?}: {}", out.status);
        let text = String::from_utf8(out.stdout).unwrap();
        let line = text.lines().find(|line| line.contains("\"event\":\"restore\"")).unwrap();
        let restore = &serde_json::from_str::<serde_json::Value>(line).unwrap()["restore"];
        (restore["ssh_s"].as_f64().unwrap(), restore["total_s"].as_f64().unwrap())
    }

    /// What the monitor of the running VM holds in memory.
    pub(crate) fn monitor_bytes(&self) -> f64 {
        let ledger = std::fs::read_to_string(self.vm().ledger()).unwrap();
        let mut lines = ledger.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let monitor = lines.find(|line| line["change"]["role"] == "monitor").unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", monitor["change"]["id"]["pid"])).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
    }
}

/// Seconds until `child`'s ssh master has made its socket, which it does once it is logged in.
fn first_login(vm: &VmDir, start: &Instant, child: &mut Child) -> f64 {
    // The first of its sockets, whichever number that login has; ssh binds one under a longer name first.
    let begins = format!("m{}.", child.id());
    let is_socket = |name: &String| name.strip_prefix(&begins).is_some_and(|number| !number.contains('.'));
    let there = || names_in(&vm.keys()).is_ok_and(|names| names.iter().any(is_socket));
    loop {
        if there() {
            return start.elapsed().as_secs_f64();
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended before the first login");
        assert!(start.elapsed() < BOOT_LIMIT, "no login");
        std::thread::sleep(LOOK);
    }
}

impl Drop for Project {
    /// A measurement that failed must not leave its VM.
    fn drop(&mut self) {
        let _ = self.command(&["down", HOST]).status();
    }
}
