//! Machines that boot from media: a CD of 42 KiB made here, blank disks, BIOS and UEFI, three kinds of network.
//!
//! Needs root: one of them has a bridge, and one is started as a user who has no privilege at all.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test's helpers fail by panicking, and tell what they saw

use boma_qemu::jobs::media::{Booted, Wanted, boot_media_as};
use boma_qemu::jobs::{Context, Progress, down};
use camino::{Utf8Path, Utf8PathBuf};
use host::deadline::Deadline;
use host::dirs::Dirs;
use host::names::{HostName, MiB};
use regex::Regex;
use serde_json::{Value, json};
use std::os::unix::fs::FileExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use vm::console::allow::Allowed;
use vm::monitor::QemuStatus;
use vm::monitor::events::read_all;
use vm::network::Mode;
use vm::qemu::boot::Boot;
use vm::qemu::firmware::Firmware;
use vm::qemu::{Machine, media::First};
use vm::serial::{Credentials, Dialect, Serial, SerialError};

/// On an idle machine the CD speaks after a second and UEFI after ten; others may need the machine, too.
const SOON: Duration = Duration::from_secs(240);

/// Says `text`, then resets the machine by the chipset's own port (0xcf9) once a byte comes.
fn sector(text: &str) -> Vec<u8> {
    let mut code = vec![0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xfc, 0xbe, 0, 0x7c];
    let next = code.len();
    code.extend([0xac, 0x84, 0xc0, 0x74, 0]);
    let ends = code.len();
    code.extend([0x88, 0xc4, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xfb, 0xb2, 0xf8, 0x88, 0xe0, 0xee]);
    code.extend([0xeb, u8::try_from(0x100 + next - code.len() - 2).unwrap()]);
    code[ends - 1] = u8::try_from(code.len() - ends).unwrap();
    // Until a byte is there; then the reset.
    code.extend([0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0xba, 0xf9, 0x0c, 0xb0, 0x02, 0xee, 0xb0, 0x06, 0xee]);
    code.extend([0xeb, 0xfe]);
    code[7] = u8::try_from(code.len()).unwrap();
    code.extend(text.bytes().chain([0]));
    code.resize(510, 0);
    code.extend([0x55, 0xaa]);
    code
}

/// A CD that boots without emulation ("El Torito" 1.0): descriptors at 16, the boot catalogue at 19, its image at 20.
fn cd(text: &str) -> Vec<u8> {
    let mut cd = vec![0; 21 * 2048];
    let mut put = |at: usize, bytes: &[u8]| cd[at..at + bytes.len()].copy_from_slice(bytes);
    put(16 * 2048, b"\x01CD001\x01");
    put(17 * 2048, b"\x00CD001\x01EL TORITO SPECIFICATION");
    put(17 * 2048 + 0x47, &19_u32.to_le_bytes());
    put(18 * 2048, b"\xffCD001\x01");
    // The validation entry's words add up to 0.
    put(19 * 2048, &[1, 0]);
    put(19 * 2048 + 28, &[0xaa, 0x55, 0x55, 0xaa]);
    put(19 * 2048 + 32, &[0x88, 0, 0, 0, 0, 0, 4, 0, 20, 0, 0, 0]);
    put(20 * 2048, &sector(text));
    cd
}

struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str) {}
    fn end(&self, _: &str, _: f64, _: &str, _: bool) {}
    fn note(&self, text: &str) {
        println!("note: {text}");
    }
    fn output(&self, _: &str) {}
    fn trace(&self, _: &str) {}
}

/// Folders of a test's own, with a CD in them.
struct World {
    dirs: Dirs,
    host: HostName,
    _keep: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        // Where a test failed: what its ledgers name never outlives it.
        self.boma(&["prune", "--all"]);
    }
}

impl World {
    fn new() -> Self {
        let keep = tempfile::Builder::new().prefix("bm").tempdir_in("/var/tmp").unwrap();
        let state = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
        std::fs::write(state.join("cd.iso"), cd("from the CD\r\n")).unwrap();
        let root = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let dirs = Dirs { root, state: state.join("s"), cache: state.join("c"), runs: state.join("r") };
        Self { dirs, host: "tiny".parse().unwrap(), _keep: keep }
    }

    async fn boot(&self, mut boot: Value) -> Booted {
        boot["iso"] = json!(self.dirs.state.parent().unwrap().join("cd.iso"));
        boot["mem_mib"] = json!(256);
        boot["vcpus"] = json!(1);
        let boot: Boot = serde_json::from_value(boot).unwrap();
        let wanted = Wanted {
            name: &self.host,
            boot: &boot,
            mode: Mode::Namespace,
            allowed: &Allowed::default(),
            min_free: MiB(256),
            ttl: None,
        };
        boot_media_as(exe(), &self.context(), &wanted).await.unwrap_or_else(|failure| panic!("{failure}"))
    }

    fn context(&self) -> Context<'_> {
        Context { dirs: &self.dirs, progress: &Silent }
    }

    /// A command of the program, in these folders.
    fn boma(&self, args: &[&str]) -> Output {
        let Dirs { root, state, cache, runs } = &self.dirs;
        let folders = [("BOMA_ROOT", root), ("BOMA_STATE", state), ("BOMA_IT_CACHE", cache), ("BOMA_RUNS", runs)];
        let output = Command::new(exe()).args(args).envs(folders).output().unwrap();
        println!("{args:?}: {}", String::from_utf8_lossy(&output.stdout).trim());
        output
    }

    /// Take it down, and find nothing of it.
    async fn down(&self) {
        let removed = down::down(&self.context(), &self.host).await.unwrap();
        assert!(removed.leaks.is_empty() && removed.vms == [self.host.clone()], "{removed:?}");
        assert!(!self.dirs.state.join("vms/tiny").exists());
        let said = self.boma(&["status"]);
        // Others on this host may have promised memory, which is told behind it.
        assert_eq!(String::from_utf8_lossy(&said.stdout).lines().next(), Some("nothing is running"));
    }
}

fn exe() -> &'static Utf8Path {
    Utf8Path::new(env!("CARGO_BIN_EXE_boma-qemu"))
}

/// How often the console has said something.
fn said(vm: &Booted, text: &str) -> usize {
    String::from_utf8_lossy(&std::fs::read(vm.vm.console()).unwrap_or_default()).matches(text).count()
}

async fn says(vm: &Booted, text: &str, times: usize) {
    let start = Instant::now();
    while said(vm, text) < times {
        let console = std::fs::read(vm.vm.console()).unwrap_or_default();
        assert!(start.elapsed() < SOON, "{text:?} is not said {times} times: {:?}", String::from_utf8_lossy(&console));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn monitor(vm: &Booted, command: &str) -> String {
    let arguments = json!({"command-line": command});
    vm.client.qmp("human-monitor-command", arguments, SOON).await.unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_cd_is_booted_once_and_then_the_disk_however_the_machine_is_restarted() {
    let world = World::new();
    let disks = json!([
        {"size_mib": 8, "format": "raw"},
        {"size_mib": 16, "bus": "virtio-scsi", "serial": "data"},
        {"size_mib": 16, "bus": "virtio-blk"},
    ]);
    let vm = world.boot(json!({"once": true, "disks": disks, "net": "none"})).await;
    says(&vm, "from the CD\r\n", 1).await;
    let status = world.boma(&["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains(&format!("tiny: running as {}, tcg", vm.machine.name)));
    // As an installer would: the first disk, blank until now, gets a boot sector.
    let disk = vm.vm.path().join("disk0.raw");
    assert!(std::fs::read(&disk).unwrap().iter().all(|byte| *byte == 0));
    let file = std::fs::OpenOptions::new().write(true).open(&disk).unwrap();
    file.write_all_at(&sector("from the disk\r\n"), 0).unwrap();
    // 1. The guest's own reset. 2. QEMU's. 3. A new QEMU.
    vm.client.console_write(b"x", SOON).await.unwrap();
    says(&vm, "from the disk\r\n", 1).await;
    vm.client.qmp("system_reset", Value::Null, SOON).await.unwrap();
    says(&vm, "from the disk\r\n", 2).await;
    vm.client.power_cycle().await.unwrap();
    says(&vm, "from the disk\r\n", 3).await;
    assert_eq!(said(&vm, "from the CD"), 1);
    assert_eq!(Machine::load(&vm.vm.machine()).unwrap().media().unwrap().first, First::Disk);
    let refused = vm.client.power_loss().await.unwrap_err().to_string();
    assert!(refused.contains("no power loss can be shown"), "{refused}");
    assert!(matches!(vm.client.status().await.unwrap().qemu, QemuStatus::Running { .. }));
    let block = monitor(&vm, "info block").await;
    assert!(block.contains("disk1-node") && block.contains("disk2-node"), "{block}");
    // It is no mirrored host.
    let refused = world.boma(&["ssh", "tiny", "--", "true"]);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    // Kept on purpose, it survives a prune, and a second one is refused.
    vm.keep().unwrap();
    assert!(String::from_utf8_lossy(&world.boma(&["prune"]).stdout).contains("nothing was there"));
    assert!(vm.vm.is_alive());
    world.down().await;
}

#[tokio::test]
async fn a_cd_without_once_comes_first_each_time() {
    let world = World::new();
    let vm = world.boot(json!({"disks": [{"size_mib": 8}], "net": "user"})).await;
    says(&vm, "from the CD\r\n", 1).await;
    let network = monitor(&vm, "info network").await;
    assert!(network.contains("type=user") && network.contains("restrict=on"), "{network}");
    vm.client.console_write(b"x", SOON).await.unwrap();
    says(&vm, "from the CD\r\n", 2).await;
    vm.client.power_cycle().await.unwrap();
    says(&vm, "from the CD\r\n", 3).await;
    world.down().await;
}

#[tokio::test]
async fn a_wait_on_the_serial_line_finds_what_comes_and_ends_with_the_machine() {
    let world = World::new();
    let vm = world.boot(json!({"net": "none"})).await;
    let mut serial = Serial::over(&vm.vm).await.unwrap();
    let patterns = |text: &str| [Regex::new("login:").unwrap(), Regex::new(text).unwrap()];
    let deadline = Deadline::after(SOON);
    assert_eq!(serial.expect("the CD's words", &patterns("^from the CD$"), &deadline).await.unwrap().which, 1);
    // What was seen is not seen again; what comes after a reset is.
    let again =
        serial.expect("them again", &patterns("from the CD"), &Deadline::after(Duration::from_millis(500))).await;
    assert!(matches!(again, Err(SerialError::TimedOut { .. })), "{again:?}");
    serial.type_in(b"x").await.unwrap();
    serial.expect("the CD's words", &patterns("^from the CD$"), &deadline).await.unwrap();
    // QEMU dies while somebody waits for something else.
    let start = Instant::now();
    let never = patterns("never");
    let QemuStatus::Running { process, .. } = vm.client.status().await.unwrap().qemu else { panic!("it does not run") };
    let (lost, _) =
        tokio::join!(serial.expect("what never comes", &never, &deadline), async { process.end(Duration::ZERO) });
    let said = lost.unwrap_err();
    println!("after {:?}: {said}", start.elapsed());
    assert!(matches!(&said, SerialError::Lost { why, .. } if why.contains("QEMU has ended")), "{said}");
    assert!(said.to_string().contains("from the CD"), "the last lines are in it: {said}");
    assert!(start.elapsed() < Duration::from_secs(10));
    // And so for whoever comes later.
    let start = Instant::now();
    let mut late = Serial::over(&vm.vm).await.unwrap();
    let who = Credentials::user("nixos");
    assert!(late.login(&Dialect::debian(), &who, &Deadline::after(SOON)).await.is_err());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    world.down().await;
}

#[tokio::test]
async fn uefi_has_variables_of_its_own_and_speaks_on_the_console() {
    let world = World::new();
    let delivered = std::fs::read(Firmware::Uefi.delivered().unwrap().unwrap()[1]).unwrap();
    let vm = world.boot(json!({"firmware": "uefi", "disks": [{"size_mib": 8}], "net": "none"})).await;
    // The CD has nothing for UEFI, and the firmware says what it tried.
    says(&vm, "BdsDxe: ", 1).await;
    println!("{:?}", String::from_utf8_lossy(&std::fs::read(vm.vm.console()).unwrap()));
    assert_ne!(std::fs::read(vm.vm.vars()).unwrap(), delivered, "it wrote into its own");
    assert_eq!(std::fs::read(Firmware::Uefi.delivered().unwrap().unwrap()[1]).unwrap(), delivered);
    world.down().await;
}

#[tokio::test]
async fn a_machine_on_the_bridge_is_in_a_network_that_goes_with_it() {
    let world = World::new();
    let vm = world.boot(json!({"net": "bridge"})).await;
    says(&vm, "from the CD\r\n", 1).await;
    assert!(monitor(&vm, "info network").await.contains("type=tap"));
    let status = world.boma(&["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("egress None"), "{status:?}");
    world.down().await;
}

#[test]
fn the_networking_of_qemus_own_takes_no_privilege() {
    let keep = tempfile::Builder::new().prefix("bn").tempdir_in("/var/tmp").unwrap();
    nix::unistd::chown(keep.path(), Some(65534.into()), Some(65534.into())).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]);
    command.arg(std::env::current_exe().unwrap()).args(["--ignored", "--exact", "as_a_user_without_privileges"]);
    let out = command.arg("--nocapture").env("TMPDIR", keep.path()).env("HOME", keep.path()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    println!("{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("1 passed"));
}

#[tokio::test]
#[ignore = "started as another user by the_networking_of_qemus_own_takes_no_privilege"]
async fn as_a_user_without_privileges() {
    assert_eq!(nix::unistd::geteuid().as_raw(), 65534);
    let world = World::new();
    let vm = world.boot(json!({"disks": [{"size_mib": 8, "format": "raw"}], "net": "user"})).await;
    says(&vm, "from the CD\r\n", 1).await;
    let events = read_all(&vm.vm.events()).unwrap();
    let started = events.iter().find(|event| event.kind() == "qemu-started").unwrap();
    println!("confined: {}", started.data()["confined"]);
    assert_eq!(started.data()["confined"]["user"], 65534);
    assert!(monitor(&vm, "info network").await.contains("restrict=on"));
    world.down().await;
}
