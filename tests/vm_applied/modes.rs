//! Every way to restart a machine, told apart by what it shows; and guests that make it hard to tell.

use crate::applied::applied;
use crate::lane::Lane;
use serde_json::Value;

/// What `reboot` of a machine that is up has put into the evidence.
fn restart(lane: &Lane, args: &[&str]) -> Value {
    // What a mode costs of the state is not what is asked here.
    lane.boma(&[&["reboot", "askari", "--timeout", "900", "--findings", "report"], args].concat()).exits(0);
    lane.result()["reboot"].clone()
}

/// The signs of a restart, without the firmware's own resets.
pub(crate) fn signs(restart: &Value) -> Vec<String> {
    let seen = restart["evidence"].as_array().unwrap().iter().filter(|seen| seen["firmware"] != true);
    let told = |seen: &Value| format!("{} {}", seen["kind"].as_str().unwrap(), seen["reason"].as_str().unwrap_or("-"));
    seen.map(told).collect()
}

pub(crate) fn boot_id(lane: &Lane) -> String {
    lane.guest("cat /proc/sys/kernel/random/boot_id")
}

/// A restart that began another kernel, from the one that ran.
fn is_a_reboot(restart: &Value, before: &str, after: &str) {
    assert_eq!(restart["proof"], "reboot");
    assert_eq!((restart["boot_id_before"].as_str(), restart["boot_id_after"].as_str()), (Some(before), Some(after)));
    assert_ne!(before, after);
}

fn reset_leaves_no_last_words(lane: &Lane) {
    let before = boot_id(lane);
    is_a_reset(lane, &restart(lane, &["--via", "reset"]), &before);
}

/// A restart by the reset button, of the kernel that had this boot id.
pub(crate) fn is_a_reset(lane: &Lane, restart: &Value, before: &str) {
    is_a_reboot(restart, before, &boot_id(lane));
    assert_eq!(restart["mode"], "reset");
    assert_eq!(signs(restart), ["RESET host-qmp-system-reset"]);
    assert!(restart["last_words"]["journal"].is_null() && restart["last_words"]["console"].is_null());
}

fn kexec_shows_no_reset(lane: &Lane) {
    let (before, boots) = (boot_id(lane), lane.events("boot").len());
    let kexec = restart(lane, &["--via", "kexec"]);
    is_a_reboot(&kexec, &before, &boot_id(lane));
    assert_eq!(signs(&kexec), ["boot without a RESET"], "the console's second kernel, and nothing else");
    assert!(kexec["last_words"]["console"].as_str().unwrap().contains("Starting new kernel"));
    assert_eq!(lane.events("boot").len(), boots + 1, "the console is cut where the new kernel begins");
}

fn soft_reboot_is_no_reboot(lane: &Lane) {
    let (before, boots) = (boot_id(lane), lane.events("boot").len());
    let ran = lane.boma(&["reboot", "askari", "--timeout", "900", "--findings", "report", "--via", "soft-reboot"]);
    ran.exits(0).says(&["no reboot", "soft reboots 1"]);
    let soft = lane.result()["reboot"].clone();
    assert_eq!((&soft["proof"], soft["boot_id"].as_str()), (&"soft-reboot".into(), Some(before.as_str())));
    assert_eq!((&soft["soft_reboots_before"], &soft["soft_reboots_after"]), (&0.into(), &1.into()));
    assert!(signs(&soft).is_empty() && soft["boot_id_after"].is_null());
    assert_eq!(boot_id(lane), before);
    assert_eq!(lane.events("boot").len(), boots, "the same kernel, the same part of the console");
}

/// A restart by `during`, cut off by `via` where its kernel begins: two modes at the price of one boot. What each showed.
pub(crate) fn cut_off(lane: &Lane, during: &str, via: &str) -> [Vec<String>; 2] {
    let before = boot_id(lane);
    let restart = restart(lane, &["--during", during, "--via", via, "--on-console", "Linux version"]);
    is_a_reboot(&restart, &before, &boot_id(lane));
    assert_eq!(restart["triggered"]["during"], during);
    assert!(restart["last_words"]["journal"].is_null() && restart["last_words"]["console"].is_null());
    [signs(&restart["triggered"]), signs(&restart)]
}

pub(crate) fn begin_with(signs: &[String], expected: &[&str]) {
    let same = signs.iter().zip(expected).all(|(sign, start)| sign.starts_with(start));
    assert!(same && signs.len() == expected.len(), "{signs:?} is not {expected:?}");
}

/// With `acceptance` (guest), `access` (acpi), `experiment` (soft-reboot), `seeded` (panic, power-cycle), `tools` (reset) and
/// `undo` (kexec) all nine modes are proved in each run, most of them by reboots that those tests need anyway.
#[test]
fn a_watchdog_and_a_power_loss_show_their_own_evidence() {
    let vm = applied();
    vm.trim();
    let [watchdog, loss] = cut_off(&vm.lane, "watchdog", "power-loss");
    begin_with(&watchdog, &["WATCHDOG reset", "RESET guest-reset"]);
    begin_with(&loss, &["power-loss lost", "qemu-exited asked", "qemu-started pid"]);
}

/// `systemctl reboot --force --force` in the middle of a shutdown: the kernel says the same, the units were not stopped.
#[test]
#[ignore = "one boot: make soak"]
fn a_reboot_that_is_forced_half_way_is_no_orderly_end() {
    let vm = applied();
    let unit = "[Unit]\\nAfter=docker.service\\n[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n\
                ExecStop=/usr/bin/systemctl reboot --force --force\\n";
    vm.root(&format!("printf '{unit}' >/etc/systemd/system/half-way.service; systemctl start half-way.service"));
    vm.boma(&["reboot", "askari"]).exits(6).says(&["never said that it ended in order"]);
}

#[test]
#[ignore = "a boot per mode: make soak"]
fn every_mode_shows_its_own_evidence_and_no_other() {
    let vm = applied();
    let lane = &vm.lane;
    let mut before = boot_id(lane);
    for (mode, expected) in [
        ("guest", &["RESET guest-reset"][..]),
        ("acpi", &["POWERDOWN -", "SHUTDOWN guest-shutdown", "RESET host-qmp-system-reset"]),
        ("power-cycle", &["power-cycle kept", "qemu-exited asked", "qemu-started pid"]),
        ("power-loss", &["power-loss lost", "qemu-exited asked", "qemu-started pid"]),
        ("panic", &["GUEST_PANICKED run", "RESET guest-reset"]),
        ("watchdog", &["WATCHDOG reset", "RESET guest-reset"]),
    ] {
        let restart = restart(lane, &["--via", mode]);
        let after = boot_id(lane);
        is_a_reboot(&restart, &before, &after);
        let signs = signs(&restart);
        assert!(signs.iter().zip(expected).all(|(sign, start)| sign.starts_with(start)), "{mode}: {signs:?}");
        assert_eq!(signs.len(), expected.len(), "{mode}: {signs:?}");
        let words = &restart["last_words"];
        let orderly = !words["journal"].is_null() || !words["console"].is_null();
        assert_eq!(orderly, matches!(mode, "guest" | "acpi"), "{mode}: {words}");
        assert!(restart["down_s"].as_f64().unwrap() < restart["ssh_s"].as_f64().unwrap());
        before = after;
    }
    reset_leaves_no_last_words(lane);
    kexec_shows_no_reset(lane);
    soft_reboot_is_no_reboot(lane);
    // After a soft reboot the journal of this boot id tells of its end; a reset is still a reset.
    reset_leaves_no_last_words(lane);
}

#[test]
#[ignore = "two boots: make soak"]
fn a_reset_in_the_middle_of_a_boot_is_proved_across_both() {
    let vm = applied();
    let lane = &vm.lane;
    let before = boot_id(lane);
    let line = "Reached target .*local-fs.target";
    let reset = restart(lane, &["--via", "reset", "--on-console", line]);
    is_a_reboot(&reset, &before, &boot_id(lane));
    assert_eq!(signs(&reset), ["RESET host-qmp-system-reset"]);
    let triggered = &reset["triggered"];
    assert_eq!(triggered["during"], "guest");
    assert_eq!(triggered["evidence"][0]["reason"], "guest-reset");
    assert!(triggered["line"].as_str().unwrap().contains("local-fs.target"), "{triggered}");
    // The boot that was cut off came that far and no farther.
    let boots = lane.events("boot").len();
    let cut_off = lane.evidence(&format!("console/boot-{}.log", boots - 1));
    assert!(cut_off.contains("Linux version") && !cut_off.contains("login:"), "{cut_off}");
    assert!(!lane.evidence(&format!("console/boot-{boots}.log")).is_empty());
}

#[test]
#[ignore = "one boot, and a minute of shutdown: make soak"]
fn a_shutdown_that_is_delayed_while_sshd_answers_is_not_taken_for_a_reboot_too_early() {
    let vm = applied();
    let lane = &vm.lane;
    // sshd is exempt from the shutdown's first wave, and this holds the rest up.
    lane.guest_as_root(
        "mkdir -p /etc/systemd/system/ssh.service.d
         printf '[Unit]\\nDefaultDependencies=no\\nConflicts=\\nAfter=network.target\\n' >/etc/systemd/system/ssh.service.d/stays.conf
         printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\nExecStop=/bin/sleep 60\\nTimeoutStopSec=120\\n' >/etc/systemd/system/slow-end.service
         systemctl daemon-reload; systemctl start slow-end.service",
    );
    // A clock that goes back in between changes nothing: durations are the host's.
    lane.guest_as_root("timedatectl set-ntp false; date -s '-2 hours'");
    let before = boot_id(lane);
    let guest = restart(lane, &["--via", "guest"]);
    is_a_reboot(&guest, &before, &boot_id(lane));
    let down = guest["down_s"].as_f64().unwrap();
    assert!((60.0..400.0).contains(&down), "{down}");
    assert!(guest["last_words"]["journal"].is_string(), "{}", guest["last_words"]);
}

#[test]
fn a_guest_that_will_not_reboot_is_a_failure_with_its_words_and_not_a_timeout() {
    let vm = applied();
    let lane = &vm.lane;
    let resets = lane.events("RESET").len();
    lane.guest_as_root("systemctl mask reboot.target");
    lane.boma(&["reboot", "askari"])
        .exits(6)
        .says(&["refused `sudo -n systemctl reboot`", "masked in the guest: reboot.target"]);
    let phases = lane.result()["phases"].as_array().unwrap().clone();
    let reboot = phases.iter().rfind(|phase| phase["name"] == "reboot").unwrap();
    assert!(reboot["seconds"].as_f64().unwrap() < 20.0, "it refused at once: {reboot}");
    lane.guest_as_root("mv /usr/sbin/kexec /usr/sbin/kexec.gone");
    lane.boma(&["reboot", "askari", "--via", "kexec"]).exits(2).says(&["kexec-tools", "choose another --via"]);
    assert_eq!(lane.events("RESET").len(), resets, "none of these touched the machine");
}

#[test]
#[ignore = "a minute of waiting for what never comes: make soak"]
fn a_guest_that_is_deaf_to_the_power_button_is_said_to_be_so() {
    let vm = applied();
    vm.root(
        "mkdir -p /etc/systemd/logind.conf.d
         printf '[Login]\\nHandlePowerKey=ignore\\n' >/etc/systemd/logind.conf.d/deaf.conf; systemctl restart systemd-logind",
    );
    vm.boma(&["reboot", "askari", "--via", "acpi"]).exits(6).says(&["ignores the power button", "HandlePowerKey"]);
}
