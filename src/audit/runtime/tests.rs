//! What real machines said (Debian 13 with systemd 257, LVM 2.03, iproute2 6.15), and shells that run our commands.

use super::*;
use crate::audit::outcome::Verdict;

const ASKED: Asked<'_> = Asked { user: "nixos", as_root: true, limit: Duration::from_secs(35) };

fn probe(text: &str) -> Probe {
    serde_json::from_str(text).unwrap()
}

fn said(probe_text: &str, code: i32, output: &str) -> Seen {
    judge(&probe(probe_text), &ASKED, &Answer { code, output: output.into() }, 1000.0)
}

#[track_caller]
fn holds(probe: &str, output: &str) -> String {
    let seen = said(probe, 0, output);
    assert_eq!(seen.verdict, Verdict::Holds, "{seen:?}");
    seen.observed
}

#[track_caller]
fn fails(probe: &str, code: i32, output: &str) -> String {
    match said(probe, code, output).verdict {
        Verdict::Fails(cause) => cause,
        other => panic!("{other:?}"),
    }
}

const STATE: &str = r#"{"unit-state": {"unit": "pre-nixos.service", "expect": ["active"], "sub": ["exited"]}}"#;

#[test]
fn a_unit_that_failed_says_how_and_its_own_last_words() {
    let done =
        "\nResult=success\nExecMainStatus=0\nLoadState=loaded\nActiveState=active\nSubState=exited\n-- journal --\n";
    assert_eq!(holds(STATE, done), "active (exited)");
    let failed = "\nResult=exit-code\nExecMainStatus=5\nLoadState=loaded\nActiveState=failed\nSubState=failed\n-- journal --\n\
[    9.873212] nixos systemd[1]: Starting pre-nixos.service - Provision the disks...\n\
[   10.102938] nixos pre-nixos[412]: vgcreate: no disk /dev/vda\n\
[   10.120011] nixos systemd[1]: pre-nixos.service: Main process exited, code=exited, status=5/NOTINSTALLED\n\
[   10.130442] nixos systemd[1]: Failed to start pre-nixos.service - Provision the disks.\n";
    assert_eq!(
        fails(STATE, 0, failed),
        "pre-nixos.service failed: exit-code, exit code 5; it last said: vgcreate: no disk /dev/vda"
    );
    let evidence = said(STATE, 0, failed).evidence;
    assert!(evidence.starts_with("Result=exit-code") && evidence.ends_with("Provision the disks."), "{evidence}");
    let endless = done.replace("=active", "=activating").replace("=exited", "=start");
    assert_eq!(
        fails(STATE, 0, &endless),
        "pre-nixos.service is still activating (start) after 30 s, and not active (exited)"
    );
    let missing = "\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n-- journal --\n-- No entries --\n";
    assert_eq!(fails(STATE, 0, missing), "there is no unit pre-nixos.service");
    let idle = done.replace("=active", "=inactive").replace("=exited", "=dead");
    assert_eq!(fails(STATE, 0, &idle), "pre-nixos.service is inactive (dead), and not active (exited)");
    let dead = said(STATE, 1, "Failed to connect to bus: No such file or directory\n");
    assert!(matches!(&dead.verdict, Verdict::Unknown(why) if why.contains("connect to bus")), "{dead:?}");
}

#[test]
fn a_unit_has_the_properties_that_it_should() {
    let probe = r#"{"unit-properties": {"unit": "pre-nixos.service", "expect": {"Type": "oneshot", "RemainAfterExit": "yes"}}}"#;
    assert_eq!(
        holds(probe, "Type=oneshot\nRemainAfterExit=yes\nLoadState=loaded\n"),
        "RemainAfterExit=yes Type=oneshot"
    );
    let cause = fails(probe, 0, "Type=simple\nRemainAfterExit=no\nLoadState=loaded\n");
    assert_eq!(cause, "pre-nixos.service: RemainAfterExit is no and not yes, Type is simple and not oneshot");
}

/// `systemctl` as it is told to be: the wait runs in a real shell.
fn waited(
    probe_text: &str,
    states: &[&str],
    jobs: &str,
    (limit, answers_after_s): (u64, f64),
) -> (String, std::time::Duration) {
    let dir = tempfile::tempdir().unwrap();
    for (n, state) in states.iter().enumerate() {
        std::fs::write(dir.path().join(n.to_string()), state).unwrap();
    }
    let asked = Asked { limit: Duration::from_secs(limit), ..ASKED };
    let script = format!(
        r#"cd {dir}; echo 0 > n
systemctl() {{ case $1 in
list-jobs) echo '{jobs}' | grep . ;;
show) sleep {answers_after_s}; n=$(cat n); cat $n; [ -e $((n + 1)) ] && echo $((n + 1)) > n; : ;;
esac; }}
journalctl() {{ echo journal of $3; }}
{command}"#,
        dir = dir.path().display(),
        command = command(&probe(probe_text), &asked).unwrap()
    );
    let start = std::time::Instant::now();
    let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    (String::from_utf8(out.stdout).unwrap(), start.elapsed())
}

#[test]
fn the_wait_for_a_unit_ends_as_soon_as_the_answer_is_known() {
    let unit = |state: &str, sub: &str| format!("LoadState=loaded\nActiveState={state}\nSubState={sub}");
    let (queued, starting) = (unit("inactive", "dead"), unit("activating", "start"));
    let cases = [
        (
            vec![&*queued, &*starting, "LoadState=loaded\nActiveState=active\nSubState=exited"],
            "3 job",
            "SubState=exited",
        ),
        (vec![&*starting, "LoadState=loaded\nActiveState=failed\nSubState=failed"], "3 job", "ActiveState=failed"),
        (vec!["LoadState=not-found\nActiveState=inactive\nSubState=dead"], "3 job", "not-found"),
        (vec![&*queued], "", "ActiveState=inactive"),
    ];
    for (states, jobs, last) in cases {
        let (said, took) = waited(STATE, &states, jobs, (60, 0.0));
        assert!(said.contains(last) && said.contains("-- journal --\njournal of pre-nixos.service"), "{said}");
        assert!(took < Duration::from_secs(5), "{took:?} for {last}");
    }
    let (said, took) = waited(STATE, &[&starting], "3 job", (6, 0.0));
    assert!(said.contains("ActiveState=activating"), "{said}");
    assert!(took >= Duration::from_millis(700), "{took:?}");
    // A machine that is slow to answer has no more time for it: its last words would not come through.
    let (said, took) = waited(STATE, &[&starting], "3 job", (8, 0.5));
    assert!(said.contains("ActiveState=activating"), "{said}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_oneshot_is_done_whether_it_stays_active_or_not() {
    let probe = r#"{"unit-succeeds": {"unit": "pre-nixos.service"}}"#;
    let unit = |state: &str, result: &str, exited: u64| {
        let sub = if state == "active" { "exited" } else { "dead" };
        format!(
            "Result={result}\nExecMainStatus=0\nExecMainExitTimestampMonotonic={exited}\nLoadState=loaded\nActiveState={state}\nSubState={sub}"
        )
    };
    let (queued, done, stays) =
        (unit("inactive", "success", 0), unit("inactive", "success", 71), unit("active", "success", 71));
    let starting = unit("activating", "success", 0);
    for last in [&done, &stays] {
        let (said, took) = waited(probe, &[&queued, &starting, last], "3 job", (60, 0.0));
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(self::said(probe, 0, &said).verdict, Verdict::Holds, "{said}");
    }
    assert_eq!(fails(probe, 0, &queued), "pre-nixos.service is inactive (dead), and not done");
    let (said, took) = waited(probe, &[&queued], "", (60, 0.0));
    assert!(
        took < Duration::from_secs(5) && said.contains("Monotonic=0"),
        "a unit that nobody starts is not waited for"
    );
    assert!(fails(probe, 0, &unit("failed", "timeout", 71)).starts_with("pre-nixos.service failed: timeout"));
}

#[test]
fn a_file_says_what_stands_in_the_place_of_a_line() {
    let probe = r#"{"file-content": {"path": "/run/pre-nixos/storage-status", "expect": ["STATE=applied", "DETAIL=auto-applied"]}}"#;
    assert_eq!(holds(probe, "STATE=applied\r\nDETAIL=auto-applied\n"), "2 of 2 lines");
    assert_eq!(
        fails(probe, 0, "STATE=failed\n"),
        "/run/pre-nixos/storage-status: STATE=failed and not STATE=applied; no line DETAIL=auto-applied"
    );
    assert!(
        fails(probe, 1, "cat: /run/pre-nixos/storage-status: No such file or directory\n")
            .contains("cannot be read: cat:")
    );
}

#[test]
fn volumes_are_found_beside_what_lvm_warns_of() {
    let group = r#"{"volume-group": {"name": "main"}}"#;
    let warning = "  WARNING: Couldn't find device with uuid | x.\n";
    assert_eq!(
        holds(group, &format!("{warning}  main|<4.00g|/dev/vda\n  main|<4.00g|/dev/vdb\n")),
        "main, <4.00g, on /dev/vda, /dev/vdb"
    );
    assert_eq!(fails(group, 0, "  other|1.00g|/dev/sda\n"), "there is no volume group main; there are other");
    assert_eq!(fails(group, 0, ""), "there is no volume group main; there are none");
    assert!(matches!(said(group, 127, "sh: vgs: not found").verdict, Verdict::Unknown(_)));
    let volume = r#"{"logical-volume": {"group": "main", "name": "slash"}}"#;
    assert_eq!(holds(volume, "  main|slash|-wi-a-----|3.00g\n"), "main/slash, 3.00g");
    assert_eq!(
        fails(volume, 0, "  main|slash|-wi-------|3.00g\n"),
        "the logical volume main/slash is not active (-wi-------)"
    );
    assert_eq!(
        fails(volume, 0, "  main|swap|-wi-a-----|1.00g\n"),
        "there is no logical volume main/slash; there are main/swap"
    );
}

#[test]
fn a_disk_on_another_bus_has_another_name() {
    let probe = r#"{"disk-names": {"expect": ["vda"]}}"#;
    assert_eq!(holds(probe, "sr0  rom    400M\nvda  disk     4G\nloop0 loop  300M\n"), "vda");
    assert_eq!(fails(probe, 0, "sda  disk     4G\nsr0  rom    400M\n"), "there is no disk vda; there are sda");
}

const LINKS: &str = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n2: lan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP mode DEFAULT group default qlen 1000\\    link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff\\    altname enp0s2\n";

#[test]
fn an_interface_has_its_name_and_a_lease() {
    let probe = r#"{"interface": {"name": "lan", "ipv4": "lease"}}"#;
    let lease = "2: lan    inet 10.0.2.15/24 metric 1024 brd 10.0.2.255 scope global dynamic lan\\       valid_lft 86390sec preferred_lft 86390sec\n";
    let fixed = "2: lan    inet 192.0.2.7/24 brd 192.0.2.255 scope global lan\\       valid_lft forever preferred_lft forever\n";
    assert_eq!(holds(probe, &format!("{LINKS}{lease}")), "lan has 10.0.2.15/24");
    assert_eq!(fails(probe, 0, LINKS), "lan has no IPv4 lease after 30 s");
    let unasked = format!("{LINKS}-- asks for no lease --\n/etc/systemd/network/10-lan.network\n[Match]\nName=lan\n");
    assert_eq!(fails(probe, 0, &unasked), "lan has no IPv4 lease: /etc/systemd/network/10-lan.network asks for none");
    assert_eq!(
        fails(probe, 0, &format!("{LINKS}{fixed}")),
        "lan has 192.0.2.7/24, which is no lease: it does not run out"
    );
    holds(&probe.replace("lease", "any"), &format!("{LINKS}{fixed}"));
    let unnamed = LINKS.replace("lan:", "enp0s2:") + "Device \"lan\" does not exist.\n";
    assert_eq!(fails(probe, 1, &unnamed), "there is no interface lan; there are enp0s2");
    assert_eq!(fails(probe, 0, &LINKS.replace("MULTICAST,UP", "MULTICAST")), "lan is not up");
    assert!(matches!(said(probe, 127, "sh: ip: not found").verdict, Verdict::Unknown(_)));
}

#[test]
fn sudo_and_groups_are_read_as_they_are_printed() {
    let probe = r#"{"sudo-list": {"expect": "NOPASSWD: *ALL"}}"#;
    let list = "Matching Defaults entries for nixos on nixos:\n    env_reset, secure_path=/usr/bin\n\nUser nixos may run the following commands on nixos:\n    (ALL : ALL) NOPASSWD: ALL\n";
    assert_eq!(holds(probe, list), "(ALL : ALL) NOPASSWD: ALL");
    assert_eq!(fails(probe, 1, "sudo: a password is required\n"), "sudo -l says: sudo: a password is required");
    assert!(fails(probe, 0, "    (ALL : ALL) ALL\n").contains("does not say"));
    let probe = r#"{"membership": {"groups": ["wheel", "sudo"]}}"#;
    assert_eq!(holds(probe, "groups: users wheel\n"), "nixos is in wheel");
    assert_eq!(
        holds(probe, "groups: nixos\nnixos ALL=(ALL) NOPASSWD: ALL\n"),
        "sudoers: nixos ALL=(ALL) NOPASSWD: ALL"
    );
    assert_eq!(
        fails(probe, 0, "groups: nixos users\n"),
        "nixos is in nixos users, in none of wheel, sudo, and not named in sudoers"
    );
    assert!(fails(probe, 0, "id: 'nixos': no such user\ngroups: \n").contains("there is no user nixos"));
}

#[test]
fn entropy_time_and_own_commands() {
    let probe = r#"{"entropy-device": {"expect": "^virtio_rng"}}"#;
    assert_eq!(holds(probe, "rng_available=virtio_rng.0 \nrng_current=virtio_rng.0\n"), "virtio_rng.0 is in use");
    assert!(fails(probe, 0, "rng_available=\nrng_current=none\n").contains("takes entropy from \"none\""));
    assert!(fails(probe, 2, "sh: cd: can't cd to /sys/class/misc/hw_random\n").contains("knows no hardware entropy"));
    let probe = r#"{"time-sane": {"within-s": 60}}"#;
    assert_eq!(holds(probe, "997\n"), "off by -3 s");
    assert_eq!(fails(probe, 0, "100\n"), "the guest's clock is 900 s behind this machine's, and 60 s are allowed");
    let probe = r#"{"command": {"run": "x --version", "expect": "^x 2"}}"#;
    assert_eq!(holds(probe, "x 2.1\n"), "x 2.1");
    assert_eq!(fails(probe, 0, "x 1\n"), "`x --version` does not say /^x 2/ but \"x 1\"");
    assert_eq!(
        fails(probe, 127, "sh: x: not found\n"),
        "`x --version` ended with 127 and not with 0: sh: x: not found"
    );
}

#[test]
fn what_is_asked_is_one_word_to_the_shell_whatever_is_in_it() {
    let probe = probe(r#"{"file-content": {"path": "/a b/it's", "expect": ["x"]}}"#);
    assert_eq!(command(&probe, &ASKED).unwrap(), r"cat -- '/a b/it'\''s'");
}

mod console_course {
    use super::super::console::{Course, follow, judge, judge_never};
    use super::*;
    use camino::Utf8Path;
    use host::deadline::Deadline;
    use std::io::Write;
    use std::time::Instant;

    /// Write pieces with pauses between them (in ms) and follow.
    fn course(pieces: &[(u64, &str)], max_gap: u64, limit: u64) -> (Course, Duration) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = Utf8Path::from_path(file.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let start = Instant::now();
        let course = runtime.block_on(async {
            let write = async {
                for (pause, text) in pieces {
                    tokio::time::sleep(Duration::from_millis(*pause)).await;
                    file.as_file().write_all(text.as_bytes()).unwrap();
                }
                std::future::pending::<()>().await;
            };
            let deadline = Deadline::after(Duration::from_millis(limit));
            let gap = Duration::from_millis(max_gap);
            let read = follow(log, start, gap, &deadline, |line| line.ends_with("login:"));
            tokio::select! { course = read => course.unwrap(), () = write => unreachable!() }
        });
        (course, start.elapsed())
    }

    #[test]
    fn a_console_that_lives_until_its_login_prompt_has_a_longest_silence() {
        let (course, _) =
            course(&[(0, "GRUB\r\n"), (150, "[    0.0] Linux\r\n"), (20, "nixos login: ")], 10_000, 60_000);
        let Course::Login { silence_s, before, .. } = &course else { panic!("{course:?}") };
        assert!((0.1..10.0).contains(silence_s) && before == "GRUB", "{course:?}");
        assert_eq!(judge(&course).verdict, Verdict::Holds);
    }

    #[test]
    fn a_silence_ends_the_wait_at_once_and_names_the_last_words() {
        let (silent, took) = course(&[(0, "GRUB loading\r\nBooting `NixOS'")], 300, 60_000);
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(matches!(judge(&silent).verdict, Verdict::Fails(cause) if cause.contains("after \"Booting `NixOS'\"")));
        let (nothing, _) = course(&[], 200, 60_000);
        assert!(matches!(judge(&nothing).verdict, Verdict::Fails(cause) if cause.contains("says nothing at all")));
    }

    #[test]
    fn one_that_talks_of_something_else_ends_at_the_limit() {
        let chatter: Vec<_> = (0..20).map(|_| (50, "[ ***  ] A start job is running\r\n")).collect();
        let (course, _) = course(&chatter, 60_000, 500);
        assert!(matches!(judge(&course).verdict, Verdict::Fails(cause) if cause.starts_with("no login prompt within")));
    }

    #[test]
    fn a_line_that_must_never_come_is_shown() {
        let probe = probe(r#"{"console-never": {"pattern": "Timed out waiting for device"}}"#);
        let Probe::ConsoleNever { pattern } = probe else { panic!() };
        assert_eq!(judge_never(&pattern, "a\nb").verdict, Verdict::Holds);
        let seen = judge_never(&pattern, "a\n[ TIME ] Timed out waiting for device vda.\n");
        assert_eq!(seen.verdict, Verdict::Fails("the console says: [ TIME ] Timed out waiting for device vda.".into()));
    }
}
