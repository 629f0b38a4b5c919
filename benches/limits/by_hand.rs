//! The same VM without the program: QEMU from a command line, and ssh until it answers.

use crate::project::{BOOT_LIMIT, LOOK, Project};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::Dirs;
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use vm::machine::VmDir;
use vm::network::{self, NetPlan, Network};
use vm::qemu::{self, Cable, Fds, MEMORY_SET, Machine, Overlay, Storage, argv};
use vm::ssh::{Ssh, Ways, write_ways};

/// The pause after ssh was refused; less would take the processor from the guest.
const PAUSE: Duration = Duration::from_millis(50);

/// All that a person would have ready: network, tap, seed, keys, and the image to put an overlay on.
pub(crate) struct ByHand {
    _keep: tempfile::TempDir,
    dirs: Dirs,
    vm: VmDir,
    machine: Machine,
    /// What `qemu-img` says of the overlay that `up` made.
    overlay: Value,
    network: Network,
}

impl ByHand {
    /// The like of the VM that is up.
    pub(crate) fn like(project: &Project) -> Self {
        let keep = tempfile::Builder::new().prefix("bh").tempdir_in("/var/tmp").unwrap();
        let state = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
        let (vm, real) = (VmDir::at(state.join("vm")), project.vm());
        std::fs::create_dir_all(vm.path()).unwrap();
        must(Command::new("cp").args(["-a", real.keys().as_str(), real.seed().as_str(), vm.path().as_str()]));
        let _ = std::fs::remove_file(vm.keys().join("mux"));
        let machine = Machine::load(&real.machine()).unwrap();
        let real_overlay = machine.overlay().unwrap().clone();
        let overlay = Overlay { disk: vm.disk(), memory: vm.memory(), seed: vm.seed(), ..real_overlay };
        let machine = Machine { storage: Storage::Overlay(overlay), ..machine };
        let info =
            Command::new("qemu-img").args(["info", "-U", "--output=json", real.disk().as_str()]).output().unwrap();
        let plan: Value = serde_json::from_slice(&std::fs::read(real.plan()).unwrap()).unwrap();
        let user = plan["profile"]["user"].as_str().unwrap();
        let plan: NetPlan = serde_json::from_value(plan["net"].clone()).unwrap();
        write_ways(&vm, &Ways::fresh(plan.vm.ip, user)).unwrap();
        let dirs = Dirs { state, ..project.dirs.clone() };
        let network = network::ensure_as(Project::exe(), &dirs, &plan).unwrap();
        let (tap, bridge) = tap(&machine);
        must(&mut within(&network.enter_net_admin(), &["ip", "tuntap", "add", "dev", tap, "mode", "tap", "vnet_hdr"]));
        let up = ["ip", "link", "set", "dev", tap, "master", bridge, "addrgenmode", "none", "up"];
        must(&mut within(&network.enter_net_admin(), &up));
        Self { _keep: keep, dirs, vm, machine, overlay: serde_json::from_slice(&info.stdout).unwrap(), network }
    }

    /// Boot, log in, pull the plug: seconds from the start of QEMU to the first login.
    pub(crate) fn first_login(&self) -> f64 {
        self.fresh_overlay();
        let start = Instant::now();
        let mut qemu = Running(quiet(&mut within(&self.network.enter_bound(), &self.command_line())));
        let socket = self.vm.keys().join("mux");
        let ssh = Ssh::new(&self.vm, self.network.enter_bound());
        let login = ssh.argv(&["-o", "ConnectTimeout=2", "-M", "-N", "-S", socket.as_str()], &[]);
        loop {
            let mut master = Running(quiet(&mut within(&[], &login)));
            while master.0.try_wait().unwrap().is_none() {
                if socket.exists() {
                    let seconds = start.elapsed().as_secs_f64();
                    drop(master);
                    std::fs::remove_file(&socket).unwrap();
                    return seconds;
                }
                std::thread::sleep(LOOK);
            }
            assert!(qemu.0.try_wait().unwrap().is_none(), "QEMU has ended");
            assert!(start.elapsed() < BOOT_LIMIT, "no login");
            std::thread::sleep(PAUSE);
        }
    }

    fn fresh_overlay(&self) {
        let text = |key: &str| self.overlay[key].as_str().unwrap().to_owned();
        let (format, image) = (text("backing-filename-format"), text("full-backing-filename"));
        let size = self.overlay["virtual-size"].to_string();
        qemu::disk::make(self.machine.overlay().unwrap(), Utf8Path::new(&image), &format, &size).unwrap();
    }

    /// The program's own command line; where it hands over descriptors, a tap by its name, the disk and the other
    /// files by their paths, and a file for the console. It runs at once, since nobody is there to say go.
    fn command_line(&self) -> Vec<String> {
        let shown = Fds::shown(&self.machine);
        let all = argv(&self.machine, &shown);
        let overlay = self.machine.overlay().unwrap();
        let golden = overlay.golden.as_ref().map_or("", |golden| golden.path.as_str());
        let set = |fd: std::os::fd::RawFd| fd.to_string();
        let open = [
            (set(shown.golden), golden),
            (MEMORY_SET.to_string(), overlay.memory.as_str()),
            (set(shown.seed), overlay.seed.as_str()),
        ];
        let (tap, log) = (tap(&self.machine).0, self.vm.console());
        let is_qmp = |value: &str| value.starts_with("socket,id=qmp0") || value.starts_with("chardev=qmp0");
        let mut line = Vec::new();
        for word in all {
            match word.as_str() {
                "-S" | "-add-fd" => {}
                value if value.starts_with("fd=") => {}
                value if is_qmp(value) => drop(line.pop()),
                value if value.starts_with("tap,id=net0") => {
                    line.push(format!("tap,id=net0,ifname={tap},script=no,downscript=no"));
                }
                value if value.starts_with("driver=nbd,node-name=drive") => {
                    line.push(format!("driver=file,node-name=drive,filename={}", overlay.disk));
                }
                value if value.starts_with("socket,id=serial0") => line.push(format!("file,id=serial0,path={log}")),
                _ => line
                    .push(open.iter().fold(word, |word, (set, path)| word.replace(&format!("/dev/fdset/{set}"), path))),
            }
        }
        line
    }
}

/// The machine's tap and bridge.
fn tap(machine: &Machine) -> (&str, &str) {
    match &machine.cable {
        Cable::Tap { tap, bridge } => (tap.as_str(), bridge.as_str()),
        other => panic!("no tap, but {other:?}"),
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let leaks = network::release(&self.dirs, &self.network.plan().name);
        println!("the hand's network is gone: {leaks:?}");
    }
}

/// A child that does not outlive its use.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn within<S: AsRef<str>>(prefix: &[String], argv: &[S]) -> Command {
    let mut words = prefix.iter().map(String::as_str).chain(argv.iter().map(AsRef::as_ref));
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

fn quiet(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn must(command: &mut Command) {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}
