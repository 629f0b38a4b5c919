use super::*;
use host::cmd::Cmd;

const HEAD: &str =
    "58087735-46d4-405e-b36a-4253e0edd7c1\n6.12.48+deb13\nDebian GNU/Linux 13 (trixie)\nmulti-user.target\n";
const MANAGER: &str = "Version=257\nSoftRebootsCount=0\nFirmwareTimestampMonotonic=0\nLoaderTimestampMonotonic=0\n\
    InitRDTimestampMonotonic=0\nUserspaceTimestampMonotonic=3000000\nFinishTimestampMonotonic=20000000\n\
    ShutdownStartTimestampMonotonic=0\n";

/// A message of systemd's before journald ran: it came through the kernel, and was noticed much later.
fn early(micros: u64, text: &str) -> String {
    format!(r#"{{"__MONOTONIC_TIMESTAMP":"9000000","_SOURCE_MONOTONIC_TIMESTAMP":"{micros}","MESSAGE":"{text}"}}"#)
}

fn late(micros: u64, unit: &str, id: &str) -> String {
    format!(r#"{{"__MONOTONIC_TIMESTAMP":"{micros}","UNIT":"{unit}","MESSAGE_ID":"{id}","MESSAGE":"words"}}"#)
}

const STARTING: &str = "7d4958e842da4a758f6c1cdc7b36dcc5";
const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
const FAILED: &str = "be02cf6855d2428ba40df7e9d022f03d";

fn parsed(manager: &str, journal: &[String]) -> Timeline {
    parse(&format!("{HEAD}{manager}{}\n", journal.join("\n"))).unwrap().0
}

fn told(timeline: &Timeline) -> Vec<(&str, f64, Option<f64>, bool)> {
    timeline.units.iter().map(|u| (u.name.as_str(), u.at_s, u.took_s, u.failed)).collect()
}

#[test]
fn units_of_before_and_after_journald_are_on_one_clock() {
    let journal = [
        early(4_000_000, "Starting systemd-journald.service - Journal Service..."),
        early(4_500_000, "Listening on dbus.socket - D-Bus Socket."),
        early(4_600_000, "systemd-pcrextend.socket - TPM skipped, unmet condition check ConditionSecurity"),
        early(4_700_000, "Starting Journal Service..."),
        early(6_000_000, "Started systemd-journald.service - Journal Service."),
        late(7_000_000, "ssh.service", STARTING),
        late(9_500_000, "ssh.service", STARTED),
        late(8_000_000, "slow.service", STARTING),
        late(9_000_000, "bad.service", STARTING),
        late(9_250_000, "bad.service", FAILED),
        late(19_000_000, "final.service", STARTING),
        late(20_500_000, "final.service", STARTED),
        late(21_000_000, "after-the-boot.service", STARTING),
        late(21_000_000, "after-the-boot.service", STARTED),
    ];
    assert_eq!(
        told(&parsed(MANAGER, &journal)),
        [
            ("systemd-journald.service", 4.0, Some(2.0), false),
            ("dbus.socket", 4.5, Some(0.0), false),
            ("ssh.service", 7.0, Some(2.5), false),
            ("slow.service", 8.0, None, false),
            ("bad.service", 9.0, Some(0.25), true),
            ("final.service", 19.0, Some(1.5), false),
        ]
    );
}

#[test]
fn the_stages_are_those_of_systemd_analyze() {
    let stages = parsed(MANAGER, &[]).stages;
    assert_eq!(stages.named(), [("kernel", 3.0), ("userspace", 17.0)]);
    let efi = MANAGER
        .replace("FirmwareTimestampMonotonic=0", "FirmwareTimestampMonotonic=5000000")
        .replace("LoaderTimestampMonotonic=0", "LoaderTimestampMonotonic=1500000")
        .replace("InitRDTimestampMonotonic=0", "InitRDTimestampMonotonic=1000000");
    let named = parsed(&efi, &[]).stages.named();
    assert_eq!(named, [("firmware", 3.5), ("boot loader", 1.5), ("kernel", 1.0), ("initrd", 2.0), ("userspace", 17.0)]);
}

#[test]
fn a_boot_that_has_not_ended_has_no_time_of_userspace() {
    let manager = MANAGER.replace("FinishTimestampMonotonic=20000000", "FinishTimestampMonotonic=0");
    assert_eq!(parsed(&manager, &[]).stages.named(), [("kernel", 3.0)]);
}

#[test]
fn a_soft_reboot_is_userspace_alone_and_counts_from_its_own_start() {
    let manager = MANAGER
        .replace("SoftRebootsCount=0", "SoftRebootsCount=1")
        .replace("UserspaceTimestampMonotonic=3000000", "UserspaceTimestampMonotonic=12000000")
        .replace("ShutdownStartTimestampMonotonic=0", "ShutdownStartTimestampMonotonic=10000000");
    let journal = [late(7_000_000, "old.service", STARTED), late(13_000_000, "new.service", STARTED)];
    let timeline = parsed(&manager, &journal);
    assert_eq!(timeline.stages.named(), [("userspace", 10.0)]);
    assert_eq!(told(&timeline), [("new.service", 3.0, Some(0.0), false)]);
}

#[test]
fn an_answer_without_a_boot_id_or_without_systemds_times_is_none() {
    let said = |text: &str| parse(text).unwrap_err().to_string();
    assert!(said("bash: cannot fork\n").contains("no boot id"));
    assert!(said(HEAD).contains("no version of systemd"));
    assert!(said(&format!("{HEAD}Version=257\n")).contains("no time at which systemd began"));
}

#[test]
fn the_chain_is_each_time_the_last_unit_that_the_one_before_is_ordered_after() {
    let unit = |name: &str, done_s: f64, failed| Unit { name: name.into(), at_s: 0.0, took_s: Some(done_s), failed };
    let units = [
        unit("network.target", 5.0, false),
        unit(r"dev-disk\x2duuid.device", 2.0, false),
        unit("multi-user.target", 9.0, false),
        unit("ssh.service", 7.0, false),
        unit("cron.service", 6.0, false),
        unit("broken.service", 8.0, true),
        unit("later.service", 9.5, false),
        unit("bad'; touch /tmp/x; '.service", 8.5, false),
    ];
    let question = chain_question("multi-user.target", &units).unwrap();
    // A stand-in for systemctl, which answers `show -P After -- UNIT`.
    let systemctl = r#"systemctl() { case "$5" in
        multi-user.target) echo "cron.service broken.service ssh.service later.service";;
        ssh.service) echo "network.target";;
        network.target) echo 'basic.target dev-disk\x2duuid.device';;
    esac; }; "#;
    let done = Cmd::new("sh").args(["-c", &format!("{systemctl}{question}")]).run().unwrap();
    let chain: Vec<_> = done.stdout.lines().collect();
    assert_eq!(chain, ["multi-user.target", "ssh.service", "network.target", r"dev-disk\x2duuid.device"]);
    assert_eq!(chain_question("rescue.target", &units), None);
}
