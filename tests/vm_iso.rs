//! The ISO that the audit's tests run on, looked at from outside: what our reader tells of the good one and of each broken
//! variant, and that it boots by BIOS and by UEFI until its service is done.

#![allow(clippy::unwrap_used)] // a test's helpers fail by panicking

mod iso;

use boma_qemu::medium::{Loader, Medium, Platform, find_one};
use camino::{Utf8Path, Utf8PathBuf};
use iso::Variant;
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the guest may take; the machine may be busy and has no KVM.
const PATIENCE: Duration = Duration::from_secs(280);
const CONSOLE: &str = "console=ttyS0,115200";

#[test]
fn the_good_image_boots_by_both_firmwares_with_the_console_in_every_entry() {
    let medium = Medium::open(&iso::iso(Variant::Good)).unwrap();
    assert_eq!(medium.damage(), []);
    assert_eq!(medium.volume_id(), "BOMA_TEST");
    let platforms: Vec<_> = medium.boot_entries().iter().map(|entry| (entry.platform, entry.bootable)).collect();
    assert_eq!(platforms, [(Platform::Bios, true), (Platform::Efi, true)]);
    assert!(medium.efi_files().any(|(path, _)| path == "/boot/grub/efi.img:/EFI/BOOT/BOOTX64.EFI"));
    let loaders = medium.loaders();
    assert_eq!(loaders.problems, []);
    assert!(loaders.entries.iter().all(|entry| entry.boots_linux() && entry.has_arg(CONSOLE)), "{loaders:?}");
    for loader in [Loader::Syslinux, Loader::Grub] {
        let of = loaders.entries.iter().filter(|entry| entry.loader == loader);
        assert_eq!(of.map(|entry| entry.default).collect::<Vec<_>>(), [true, false], "{loader}");
    }
    for path in loaders.entries.iter().flat_map(|entry| entry.kernel.iter().chain(&entry.initrd)) {
        assert!(medium.file(path).is_some(), "{path}");
    }
    let listed = medium.squashfs("/live/root.squashfs").unwrap().files;
    for path in ["/usr/local/sbin/pre-nixos", "/etc/systemd/network/10-lan.link", "/usr/sbin/vgcreate", "/usr/bin/sudo"]
    {
        assert!(listed.iter().any(|file| file == path), "{path}");
    }
}

#[test]
fn each_broken_image_differs_from_the_good_one_in_its_own_way() {
    let entries = |variant| Medium::open(&iso::iso(variant)).unwrap().loaders().entries;
    let good = entries(Variant::Good);
    for variant in Variant::ALL {
        let broken = entries(variant);
        let added = |(good, broken): (&_, &_)| {
            let (good, broken): (&boma_qemu::medium::LoaderEntry, &boma_qemu::medium::LoaderEntry) = (good, broken);
            broken.args.split(' ').filter(|arg| !good.has_arg(arg)).map(str::to_owned).collect::<Vec<_>>()
        };
        let added: Vec<_> = good.iter().zip(&broken).map(added).collect();
        let wanted: &[&str] = match variant {
            Variant::Good | Variant::NoSerial | Variant::Truncated => &[],
            Variant::Noise => &["boma.noise", "printk.devkmsg=on"],
            Variant::FailingStorage => &["boma.break=storage"],
            Variant::NoDhcp => &["boma.break=dhcp"],
            Variant::SudoAsks => &["boma.break=sudo"],
            Variant::NeverEnds => &["boma.break=hang"],
        };
        assert_eq!(added, vec![wanted; 4], "{variant:?}");
        assert!(broken.iter().all(|entry| entry.has_arg(CONSOLE) == (variant != Variant::NoSerial)), "{variant:?}");
        let medium = Medium::open(&iso::iso(variant)).unwrap();
        assert_eq!(medium.damage().is_empty(), variant != Variant::Truncated, "{:?}", medium.damage());
    }
}

#[test]
fn of_two_images_both_are_named() {
    let error = find_one(&iso::two()).unwrap_err().to_string();
    assert!(error.starts_with("2 files match ") && error.contains("/a.iso, "), "{error}");
}

/// QEMU, which never outlives the test.
struct Guest {
    child: Child,
    keys: ChildStdin,
    console: Utf8PathBuf,
    started: Instant,
    _dir: tempfile::TempDir,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Guest {
    fn boot(image: &Utf8Path, firmware: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        std::fs::File::create(path.join("disk.raw")).unwrap().set_len(2 << 30).unwrap();
        let console = path.join("console.log");
        let args = format!(
            "-nodefaults -display none -no-reboot -accel tcg -cpu max -smp 2 -m 1024 \
             -cdrom {image} -boot d -drive if=virtio,file={path}/disk.raw,format=raw \
             -nic user,model=virtio-net-pci -device virtio-rng-pci -serial stdio"
        );
        let mut command = Command::new("qemu-system-x86_64");
        command.args(args.split_whitespace()).args(firmware).stdin(Stdio::piped());
        let mut child = command.stdout(std::fs::File::create(&console).unwrap()).spawn().unwrap();
        let keys = child.stdin.take().unwrap();
        Self { child, keys, console, started: Instant::now(), _dir: dir }
    }

    /// Wait until the console has this text.
    fn wait(&mut self, text: &str) {
        loop {
            let ended = self.child.try_wait().unwrap();
            let said = String::from_utf8_lossy(&std::fs::read(&self.console).unwrap()).into_owned();
            if said.contains(text) {
                return eprintln!("{text:?} after {:.1} s", self.started.elapsed().as_secs_f64());
            }
            let last: Vec<_> = said.lines().rev().take(15).collect();
            let in_time = self.started.elapsed() < PATIENCE && ended.is_none();
            assert!(in_time, "no {text:?} (QEMU: {ended:?}); the console's last lines, upwards: {last:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Boot until the user is logged in, and ask what came of it. The answers are built so that the echo has none of them.
fn boots(firmware: &[&str]) {
    let mut guest = Guest::boot(&iso::iso(Variant::Good), firmware);
    guest.wait("nixos login: nixos (automatic login)");
    guest.wait("nixos@nixos:~]$");
    let ask = "while systemctl show -p ActiveState pre-nixos | grep -q activating; do sleep 0.2; done
        n=0; until ip -4 -br addr show lan | grep -q 10.0.2.15 || [ $((n += 1)) -gt 100 ]; do sleep 0.2; done
        echo \"answer-\"$(tr '\\n' ' ' < /run/pre-nixos/storage-status)
        echo \"user-\"$(id -un) \"root-\"$(sudo -n id -u) \"volume-\"$(sudo -n lvs --noheadings -o lv_full_name | tr -d ' ')
        echo \"address-\"$(ip -4 -br addr show lan | tr -s ' ')
        sudo -n systemctl poweroff\n";
    guest.keys.write_all(ask.as_bytes()).unwrap();
    guest.wait("answer-STATE=applied DETAIL=auto-applied");
    guest.wait("user-nixos root-0 volume-main/slash");
    guest.wait("address-lan UP 10.0.2.15/24");
    guest.wait("reboot: Power down");
}

#[test]
fn the_good_image_boots_by_bios() {
    boots(&[]);
}

#[test]
fn the_good_image_boots_by_uefi() {
    boots(&["-machine", "q35", "-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"]);
}
