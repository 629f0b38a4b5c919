//! The seed image, read back by a real guest: the kernel's isofs (Rock Ridge, Joliet and the plain tree)
//! and cloud-init itself, over the names and sizes around the 2048-byte sector.
//!
//! It boots the golden image under TCG until cloud-init has read its seed, about half a minute. The guest
//! answers on a second serial port, where nothing but this test writes.

#![allow(clippy::unwrap_used)] // a test's helpers fail by panicking

mod golden;

use boot_media::seed::iso::{File, write};
use camino::Utf8Path;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the guest may take; the machine may be busy and has no KVM.
const PATIENCE: Duration = Duration::from_secs(240);

/// What the guest does as soon as cloud-init has read its data, then it switches itself off.
const SCRIPT: &str = r#"
exec >/dev/ttyS1 2>&1; stty -F /dev/ttyS1 raw
cd /; disk=$(blkid -L cidata); echo "disk $(blkid -p -s TYPE -o value $disk)"
for tree in nojoliet norock norock,nojoliet; do
    mount -t iso9660 -o ro,$tree $disk /mnt || echo "mount failed"
    (cd /mnt && find . -type f -exec sha256sum {} +) | sed "s/^/$tree /"
    umount /mnt
done
echo "user-data $(sha256sum </var/lib/cloud/instance/user-data.txt)"
echo "datasource $(cat /var/lib/cloud/instance/datasource)"
echo end
systemctl poweroff -ff
"#;

/// QEMU, which never outlives the test.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status();
    assert!(status.unwrap_or_else(|e| panic!("cannot run {program}: {e}")).success(), "{program} {args:?}");
}

fn boot(dir: &Utf8Path) -> Guest {
    let disk = dir.join("disk.qcow2");
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", golden::golden().as_str(), disk.as_str()]);
    let args = format!(
        "-nodefaults -display none -no-reboot -machine q35 -accel tcg -cpu max -smp 2 -m 1024 \
         -drive if=virtio,file={disk},format=qcow2,discard=unmap \
         -drive if=virtio,file={dir}/seed.iso,format=raw,readonly=on \
         -nic user,restrict=on,model=virtio-net-pci -device virtio-rng-pci \
         -smbios type=1,serial=ds=nocloud;i=boma-it-seed;dsmode=net \
         -serial file:{dir}/console.log -serial file:{dir}/answer.txt"
    );
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(args.split_whitespace()).stdin(Stdio::null());
    Guest(qemu.spawn().unwrap_or_else(|e| panic!("cannot run qemu-system-x86_64: {e}; `.ci/install` installs it")))
}

/// Wait until the guest has switched itself off, and hand back what it answered.
fn answer(dir: &Utf8Path, mut guest: Guest) -> String {
    let start = Instant::now();
    while guest.0.try_wait().unwrap().is_none() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    let read = |name: &str| String::from_utf8_lossy(&std::fs::read(dir.join(name)).unwrap()).into_owned();
    let (answer, console) = (read("answer.txt"), read("console.log"));
    let last: Vec<_> = console.lines().rev().take(15).collect();
    let waited = start.elapsed();
    assert!(answer.contains("\nend"), "no answer after {waited:?}: {answer}\nconsole, newest first: {last:#?}");
    answer
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251 + length % 7) as u8).collect()
}

/// A seed whose user data spans many sectors, beside every odd name and size.
fn files() -> Vec<File> {
    let config = serde_json::json!({ "bootcmd": [["sh", "-c", SCRIPT]], "users": [] });
    let user_data = format!("#cloud-config\n{config}\n#{}\n", "x".repeat(70_000));
    let mut files = vec![File::new("meta-data", "instance-id: boma-it-seed\n"), File::new("user-data", user_data)];
    files.extend([0, 1, 2047, 2048, 2049, 4095, 4096, 4097].map(|n| File::new(format!("size-{n}"), bytes(n))));
    let odd = ["UPPER.Lower", ".hidden", "with space", "café", "日本語.txt", "user-data-1", "user-data-2"];
    files.extend(odd.map(|name| File::new(name, name)));
    files.extend([64, 103].map(|n| File::new("n".repeat(n), bytes(n))));
    files.extend((0..30).map(|n| File::new(format!("{n:02}{}", "é".repeat(90)), bytes(n))));
    files.extend((0..60).map(|n| File::new(format!("file-{n:03}.cfg"), bytes(n * 37))));
    files
}

#[test]
fn a_guest_reads_the_seed_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(folder.path()).unwrap();
    let files = files();
    std::fs::write(dir.join("seed.iso"), write("cidata", &files, 1_795_173_699).unwrap()).unwrap();
    let answer = answer(dir, boot(dir));

    let wanted: BTreeMap<_, _> = files.iter().map(|f| (format!("./{}", f.name), hash(&f.bytes))).collect();
    let tree = |name: &str| -> BTreeMap<String, String> {
        let lines = answer.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        lines.filter_map(|line| line.split_once("  ")).map(|(sum, file)| (file.into(), sum.into())).collect()
    };
    for name in ["nojoliet", "norock"] {
        assert!(tree(name) == wanted, "mounted {name}, the guest read otherwise: {answer}");
    }
    let sorted = |files: BTreeMap<String, String>| {
        let mut sums: Vec<_> = files.into_values().collect();
        sums.sort_unstable();
        sums
    };
    assert!(sorted(tree("norock,nojoliet")) == sorted(wanted), "the plain tree differs: {answer}");

    let has = |line: String| assert!(answer.lines().any(|l| l.starts_with(&line)), "no {line:?} in: {answer}");
    has("disk iso9660".into());
    has(format!("user-data {}", hash(&files[1].bytes)));
    has("datasource DataSourceNoCloud: DataSourceNoCloud [seed=dmi,/dev/vdb]".into());
}
