//! Bad input, from outside, through the binary: one clear error with the right exit code, before
//! anything is created.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so best by failing")]

mod from;
mod outside;
mod processes;
#[path = "../project/mod.rs"]
mod project;
mod scenarios;
mod several;

use assert_cmd::Command;
use project::Project;

impl Project {
    fn boma(&self, args: &[&str]) -> Command {
        Command::from_std(self.command(args))
    }

    fn edit_profile(&self, from: &str, to: &str) {
        let path = self.dir.join("profiles/askari.json");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in the profile");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

#[test]
fn an_unknown_host_is_refused_with_the_known_ones() {
    Project::new().refused(&["cycle", "nosuch"], 2, &["no profile of a host is called nosuch", "askari", "next:"]);
}

#[test]
fn a_host_name_that_leaves_its_folder_is_refused() {
    for name in ["../askari", "as kari", "askari/..", ""] {
        Project::new().refused(&["cycle", name], 2, &["not usable"]);
    }
}

#[test]
fn twice_verbose_or_rust_log_show_each_command_that_is_run_and_nothing_else_does() {
    let project = Project::new();
    let traced = |args: &[&str], log: Option<&str>| {
        let mut command = project.command(args);
        command.env_remove("RUST_LOG").envs(log.map(|log| ("RUST_LOG", log)));
        let out = command.output().unwrap();
        String::from_utf8_lossy(&out.stderr).lines().filter(|line| line.contains("host::cmd")).count()
    };
    assert!(traced(&["-vv", "doctor"], None) > 0);
    assert!(traced(&["doctor"], Some("host=debug")) > 0);
    assert_eq!(traced(&["-v", "doctor"], None), 0);
}

#[test]
fn an_unknown_tier_or_mode_is_refused_with_the_known_ones() {
    Project::new().refused(&["cycle", "askari", "--certs", "gold"], 2, &["gold", "le-staging"]);
    for command in ["reboot", "cycle", "prove", "plan"] {
        let known =
            ["magic", "guest", "acpi", "reset", "power-cycle", "power-loss", "panic", "watchdog", "kexec", "soft"];
        Project::new().refused(&[command, "askari", "--via", "magic"], 2, &known);
    }
    Project::new().refused(&["cycle", "askari", "--net", "bridge"], 2, &["bridge", "namespace"]);
}

#[test]
fn a_restart_that_cannot_be_had_is_refused_in_one_sentence() {
    for command in ["reboot", "cycle"] {
        let refused = |args: &[&str], words: &[&str]| {
            Project::new().refused(&[&[command, "askari"], args].concat(), 2, words);
        };
        for mode in ["soft-reboot", "kexec", "guest", "acpi", "panic", "watchdog"] {
            refused(&["--via", mode, "--on-console", "login:"], &[mode, "reset, power-cycle"]);
            refused(&["--via", mode, "--during", "reset", "--at", "3"], &[mode, "reset, power-cycle"]);
        }
        refused(
            &["--via", "reset", "--at", "3", "--on-console", "x"],
            &["--at", "--on-console", "cannot be used with"],
        );
        for seconds in ["-1", "soon", "nan", "1e9", ""] {
            refused(&["--via", "reset", "--at", seconds], &["--at", "seconds"]);
        }
        refused(&["--via", "reset", "--on-console", "a(b"], &["a(b", "unclosed group"]);
        refused(&["--via", "reset", "--on-console", ""], &["every line"]);
        refused(&["--via", "reset", "--during", "guest"], &["--at SECONDS", "--on-console REGEX"]);
        for during in ["kexec", "soft-reboot", "magic"] {
            refused(&["--via", "reset", "--on-console", "x", "--during", during], &[during, "guest", "none"]);
        }
    }
    Project::new().refused(&["cycle", "askari", "--no-reboot", "--via", "reset"], 2, &["--no-reboot", "--via"]);
    Project::new().refused(&["cycle", "askari", "--no-reboot", "--strict"], 2, &["--no-reboot", "--strict"]);
    Project::new().refused(
        &["cycle", "askari", "--no-reboot", "--findings", "fail"],
        2,
        &["--no-reboot", "--findings"],
    );
}

#[test]
fn what_findings_do_is_one_of_three_and_strict_is_one_of_them() {
    for command in [&["cycle", "askari"][..], &["reboot", "askari"], &["assert", "askari"], &["experiment", "askari"]] {
        let refused = |args: &[&str], words: &[&str]| {
            let modes: &[&str] = if command[0] == "experiment" { &["--modes", "guest"] } else { &[] };
            Project::new().refused(&[command, modes, args].concat(), 2, words);
        };
        refused(&["--findings", "ignore"], &["ignore", "report, fail, strict"]);
        refused(&["--findings", "report", "--strict"], &["--findings", "--strict", "cannot be used with"]);
        refused(&["--watch", "5s"], &["--watch", "from 30 s"]);
        refused(&["--watch", "soon"], &["--watch", "60s"]);
    }
}

#[test]
fn the_passes_over_the_playbooks_can_be_asked_for_and_left_out_and_need_a_reboot() {
    let world = Project::new();
    for options in [
        &["--idempotence", "--no-idempotence"][..],
        &["--no-idempotence", "--idempotence", "--no-reboot"],
        &["--check-mode", "--no-check-mode", "--idempotence"],
    ] {
        // They are understood: what is refused is the host.
        world.refused(&[&["cycle", "nobody"][..], options].concat(), 2, &["nobody"]);
    }
    world.refused(&["cycle", "askari", "--no-reboot", "--check-mode"], 2, &["--check-mode", "cannot be used with"]);
}

#[test]
fn a_part_of_the_playbooks_is_for_apply_alone_and_has_no_second_run() {
    let world = Project::new();
    let part = ["--only=site", "--tags=a,b", "--skip-tags=c", "--start-at-task=Web"];
    // It is understood: what is refused is that there is no VM.
    world.refused(&[&["apply", "askari"], &part[..]].concat(), 2, &["no VM of askari"]);
    for option in part {
        let name = option.split('=').next().unwrap();
        world.refused(&["apply", "askari", "--idempotence", option], 2, &[name, "cannot be used with"]);
        for command in ["cycle", "prove", "up", "reboot", "assert"] {
            world.refused(&[command, "askari", option], 2, &["unexpected argument", name]);
        }
    }
    for empty in ["--tags=", "--tags=a,,b", "--skip-tags=,", "--start-at-task="] {
        world.refused(&["apply", "askari", empty], 2, &[empty.split('=').next().unwrap()]);
    }
}

#[test]
fn the_profile_may_choose_the_restart_and_the_command_line_wins() {
    let world = Project::new();
    world.edit_profile("\"vcpus\"", "\"via\": \"acpi\", \"vcpus\"");
    let plan = |args: &[&str]| {
        let out = world.boma(&[&["plan", "askari"], args].concat()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert!(plan(&[]).contains("POWERDOWN, SHUTDOWN guest-shutdown, RESET host-qmp-system-reset, a new boot id"));
    let soft = plan(&["--via", "soft-reboot"]);
    assert!(soft.contains("no RESET, the same boot id, SoftRebootsCount + 1"), "{soft}");
    let late = plan(&["--via", "reset", "--on-console", "Reached target"]);
    assert!(late.contains("/Reached target/ into the boot that a restart by guest begins"), "{late}");
    // Unlike the mode, a moment is not what a host is: it is said each time.
    world.refused(&["cycle", "askari", "--on-console", "x"], 2, &["acpi is asked of a guest"]);
    world.edit_profile("\"acpi\"", "\"magic\"");
    world.refused(&["plan", "askari"], 2, &["unknown variant `magic`", "soft-reboot", "line 15"]);
}

#[test]
fn a_certificate_that_writes_into_the_real_zone_needs_the_users_word() {
    let world = Project::new();
    let real = ["cycle", "askari", "--certs", "le-prod-wildcard", "--accept-risk", "R6"];
    world.refused(&[&real[..], &["--egress", "none"]].concat(), 2, &["--egress nat"]);
    world.refused(&real, 2, &["token_file"]);
    // What cannot be rehearsed is real.
    world.edit_profile("\"certificate\":", "\"//\":");
    world.refused(&["cycle", "askari", "--certs", "le-staging"], 2, &["R6", "--accept-risk"]);
}

#[test]
fn a_rehearsal_of_certificates_has_a_place_on_the_network_and_a_way_out() {
    let world = Project::new();
    let args = ["plan", "askari", "--certs", "le-staging"];
    world.refused(&[&args[..], &["--egress", "none"]].concat(), 2, &["--egress nat"]);
    world.refused(&[&args[..], &["--net", "host"]].concat(), 2, &["--net namespace"]);
    world.edit_profile("\"zone\": \"example.net\"", "\"zone\": \"example.org\"");
    world.refused(&args, 2, &["certificate: server_name", "example.org"]);
    world.edit_profile("\"zone\": \"example.org\"", "\"zone\": \"example.net\"");
    let net = world.dir.join("net/boma-it.json");
    let text = std::fs::read_to_string(&net).unwrap();
    std::fs::write(&net, text.replace("  \"authority\": \"10.213.77.3\",\n", "")).unwrap();
    world.refused(&args, 2, &["net/boma-it.json", "authority"]);
}

#[test]
fn an_unknown_profile_key_is_refused_with_line_and_column() {
    let world = Project::new();
    world.edit_profile("\"vcpus\"", "\"vcpu\"");
    world.refused(&["plan", "askari"], 2, &["unknown field `vcpu`", "line 15", "askari.json"]);
}

#[test]
fn a_missing_playbook_is_refused_by_its_path() {
    let world = Project::new();
    world.edit_profile("playbooks/site.yml", "playbooks/gone.yml");
    world.refused(&["cycle", "askari"], 2, &["playbooks/gone.yml", "does not exist"]);
}

#[test]
fn a_missing_overlay_is_refused_by_its_path() {
    Project::new().refused(&["cycle", "askari", "-e", "@nothing.yml"], 2, &["nothing.yml", "no such file"]);
}

#[test]
fn an_overlay_that_is_not_yaml_is_refused_before_anything_boots() {
    let world = Project::new();
    std::fs::write(world.dir.join("bad.yml"), "a: [1, 2\nb: }\n").unwrap();
    world.refused(&["cycle", "askari", "-e", "@bad.yml"], 2, &["bad.yml"]);
}

#[test]
fn an_extra_variable_that_is_no_assignment_is_refused_without_its_value() {
    Project::new().refused(&["cycle", "askari", "-e", "novalue"], 2, &["KEY=VALUE"]);
}

#[test]
fn a_corrupt_golden_image_is_refused_by_its_path() {
    let world = Project::new();
    let image = world.dir.join("bad.qcow2");
    std::fs::write(&image, b"QFI\xfb garbage").unwrap();
    let out = world.boma(&["cycle", "askari", "--image", image.as_str()]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("bad.qcow2"), "{said}");
    assert!(!world.dir.join("s/vms/askari").exists());
}

#[test]
fn commands_for_a_vm_that_is_not_there_say_how_to_start_one() {
    for args in [vec!["apply", "askari"], vec!["ssh", "askari"], vec!["qmp", "askari", "query-status"]] {
        Project::new().refused(&args, 2, &["no VM of askari", "boma-qemu up askari"]);
    }
}

#[test]
fn a_condition_a_fault_or_qmp_arguments_that_make_no_sense_are_refused_before_the_vm_is_looked_for() {
    let world = Project::new();
    let all = "ssh, lease, settled, event=NAME[,KEY=VALUE...], console=REGEX, boot-id-changed[=BOOT-ID]";
    world.refused(&["wait", "askari", "shh"], 2, &["nobody knows \"shh\"", all]);
    world.refused(&["wait", "askari", "console=(a"], 2, &["unclosed group", all]);
    world.refused(&["wait", "askari", "event=RESET,reason"], 2, &["is not KEY=VALUE", all]);
    world.refused(&["wait", "askari", "boot-id-changed=no route to host"], 2, &["not a UUID", all]);
    world.refused(&["wait", "askari", "ssh", "--timeout", "0"], 2, &["--timeout"]);
    world.refused(&["fault", "askari", "link=dwn"], 2, &["link cannot be \"dwn\"", "link=down|up", "egress=none|nat"]);
    world.refused(&["fault", "askari", "clock=60"], 2, &["+ or -"]);
    let qmp = |arguments| ["qmp", "askari", "query-status", arguments];
    world.refused(&qmp("{\n\"a\": }"), 2, &["not JSON", "line 2 column 6", "'{\"command-line\": \"info status\"}'"]);
    world.refused(&qmp("[1, 2]"), 2, &["must be a JSON object", "an array"]);
    world.refused(&qmp("null"), 2, &["must be a JSON object", "a single word"]);
}

/// Run the console rules over a text, outside of any project.
fn check_console(args: &[&str], log: &[u8]) -> (Option<i32>, String) {
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::cargo_bin("boma-qemu").unwrap();
    command.arg("check-console").args(args).env_remove("BOMA_ROOT").current_dir(&empty).write_stdin(log);
    let out = command.output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
}

#[test]
fn a_log_of_any_machine_is_judged_by_its_worst_line() {
    let warning = b"fine\r\nfoo[7]: segfault at 0\r\n".as_slice();
    let error = b"Out of memory: Killed process 1 (x)\r\n".as_slice();
    let fatal = b"You are in emerg[    7.100000] sda: unknown\r\n\x1b[1mency\x1b[0m mode. After\r\n".as_slice();
    let (code, text) = check_console(&["-"], &[warning, b"\0\xff\x1b]\x07"].concat());
    assert!(code == Some(0) && text.contains("warning   segfault") && text.contains("line 2, byte 6"), "{text}");
    let (code, text) = check_console(&["-"], &[warning, error].concat());
    assert!(code == Some(6) && text.contains("broken: 2 rules matched in 4 lines"), "{text}");
    let (code, text) = check_console(&["-"], &[warning, error, fatal].concat());
    assert!(code == Some(8) && text.starts_with("fatal     emergency-mode: "), "{text}");
    let (code, text) = check_console(&["-", "--json"], fatal);
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines[0]["finding"]["first"][0]["row"].as_u64()), (Some(8), Some(1)), "{text}");
    assert_eq!((lines[1]["event"].as_str(), lines[1]["code"].as_u64()), (Some("console-checked"), Some(8)));
    let (code, text) = check_console(&["--rules"], b"");
    assert!(code == Some(0) && text.contains("kernel-panic") && text.contains("the kernel panicked"), "{text}");
    assert_eq!(check_console(&["/nonexistent"], b"").0, Some(2));
    assert_eq!(check_console(&[], b"").0, Some(2));
}

#[test]
fn what_a_profile_allows_is_no_failure_of_a_log_and_an_unknown_rule_is_refused() {
    let world = Project::new();
    let check = || {
        let mut command = world.boma(&["check-console", "-", "--profile", "askari"]);
        command.write_stdin("You are in emergency mode. After\r\n").output().unwrap()
    };
    assert_eq!(check().status.code(), Some(8));
    world.edit_profile("{", "{\n\"console\": {\"allow\": [{\"id\": \"emergency-mode\", \"why\": \"a test\"}]},");
    let out = check();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && text.starts_with("allowed   emergency-mode") && text.contains("a test"), "{text}");
    world.edit_profile("emergency-mode", "emergency");
    world.refused(
        &["plan", "askari"],
        2,
        &["no console rule is called \"emergency\"", "emergency-mode", "askari.json"],
    );
}

#[test]
fn too_little_memory_is_refused_with_the_way_out() {
    Project::new().refused(&["cycle", "askari", "--min-free-mib", "99999999"], 3, &["MiB", "--min-free-mib"]);
}

#[test]
fn without_an_ssh_client_a_run_is_refused_with_the_package() {
    let world = Project::new();
    let out = world.boma(&["cycle", "askari"]).env("PATH", "/nowhere").output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(3), "{said}");
    assert!(said.contains("ssh") && said.contains("openssh-client"), "{said}");
    assert!(!world.dir.join("s/vms").exists());
}

#[test]
fn down_and_prune_of_nothing_succeed() {
    let world = Project::new();
    for args in [vec!["down", "askari"], vec!["prune"]] {
        let out = world.boma(&args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn a_second_run_at_once_is_refused_with_the_name_of_the_first() {
    let world = Project::new();
    host::dirs::make_private(&world.dir.join("s")).unwrap();
    let path = world.dir.join("s/run.lock");
    let _held = host::lock::Lock::try_take(&path, "`boma-qemu cycle askari`, pid 7").unwrap();
    world.refused(&["cycle", "askari"], 2, &["another run is at work", "cycle askari", "pid 7"]);
}

#[test]
fn an_experiment_that_makes_no_sense_is_refused_before_anything_is_made() {
    let world = Project::new();
    let bad = |more: &[&str], words: &[&str]| world.refused(&[&["experiment", "askari"], more].concat(), 2, words);
    bad(&[], &["--modes"]);
    bad(&["--modes", "guest,warp"], &["'warp'", "guest, acpi, reset, power-cycle", "soft-reboot"]);
    bad(&["--modes", ""], &["--modes"]);
    bad(&["--modes", "guest,reset,guest"], &["guest twice", "--runs"]);
    bad(&["--modes", "guest", "--runs", "0"], &["--runs 0", "1 to 100"]);
    bad(&["--modes", "guest", "--runs", "5000"], &["--runs 5000", "1 to 100"]);
    bad(&["--modes", "guest", "--runs", "two"], &["'two'"]);
    bad(&["--modes", "guest", "--seed=-1"], &["--seed"]);
    bad(&["--modes", "power-loss", "--crash-states", "9"], &["--workload", "--durable"]);
    let script = world.dir.join("save.sh");
    std::fs::write(&script, "true").unwrap();
    let crash = |mode: &'static str, states: &'static str, file: &'static str, words: &[&str]| {
        let file = if file.is_empty() { script.as_str() } else { file };
        bad(&["--modes", mode, "--crash-states", states, "--workload", file, "--durable", "/srv"], words);
    };
    crash("reset", "9", "", &["--crash-states", "power-loss"]);
    crash("power-loss", "0", "", &["--crash-states 0", "1 to"]);
    crash("power-loss", "9", "/nonexistent", &["cannot read the workload /nonexistent", "--workload"]);
    world.refused(
        &["experiment", "nosuch", "--modes", "guest"],
        2,
        &["no profile of a host is called nosuch", "askari"],
    );
}

#[test]
fn the_plan_shows_everything_and_no_secret_value() {
    let world = Project::new();
    let out = world.boma(&["plan", "askari", "-e", "token=hunter2"]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for part in ["qemu-system-x86_64", "table inet", "dhcp-host", "#cloud-config", "ansible-playbook", "\"askari\""] {
        assert!(text.contains(part), "{part} is not in the plan");
    }
    assert!(!text.contains("hunter2"));
    let json = world.boma(&["plan", "askari", "-e", "token=hunter2", "--json"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&json.stdout).contains("hunter2"));
}

#[test]
fn the_plan_writes_nothing() {
    let world = Project::new();
    let trace = world.dir.join("trace");
    let binary = assert_cmd::cargo::cargo_bin("boma-qemu");
    let out = std::process::Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            trace.as_str(),
            "-e",
            "trace=openat,open,creat,mkdir,mkdirat,unlink,unlinkat,rename,renameat,renameat2,socket,connect,execve",
        ])
        .arg(&binary)
        .args(["plan", "askari"])
        .current_dir(&world.dir)
        .env("BOMA_STATE", world.dir.join("s"))
        .output()
        .expect("strace is installed by .ci/install");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = std::fs::read_to_string(&trace).unwrap();
    let writes = ["O_WRONLY", "O_CREAT", "O_TRUNC", "mkdir", "unlink", "rename", "socket(", "connect("];
    let bad: Vec<_> = text
        .lines()
        .filter(|line| writes.iter().any(|w| line.contains(w)) && !line.contains("= -1"))
        // Opening /dev/kvm for a look asks for writing; nothing is written.
        .filter(|line| !line.contains("/dev/kvm") && !line.contains("/dev/null") && !line.contains("/dev/tty"))
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert_eq!(text.matches("execve(").count(), 1, "the plan runs no other program");
}
