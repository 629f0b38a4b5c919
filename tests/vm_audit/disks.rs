//! Disk images: the golden image that was built here, with a login of root on its console, and two that are each broken in
//! one way. The good one is booted from an overlay.

use crate::audits::audit;
use crate::golden;
use serde_json::{Value, json};
use std::process::Command;

/// A login of root on the serial console, as a drop-in.
const AUTOLOGIN: &str = "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear - $TERM\n";
const GETTY: &str = "/etc/systemd/system/serial-getty@ttyS0.service.d";

fn tool(program: &str, args: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let out = Command::new(program).args(args).env("PATH", path).output();
    let out = out.unwrap_or_else(|e| panic!("cannot run {program}: {e}; `.ci/install` installs it"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// The golden image as a raw disk, and where its root file system begins.
struct Raw {
    dir: tempfile::TempDir,
    root: u64,
}

impl Raw {
    fn new() -> Self {
        let raw = Self { dir: tempfile::tempdir_in("/var/tmp").unwrap(), root: 0 };
        let path = raw.path("disk.raw");
        tool("qemu-img", &["convert", "-O", "raw", golden::golden().as_str(), &path]);
        let table: Value = serde_json::from_str(&tool("sfdisk", &["--json", &path])).unwrap();
        let parts = table["partitiontable"]["partitions"].as_array().unwrap();
        let largest = parts.iter().max_by_key(|part| part["size"].as_u64()).unwrap();
        Self { root: largest["start"].as_u64().unwrap() * 512, ..raw }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// A command of debugfs on the root file system, which nothing has mounted; it says nothing of its own failures.
    fn debugfs(&self, command: &str) -> String {
        tool("debugfs", &["-w", "-R", command, &format!("{}?offset={}", self.path("disk.raw"), self.root)])
    }

    /// Put a file in the place of another, or where none is.
    fn put(&self, path: &str, text: &str) {
        std::fs::write(self.path("text"), text).unwrap();
        self.debugfs(&format!("rm {path}"));
        self.debugfs(&format!("write {} {path}", self.path("text")));
        assert_eq!(self.debugfs(&format!("cat {path}")), text);
    }

    fn qcow2(&self, name: &str) -> String {
        let to = self.path(name);
        tool("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &self.path("disk.raw"), &to]);
        to
    }
}

/// What is looked at in the image, and what of its machine.
fn profile() -> Value {
    let condition = |id: &str, phase: &str, probe: Value, after: &[&str]| json!({"id": id, "phase": phase, "what": id, "hint": "fix it", "probe": probe, "after": after});
    let image = ["whole", "fstab", "loader-files", "loader-labels"];
    let mut all: Vec<_> = image.iter().map(|name| condition(name, "image", json!({*name: {}}), &[])).collect();
    let serial = json!({"loader-args": {"expect": ["console=ttyS0,115200*"], "entries": "default"}});
    all.push(condition("serial", "image", serial, &[]));
    all.push(condition("login", "runtime", json!({"login": {}}), &image));
    let root = json!({"command": {"run": "findmnt -no SOURCE /; cat /sys/block/vda/serial", "expect": "/dev/vda[0-9]+\nimage"}});
    all.push(condition("first-disk", "runtime", root, &["login"]));
    let blank = json!({"disk-blank-before": {"disk": 0}});
    all.push(condition("second-disk-blank", "runtime", blank, &["login"]));
    json!({
        "kind": "audit", "image": "disk.qcow2",
        "machine": {"mem_mib": 1024, "disks": [{"size_mib": 64}]},
        "guest": {"dialect": "debian", "user": "root"},
        "conditions": all,
    })
}

#[test]
fn a_disk_image_is_red_for_what_it_lacks_and_boots_from_an_overlay_when_it_lacks_nothing() {
    let raw = Raw::new();
    raw.debugfs(&format!("mkdir {GETTY}"));
    raw.put(&format!("{GETTY}/autologin.conf"), AUTOLOGIN);
    let good = raw.qcow2("good.qcow2");
    let before = std::fs::read(&good).unwrap();
    let done = audit(&good, |all| *all = profile());
    assert_eq!((done.code, done.with("passed").len()), (0, 8), "{}", done.told);
    assert!(std::fs::read(&good).unwrap() == before, "the image was written to");
    // One UUID of the table of mounts is wrong: the boot would wait for it.
    let fstab = raw.debugfs("cat /etc/fstab");
    let wrong = "0b8e3a52-6a4e-4f0e-9d3f-2d0f3f6c1a02";
    raw.put("/etc/fstab", &format!("{fstab}UUID={wrong} /srv ext4 defaults 0 2\n"));
    let done = audit(&raw.qcow2("fstab.qcow2"), |all| *all = profile());
    assert_eq!((done.code, done.with("failed")), (6, vec!["fstab"]), "{}", done.told);
    assert!(done.cause("fstab").contains(&format!("UUID={wrong} (/srv): no such file system")), "{}", done.told);
    assert_eq!(done.blocked_by("login"), ["fstab"]);
    raw.put("/etc/fstab", &fstab);
    // Its kernel's initial RAM disk is gone.
    let listed = raw.debugfs("ls -p /boot");
    let initrd = listed.split('/').find(|name| name.starts_with("initrd.img-")).unwrap();
    raw.debugfs(&format!("rm /boot/{initrd}"));
    let done = audit(&raw.qcow2("initrd.qcow2"), |all| *all = profile());
    assert_eq!((done.code, done.with("failed")), (6, vec!["loader-files"]), "{}", done.told);
    assert!(done.cause("loader-files").contains(initrd), "{}", done.told);
}
