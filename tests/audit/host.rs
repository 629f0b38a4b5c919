//! The host's conditions, on this machine and on homes that the tests make.

use crate::executable;
use boma_qemu::audit::host::{Site, User, look};
use boma_qemu::audit::outcome::{Seen, Verdict};
use boma_qemu::audit::profile::Build;
use boma_qemu::audit::{Condition, Phase, Severity};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::Dirs;
use host::programs::{path, widened};
use std::io::{Read, Write};

/// A user with a home of their own on this machine.
struct Home {
    _keep: tempfile::TempDir,
    site: Site,
}

impl Home {
    fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let home = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
        let dirs = Dirs { root: home.clone(), state: home.join("s"), cache: home.join("c"), runs: home.join("r") };
        let user = User { name: "nina".into(), home: home.clone(), is_root: false };
        let site = Site { dirs, user, path: widened(&path()), build: None, image: None, evidence: home };
        Self { _keep: keep, site }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.site.user.home.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        executable::write(path, &format!("#!/bin/sh\n{script}\n"));
    }

    fn builds(mut self, command: &str) -> Self {
        let command = ["sh", "-c", command].map(str::to_owned).to_vec();
        self.site.build = Some((Build { command, folder: ".".into(), limit: 30 }, self.site.user.home.clone()));
        self.site.image = Some(self.path("out/*.iso"));
        self
    }

    /// Look through a probe as a profile has it.
    fn look(&self, probe: &str) -> Seen {
        let condition = Condition {
            id: "it".parse().unwrap(),
            phase: Phase::Host,
            what: "it holds".into(),
            probe: serde_json::from_str(probe).unwrap(),
            severity: Severity::Must,
            hint: "mend it".into(),
            after: Vec::new(),
            when: Default::default(),
            limit: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(look(&self.site, &condition, &mut |_| ()))
    }

    #[track_caller]
    fn holds(&self, probe: &str) -> Seen {
        let seen = self.look(probe);
        assert_eq!(seen.verdict, Verdict::Holds, "{seen:?}");
        seen
    }

    #[track_caller]
    fn fails(&self, probe: &str, words: &[&str]) -> Seen {
        let seen = self.look(probe);
        let Verdict::Fails(cause) = &seen.verdict else { panic!("{seen:?}") };
        for word in words {
            assert!(cause.lines().next().unwrap().contains(word), "{word:?} is not in {cause:?}");
        }
        seen
    }
}

#[test]
fn a_command_that_only_a_login_shell_finds_is_missing_in_the_other() {
    let home = Home::new();
    home.program("bin/only-here", "echo version 7");
    home.write(".bash_profile", "echo a word of the day\nPATH=$HOME/bin:$PATH\n");
    home.holds(r#"{"commands-present": {"shells": ["fresh-login"], "names": ["only-here", "sh"]}}"#);
    home.fails(
        r#"{"commands-present": {"names": ["only-here", "sh", "nor-this"]}}"#,
        &["in a fresh login shell: not found: nor-this"],
    );
    home.fails(
        r#"{"commands-present": {"names": ["only-here"]}}"#,
        &["in a fresh non-login shell: not found: only-here"],
    );
    let works = |shell: &str, expect: &str| {
        format!(r#"{{"command-works": {{"shells": ["{shell}"], "argv": ["only-here"], "expect": "{expect}"}}}}"#)
    };
    home.holds(&works("fresh-login", "^version [0-9]"));
    home.fails(&works("fresh-login", "^version 8"), &["only-here does not say /^version 8/ but \"version 7\""]);
    let seen = home
        .fails(&works("fresh-non-login", "version"), &["only-here ended with exit status: 127", "command not found"]);
    assert!(seen.evidence.contains("== a fresh non-login shell (exit status: 127)"), "{}", seen.evidence);
}

#[test]
fn a_shell_without_user_is_found_and_nothing_of_this_process_leaks_in() {
    let home = Home::new();
    let set = r#"{"shell-environment": {"set": ["USER", "HOME", "PATH"]}}"#;
    home.holds(set);
    home.fails(r#"{"shell-environment": {"set": ["CARGO_MANIFEST_DIR"]}}"#, &["CARGO_MANIFEST_DIR is not set"]);
    home.write(".bash_profile", "unset USER\n");
    home.fails(set, &["in a fresh login shell: USER is not set"]);
    home.write(".bash_profile", "export USER=somebody HOME=/\n");
    home.fails(set, &["USER is \"somebody\" and not \"nina\", HOME is \"/\" and not"]);
}

#[test]
fn a_command_that_hangs_is_ended_at_the_limit() {
    let home = Home::new();
    home.write(".bash_profile", "sleep 50\n");
    let mut condition: Condition = serde_json::from_str(
        r#"{"id": "a", "phase": "host", "what": "w", "hint": "h", "limit": 1,
            "probe": {"command-works": {"argv": ["true"]}}}"#,
    )
    .unwrap();
    condition.limit = Some(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = std::time::Instant::now();
    let seen = runtime.block_on(look(&home.site, &condition, &mut |_| ()));
    assert_eq!(seen.verdict, Verdict::Fails("in a fresh login shell: no end within 1 s".into()));
    assert!(start.elapsed().as_secs() < 45);
}

#[test]
fn qemu_makes_machines_and_says_in_one_line_why_not() {
    let home = Home::new();
    home.holds(r#"{"qemu-devices": {"expect": ["virtio-rng-pci", "virtio-net-pci"]}}"#);
    home.fails(r#"{"qemu-devices": {"expect": ["virtio-rng-pci", "flux-pci"]}}"#, &["QEMU has no flux-pci"]);
    home.holds(r#"{"qemu-smoke": {"devices": ["virtio-rng-pci"]}}"#);
    home.fails(r#"{"qemu-smoke": {"devices": ["flux-pci"]}}"#, &["flux-pci", "is not a valid device model name"]);
    home.holds(r#"{"user-network": {}}"#);
    let mut bare = Home::new();
    bare.site.path = "/nowhere".into();
    for probe in [r#"{"qemu-devices": {"expect": ["x"]}}"#, r#"{"qemu-smoke": {}}"#, r#"{"user-network": {}}"#] {
        bare.fails(probe, &["`qemu-system-x86_64` is not in PATH"]);
    }
}

#[test]
fn an_accelerator_counts_only_if_it_runs_a_program_of_ours() {
    let home = Home::new();
    let seen = home.holds(r#"{"accelerator": {"times": 2}}"#);
    assert!(seen.observed.contains("ran a program 2 times"), "{seen:?}");
    // A QEMU that ends well without having run anything.
    let mut liar = Home::new();
    liar.program("bin/qemu-system-x86_64", "exit 0");
    liar.site.path = liar.path("bin").into();
    liar.fails(r#"{"accelerator": {}}"#, &["run 1 of 3 ended with exit status: 0, not with the program's own code"]);
}

#[test]
fn files_memory_and_room_are_what_they_are() {
    let home = Home::new();
    home.write("f", "");
    let access = |path: &Utf8Path| format!(r#"{{"file-access": {{"path": "{path}", "access": "read-write"}}}}"#);
    home.holds(&access(&home.path("f")));
    home.fails(&access(&home.path("g")), &["/g does not open: No such file"]);
    home.holds(r#"{"memory": {"at-least-mib": 1}}"#);
    home.fails(r#"{"memory": {"at-least-mib": 99999999}}"#, &["99999999 MiB are needed"]);
    home.holds(r#"{"cgroup-limit": {"at-least-mib": 1}}"#);
    home.holds(r#"{"disk-free": {"folder": "state", "at-least-mib": 1}}"#);
    home.fails(
        r#"{"disk-free": {"folder": "runs", "at-least-mib": 99999999999}}"#,
        &["free, 99999999999 MiB are needed"],
    );
}

#[test]
fn an_address_answers_with_the_expected_status_or_not() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 512];
            let n = stream.read(&mut request).unwrap();
            let found = String::from_utf8_lossy(&request[..n]).starts_with("GET /there ");
            let status = if found { "200 OK" } else { "404 Not Found" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        }
    });
    let home = Home::new();
    let url = |port: u16, path: &str| format!(r#"{{"url-reachable": {{"url": "http://127.0.0.1:{port}/{path}"}}}}"#);
    home.holds(&url(port, "there"));
    home.fails(&url(port, "gone"), &["answers with 404, not with [200]"]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    home.fails(&url(nobody, "there"), &["does not answer", "refused"]);
}

#[test]
fn a_virtual_environment_imports_what_it_has() {
    let home = Home::new();
    let made = std::process::Command::new("/usr/bin/python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(home.path("venv"))
        .status()
        .unwrap();
    assert!(made.success());
    home.holds(r#"{"python-imports": {"venv": "venv", "modules": ["json", "email.parser"]}}"#);
    home.fails(
        r#"{"python-imports": {"venv": "venv", "modules": ["json", "pexpect_not_here"]}}"#,
        &["cannot import pexpect_not_here: ModuleNotFoundError"],
    );
    home.fails(r#"{"python-imports": {"venv": "other", "modules": ["json"]}}"#, &["other/bin/python does not exist"]);
}

/// No Nix is to be had here: a program with its name says what it was asked, or what the real one says.
#[test]
fn nix_is_asked_in_a_login_shell_in_the_build_folder() {
    let home = Home::new().builds("true");
    home.write(".bash_profile", "PATH=$HOME/bin:$PATH\n");
    home.fails(r#"{"nix-flake-show": {}}"#, &["nix flake show --json: ", "nix: command not found"]);
    home.program(
        "bin/nix",
        r#"[ "$1 $2" = "--extra-experimental-features nix-command flakes" ] || { echo "$*"; exit 9; }
shift 2
case "$1 $2" in
"flake show") echo '{"packages":{"x86_64-linux":{"iso":{"type":"derivation"}}}}' ;;
"eval --json") [ "$3" = .#units ] && echo '["pre-nixos.service"]' || { echo 'error: flake has no attribute' >&2; exit 1; } ;;
"build --no-link") echo "$HOME/out" ;;
esac"#,
    );
    home.holds(r#"{"nix-flake-show": {"expect": ["packages.x86_64-linux.iso"]}}"#);
    home.fails(
        r#"{"nix-flake-show": {"expect": ["nixosConfigurations.x"]}}"#,
        &["the flake has no nixosConfigurations.x"],
    );
    home.holds(r#"{"nix-eval": {"attribute": "units", "expect": "pre-nixos\\.service"}}"#);
    home.fails(
        r#"{"nix-eval": {"attribute": "units", "expect": "sshd"}}"#,
        &["units is [\"pre-nixos.service\"], which is not /sshd/"],
    );
    home.fails(r#"{"nix-eval": {"attribute": "x"}}"#, &["nix eval --json .#x: error: flake has no attribute"]);
    home.fails(
        r#"{"nix-realises": {"installable": "nixpkgs#hello"}}"#,
        &["out, an output of nixpkgs#hello, does not exist"],
    );
    home.write("out", "");
    home.holds(r#"{"nix-realises": {"installable": "nixpkgs#hello"}}"#);
    home.fails(r#"{"nix-profile-script": {"paths": ["~/nix.sh", "/nowhere"]}}"#, &["none of these is there: ~/nix.sh"]);
    home.write("nix.sh", "[ -n \"$USER\" ] && PATH=$HOME/bin:$PATH\n");
    home.holds(r#"{"nix-profile-script": {"paths": ["~/nix.sh"]}}"#);
}

#[test]
fn a_build_makes_one_image_and_its_log_is_kept() {
    let build = r#"{"build": {}}"#;
    let home = Home::new().builds("echo working; mkdir -p out; echo $USER > out/a.iso");
    let seen = home.holds(build);
    assert!(seen.observed.contains("out/a.iso") && seen.evidence.contains("working"), "{seen:?}");
    assert_eq!(std::fs::read_to_string(home.path("out/a.iso")).unwrap(), "nina\n");
    assert!(std::fs::read_to_string(home.path("build.log")).unwrap().contains("\nworking\n"));
    home.write("out/b.iso", "");
    home.fails(build, &["the build ended well, but", "2 files match", "a.iso, ", "b.iso"]);
    let mut gone = Home::new().builds("true");
    gone.site.build.as_mut().unwrap().1 = gone.path("gone");
    gone.fails(build, &["there is no folder", "gone to build in"]);
    gone.fails(r#"{"nix-flake-show": {}}"#, &["there is no folder"]);
    gone.holds(r#"{"command-works": {"argv": ["true"]}}"#);
    let broken = Home::new().builds("echo on the way; echo error: no such input >&2; exit 3");
    broken.fails(build, &["the build ended with exit status: 3; it last said: error: no such input"]);
    let mut slow = Home::new().builds("sleep 60");
    slow.site.build.as_mut().unwrap().0.limit = 1;
    slow.fails(build, &["the build did not end within 1 s"]);
}
