//! The audit of a real image, booted for real: the good one holds everything that `profiles/pre-nixos.json` demands, and
//! each broken one fails its own conditions and no others.
//!
//! Needs root the first time, for building the image.

#![allow(clippy::unwrap_used)] // a test's helpers fail by panicking

mod audits;
mod disks;
#[path = "../golden/mod.rs"]
mod golden;
#[path = "../iso/mod.rs"]
mod iso;

use audits::{Audit, audit, audit_as_ordinary_user, build_and_audit, unchanged};
use iso::Variant;
use serde_json::{Value, json};

/// Everything passes that applies, and nothing is left.
fn holds(done: &Audit) {
    assert_eq!(done.code, 0, "{}", done.told);
    assert_eq!(done.with("failed"), [""; 0], "{}", done.told);
    assert_eq!(done.with("blocked"), [""; 0], "{}", done.told);
    assert!(done.with("passed").len() >= 43, "{}", done.told);
    for file in ["console.log", "audit.json", "junit.xml", "report.md", "events.ndjson"] {
        assert!(done.evidence(file).is_some(), "{file}");
    }
}

/// Exactly these fail, the first of them for this reason; what the exit code says.
fn fails(done: &Audit, ids: &[&str], cause: &str) {
    assert_eq!(done.with("failed"), ids, "{}", done.told);
    let said = done.cause(ids[0]);
    assert!(said.lines().next().unwrap().contains(cause), "{cause:?} is not in {said:?}");
    assert_eq!(done.code, 6, "{}", done.told);
    assert!(done.told.contains(&format!("error: {}: ", ids[0])), "{}", done.told);
}

/// From the build to the last condition, with none left out.
#[test]
fn the_good_image_is_built_and_passes_every_condition_by_bios() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            answer(client);
        }
    });
    let done = build_and_audit(iso::iso(Variant::Good).as_str(), &url);
    holds(&done);
    assert_eq!(done.with("skipped"), [""; 0], "{}", done.told);
    assert!(done.evidence("build.log").unwrap().contains("building nixos.iso"));
}

fn answer(mut client: std::net::TcpStream) {
    use std::io::{BufRead, Write};
    // The request's head, up to its empty line.
    let head = std::io::BufReader::new(client.try_clone().unwrap()).lines();
    let _ = head.map_while(Result::ok).find(String::is_empty);
    let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

#[test]
fn the_good_image_passes_every_condition_by_uefi_for_a_user_without_any_privilege() {
    let uefi = |profile: &mut Value| profile["machine"]["firmware"] = json!("uefi");
    holds(&audit_as_ordinary_user(iso::iso(Variant::Good).as_str(), uefi));
}

/// What `grub-rescue-pc` delivers, which nobody here made: GRUB by BIOS only, on the screen only.
#[test]
fn a_foreign_image_is_told_by_what_it_boots_and_by_its_silence_on_the_serial_line() {
    let image = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso";
    assert!(std::path::Path::new(image).exists(), "`.ci/install` installs grub-rescue-pc");
    let done = audit(image, |profile| {
        let wanted = ["one-image", "image-whole", "el-torito", "serial-all", "console-alive"];
        profile["conditions"].as_array_mut().unwrap().retain(|one| wanted.contains(&one["id"].as_str().unwrap()));
        audits::condition(profile, "one-image")["after"] = json!([]);
        let alive = audits::condition(profile, "console-alive");
        alive["after"] = json!(["image-whole"]);
        alive["probe"] = json!({"console-speaks": {"within-s": 15}});
    });
    fails(&done, &["el-torito", "serial-all", "console-alive"], "nothing to boot for EFI: BIOS");
    // Of its entries one starts Linux; the Hurd, the BSDs and Windows do not count.
    assert!(
        done.cause("serial-all").ends_with("(\"GNU/Linux\") lacks console=ttyS0,115200*"),
        "{}",
        done.cause("serial-all")
    );
    assert_eq!(done.cause("console-alive"), "the serial console says nothing at all in 15 s");
}

#[test]
#[ignore = "the fifty boots have more of it: make soak"]
fn a_kernel_that_prints_all_the_while_changes_nothing() {
    holds(&audit(iso::iso(Variant::Noise).as_str(), unchanged));
}

#[test]
fn whoever_attaches_to_a_kept_machine_finds_a_prompt_of_its_own() {
    let console = audits::console_of_a_kept_machine(iso::iso(Variant::Good).as_str());
    let last = console.rsplit("boma# ").next().unwrap();
    assert!(last.contains("nixos@nixos:~]$"), "the audit's own shell is still there: {last:?}");
}

#[test]
fn of_two_images_none_is_booted() {
    let done = audit(&iso::two(), unchanged);
    fails(&done, &["one-image"], "2 files match");
    assert_eq!(done.blocked_by("login"), ["one-image"]);
    assert!(done.evidence("console.log").is_none());
}

#[test]
fn an_image_without_its_end_is_not_booted() {
    let done = audit(iso::iso(Variant::Truncated).as_str(), unchanged);
    fails(&done, &["image-whole"], "cut off");
    assert_eq!(done.blocked_by("storage-service"), ["image-whole"]);
    assert!(done.evidence("console.log").is_none());
}

#[test]
fn entries_without_a_serial_console_are_found_before_the_boot() {
    let done = audit(iso::iso(Variant::NoSerial).as_str(), unchanged);
    fails(&done, &["serial-default", "serial-all"], "lacks console=ttyS0,115200*");
    assert_eq!(done.blocked_by("console-alive"), ["serial-default"]);
    assert!(done.evidence("console.log").is_none());
}

#[test]
fn a_console_that_stays_silent_is_given_up_when_the_silence_is_too_long() {
    let silent = |profile: &mut Value| {
        audits::condition(profile, "console-alive")["probe"]["console-alive"]["max-gap-s"] = json!(15);
        audits::only(profile, "runtime");
    };
    let done = audit(iso::iso(Variant::NoSerial).as_str(), silent);
    fails(&done, &["console-alive"], "the serial console");
    assert!(done.seconds("console-alive") < 60.0, "{}", done.told);
}

#[test]
fn a_disk_on_another_bus_is_known_by_its_name() {
    let bus = |profile: &mut Value| profile["machine"]["disks"][0]["bus"] = json!("virtio-scsi");
    let done = audit(iso::iso(Variant::Good).as_str(), bus);
    fails(&done, &["disk-name"], "there is no disk vda; there are sda");
    assert_eq!(done.blocked_by("logical-volume"), ["disk-name"]);
}

#[test]
fn a_service_that_fails_says_why_and_is_not_waited_for() {
    let done = audit(iso::iso(Variant::FailingStorage).as_str(), unchanged);
    fails(&done, &["storage-service"], "pre-nixos.service failed: exit-code");
    assert_eq!(done.blocked_by("storage-status"), ["storage-service"]);
    assert!(done.seconds("storage-service") < 60.0, "{}", done.told);
}

#[test]
fn a_network_without_dhcp_has_no_lease_and_all_else() {
    let done = audit(iso::iso(Variant::NoDhcp).as_str(), unchanged);
    fails(&done, &["lan-lease"], "lan has no IPv4 lease: /etc/systemd/network/10-lan.network asks for none");
    assert!(done.seconds("lan-lease") < 30.0, "{}", done.told);
}

#[test]
fn sudo_that_asks_a_password_blocks_what_takes_root() {
    let done = audit(iso::iso(Variant::SudoAsks).as_str(), unchanged);
    fails(&done, &["sudo-list", "escalation"], "sudo -l says: sudo: a password is required");
    assert_eq!(done.blocked_by("volume-group"), ["escalation"]);
    assert_eq!(done.result("storage-status"), "passed");
}

#[test]
fn a_service_that_never_ends_is_given_up_at_its_limit() {
    let soon = |profile: &mut Value| audits::condition(profile, "storage-service")["limit"] = json!(20);
    let done = audit(iso::iso(Variant::NeverEnds).as_str(), soon);
    fails(&done, &["storage-service"], "pre-nixos.service is still activating");
    assert!(done.seconds("storage-service") < 45.0, "{}", done.told);
}

#[test]
#[ignore = "fifty boots: part of `make soak`"]
fn fifty_boots_in_a_row_give_a_shell_of_root_while_the_kernel_prints() {
    let asked = ["login", "escalation", "root"];
    let image = iso::iso(Variant::Noise);
    let mut table = Vec::new();
    for boot in 1..=50 {
        let done = audit(image.as_str(), |profile| audits::only(profile, &asked.join(",")));
        assert_eq!(done.with("passed"), asked, "boot {boot}");
        let console = done.evidence("console.log").unwrap();
        let printed = console.matches("a driver that complains all the while").count();
        assert!(printed > 10, "boot {boot}: the kernel has printed {printed} lines only");
        table.push((done.seconds("login"), printed));
    }
    table.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (least, middle, most) = (table[0], table[25], table[49]);
    eprintln!("50 boots, each with a shell of root. Seconds to the user's shell and kernel lines meanwhile:");
    eprintln!("least {least:?}, median {middle:?}, most {most:?}");
}
