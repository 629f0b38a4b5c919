//! What scripts are made of: conditions, faults, commands in the guest.

use crate::applied::{Applied, applied};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn what_happens_between_two_commands_is_not_lost() {
    let vm = applied();
    vm.trim();
    let old = vm.root("cat /proc/sys/kernel/random/boot_id");
    let reset = json(vm.boma(&["qmp", "askari", "system_reset", "--json"]).exits(0).out());
    let since = reset["since"].to_string();
    // By now it has happened: from now on there is none to come, and since then there is.
    vm.boma(&["wait", "askari", "event=boot", "--since", &since]).exits(0);
    vm.boma(&["wait", "askari", "event=RESET,guest=false", "--timeout", "1"]).exits(4).says(&["not within 1s"]);
    let ran = vm.boma(&["wait", "askari", "event=RESET,guest=false,reason=host-qmp-system-reset", "--since", &since]);
    let seen = json(ran.exits(0).out());
    assert_eq!((&seen["event"], &seen["saw"]["kind"]), (&"waited".into(), &"RESET".into()));
    assert!(seen["since"].as_u64() > reset["since"].as_u64() && seen["since"] == seen["saw"]["seq"], "{seen}");

    // The kernel's first line stands behind the reset, and not before it.
    let ran = vm.boma(&["wait", "askari", "console=Linux version", "--since", &since, "--timeout", "120"]);
    let line = json(ran.exits(0).out());
    let boot = vm.events(seen["since"].as_u64().unwrap()).into_iter().find(|event| event["kind"] == "boot").unwrap();
    assert!(line["saw"]["offset"].as_u64() >= boot["data"]["offset"].as_u64(), "{line} {boot}");
    assert_eq!(line["saw"]["kernel"], true);
    let ran = vm.boma(&["wait", "askari", "lease", "--since", &since, "--timeout", "300"]);
    assert_eq!(json(ran.exits(0).out())["saw"]["ip"], "10.213.77.10");
    let ran = vm.boma(&["wait", "askari", &format!("boot-id-changed={old}"), "--timeout", "300"]);
    let changed = json(ran.exits(0).out());
    assert!(changed["saw"]["before"] == old && changed["saw"]["after"] != old, "{changed}");
    assert_eq!(json(vm.boma(&["wait", "askari", "ssh"]).exits(0).out())["saw"]["boot_id"], changed["saw"]["after"]);
}

#[test]
fn the_command_in_the_guest_is_this_one_with_its_streams_and_its_code() {
    let vm = applied();
    vm.boma(&["ssh", "askari", "--", "exit 7"]).exits(7);
    vm.boma(&["ssh", "askari", "--", "exit 255"]).exits(255).says(&["255 is the command's own exit code"]);
    vm.boma(&["ssh", "askari", "--", "kill -9 $$"]).exits(255).says(&["ended by a signal"]);
    let ran = vm.boma(&["ssh", "askari", "--", "printf '%s\\n' 'a  b' \"it's\"; echo aside >&2"]);
    assert_eq!(ran.exits(0).out(), "a  b\nit's\n", "and nothing of ssh's own");
    let mut command = vm.lane.command(&["ssh", "askari", "--", "wc -c"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &vec![0; 300_000]).unwrap();
    assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim(), "300000");
    let mut child =
        vm.lane.command(&["ssh", "askari", "--", "echo up; sleep 60"]).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), nix::sys::signal::SIGTERM).unwrap();
    let start = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_reader_of_the_journal_that_has_enough_ends_it() {
    let vm = applied();
    let mut child = vm.lane.command(&["events", "askari", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(json(&line)["seq"], 1);
    let start = Instant::now();
    drop(lines);
    assert!(child.wait().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(5), "it waited for the next event");
}

/// What the guest's own resolver is asked, without its cache: a name of the project's, so nobody outside is.
fn resolves(vm: &Applied) -> bool {
    vm.root("resolvectl flush-caches; timeout 20 resolvectl query askari.example.net >/dev/null 2>&1; echo $?") == "0"
}

fn in_force(vm: &Applied) -> Vec<String> {
    let status = json(vm.boma(&["status", "--json"]).exits(0).out().lines().next().unwrap());
    status["faults"].as_array().unwrap().iter().map(|fault| fault["fault"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_cable_that_is_pulled_out_is_out_until_it_is_put_back() {
    let vm = applied();
    let carrier = "cat /sys/class/net/enp0s2/carrier_changes";
    let before: u32 = vm.root(carrier).parse().unwrap();
    let brought = json(vm.boma(&["fault", "askari", "link=down", "--json"]).exits(0).out());
    assert_eq!((&brought["fault"], in_force(&vm)), (&"link=down".into(), vec!["link=down".into()]));
    let ran = vm.boma(&["wait", "askari", "ssh", "--timeout", "5"]);
    ran.exits(4).says(&["link=down is in force since event", "fault askari link=up"]);
    vm.boma(&["status"]).exits(0).says(&["fault link=down is in force since event"]);
    vm.boma(&["fault", "askari", "link=up"]).exits(0).says(&["link=up: done"]);
    vm.boma(&["wait", "askari", "ssh", "--timeout", "60"]).exits(0);
    assert!(vm.root(carrier).parse::<u32>().unwrap() >= before + 2, "the guest has seen it");
    assert_eq!(in_force(&vm), [""; 0]);
    let told = vm.events(brought["since"].as_u64().unwrap()).into_iter().filter(|event| event["kind"] == "fault");
    assert_eq!(told.map(|event| event["data"]["fault"].clone()).collect::<Vec<_>>(), ["link=down", "link=up"]);
}

#[test]
fn a_frozen_guest_stands_still_until_it_is_thawed() {
    let vm = applied();
    vm.boma(&["fault", "askari", "thaw"]).exits(0);
    let uptime = || vm.root("cut -d' ' -f1 /proc/uptime").parse::<f64>().unwrap();
    let (before, start) = (uptime(), Instant::now());
    vm.boma(&["fault", "askari", "freeze"]).exits(0).says(&["fault askari thaw` undoes it"]);
    vm.boma(&["fault", "askari", "freeze"]).exits(2).says(&["cannot be frozen: it is paused"]);
    let ran = vm.boma(&["wait", "askari", "ssh", "--timeout", "8"]);
    ran.exits(4).says(&["freeze is in force since event"]);
    vm.boma(&["fault", "askari", "thaw"]).exits(0);
    let went = uptime() - before;
    assert!(went < start.elapsed().as_secs_f64() - 7.0, "{went} s of uptime in {:?}", start.elapsed());
    assert_eq!(in_force(&vm), [""; 0]);
}

#[test]
fn a_clock_is_wrong_and_stays_wrong_until_it_is_put_right() {
    let vm = applied();
    let keeper = "systemctl is-active systemd-timesyncd || true";
    assert_eq!(vm.root(keeper), "active");
    let off = || {
        let guest: f64 = vm.root("date +%s.%N").parse().unwrap();
        guest - std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
    };
    for seconds in [-7200, 86_400] {
        vm.boma(&["fault", "askari", &format!("clock={seconds:+}")]).exits(0).says(&["in force"]);
        assert!((off() - f64::from(seconds)).abs() < 5.0, "{} s off, not {seconds}", off());
        assert_eq!(vm.root(keeper), "inactive");
    }
    assert_eq!(in_force(&vm), ["clock=+86400"]);
    vm.boma(&["fault", "askari", "clock=ok"]).exits(0);
    assert!(off().abs() < 5.0, "{} s off", off());
    assert_eq!((vm.root(keeper).as_str(), in_force(&vm)), ("active", Vec::new()));
}

#[test]
fn a_restore_leaves_no_fault_behind() {
    let vm = applied();
    assert!(resolves(&vm));
    vm.boma(&["fault", "askari", "egress=none"]).exits(0);
    vm.boma(&["net", "show"]).exits(0).says(&["cut off by a fault"]);
    assert!(!resolves(&vm), "names, too");
    for fault in ["clock=-86400", "link=down", "freeze"] {
        vm.boma(&["fault", "askari", fault]).exits(0);
    }
    assert_eq!(in_force(&vm), ["egress=none", "clock=-86400", "link=down", "freeze"]);
    vm.boma(&["reset", "askari"]).exits(0);
    assert_eq!(in_force(&vm), [""; 0]);
    assert!(resolves(&vm));
    assert!(!vm.boma(&["net", "show"]).exits(0).out().contains("cut off"));
    vm.is_fresh();
}
