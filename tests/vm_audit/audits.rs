//! Audits of an image through the program, in a project of their own.

#[path = "../project/executable.rs"]
mod executable;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// What an audit came to.
pub(crate) struct Audit {
    pub(crate) code: i32,
    /// The table, and what was said of it.
    pub(crate) told: String,
    all: Value,
    run: Utf8PathBuf,
    _keep: tempfile::TempDir,
}

/// The profile as it is delivered.
pub(crate) fn unchanged(_: &mut Value) {}

/// One condition of a profile.
pub(crate) fn condition<'p>(profile: &'p mut Value, id: &str) -> &'p mut Value {
    profile["conditions"].as_array_mut().unwrap().iter_mut().find(|one| one["id"] == id).unwrap()
}

/// Look at one phase only.
pub(crate) fn only(profile: &mut Value, phase: &str) {
    profile["only"] = phase.into();
}

/// A user of every Debian who has a home, and no privilege (`backup`).
const ORDINARY: u32 = 34;

/// What becomes that user, for whom there is no way back.
fn as_ordinary() -> Vec<String> {
    let id = [format!("--reuid={ORDINARY}"), format!("--regid={ORDINARY}")];
    let bound = ["--clear-groups", "--bounding-set=-all", "--no-new-privs"].map(str::to_owned);
    [vec!["setpriv".to_owned()], id.into(), bound.into()].concat()
}

/// Audit an image by `profiles/pre-nixos.json` with a change.
pub(crate) fn audit(image: &str, change: impl FnOnce(&mut Value)) -> Audit {
    let mut place = Place::new();
    place.program = vec![env!("CARGO_BIN_EXE_boma-qemu").into()];
    place.audit(&["--image", image], change)
}

/// What the console of a machine shows that an audit has kept, once there is a prompt of the user's again.
pub(crate) fn console_of_a_kept_machine(image: &str) -> String {
    let mut place = Place::new();
    place.program = vec![env!("CARGO_BIN_EXE_boma-qemu").into()];
    place.project(unchanged);
    let out = place.boma(&["audit", "pre-nixos", "--image", image, "--only", "login,root", "--keep"]);
    assert!(out.status.success(), "{out:?}");
    let start = std::time::Instant::now();
    let console = loop {
        let text = std::fs::read(place.dir.join("s/vms/pre-nixos/console.log")).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let last = text.rsplit("boma# ").next().unwrap();
        if last.contains("nixos@nixos:~]$") || start.elapsed().as_secs() > 30 {
            break text;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert!(place.boma(&["down", "pre-nixos"]).status.success());
    console
}

/// An audit by a user who has no privilege and can have none, and who sees nothing of this project.
pub(crate) fn audit_as_ordinary_user(image: &str, change: impl FnOnce(&mut Value)) -> Audit {
    let mut place = Place::of_ordinary_user(image);
    place.program = [as_ordinary(), place.program.clone()].concat();
    let copy = place.dir.join("image.iso");
    place.audit(&["--image", copy.as_str()], change)
}

/// In a mount namespace, so that nothing of it is on the host: a program that answers as Nix does, and its profile script.
const WITH_NIX: &str = "mount -t tmpfs none /usr/local/bin && mount -t tmpfs -o mode=755 none /var/backups && \
    install nix /usr/local/bin && install -D nix.sh /var/backups/.nix-profile/etc/profile.d/nix.sh && exec \"$@\"";
/// It knows what the profile asks, and nothing else. Its image is one that was built before.
const NIX: &str = r#"#!/bin/sh
case "$*" in --version) echo 'nix (Nix) 2.24.14'; exit ;; esac
[ "$1 $2" = "--extra-experimental-features nix-command flakes" ] || exit 9
shift 2
case "$*" in
"flake show --json") printf %s '{"packages": {"x86_64-linux": {"bootImage": {"type": "derivation"}}}, ' \
    '"nixosConfigurations": {"pre-installer": {"type": "nixos-configuration"}}}' ;;
"eval --json .#packages.x86_64-linux.bootImage.drvPath") echo '"/nix/store/0-nixos.iso.drv"' ;;
"eval --json .#nixosConfigurations.pre-installer.config.systemd.services.pre-nixos.serviceConfig.Type") echo '"oneshot"' ;;
"build --no-link --print-out-paths nixpkgs#hello") echo /usr/local/bin/nix ;;
"build --impure --print-build-logs --verbose .#bootImage")
    echo 'building nixos.iso' >&2
    mkdir -p result/iso && cp ../image.iso result/iso/nixos.iso ;;
*) echo "error: unknown: $*" >&2; exit 1 ;;
esac
"#;

/// Build the image and audit it, as that user: no condition of the profile is left out.
pub(crate) fn build_and_audit(image: &str, url: &str) -> Audit {
    let mut place = Place::of_ordinary_user(image);
    place.write("nix", NIX);
    place.write("nix.sh", "# The real one widens PATH.\n");
    let venv = place.dir.join("flake/.venv");
    let made = Command::new("/usr/bin/python3").args(["-m", "venv", "--without-pip", venv.as_str()]).status();
    assert!(made.unwrap().success());
    let modules = glob::glob(&format!("{venv}/lib/python3*/site-packages")).unwrap().next().unwrap().unwrap();
    for module in ["pexpect.py", "pytest.py"] {
        std::fs::write(modules.join(module), "").unwrap();
    }
    nix::unistd::chown(place.dir.join("flake").as_std_path(), Some(ORDINARY.into()), None).unwrap();
    let inside = ["unshare", "--mount", "sh", "-ec", WITH_NIX, "sh"].map(str::to_owned);
    place.program = [inside.to_vec(), as_ordinary(), place.program.clone()].concat();
    place.audit(&[], |profile| {
        profile["build"]["folder"] = "flake".into();
        condition(profile, "network-for-build")["probe"]["url-reachable"]["url"] = url.into();
        condition(profile, "room-for-build")["probe"]["disk-free"]["at-least-mib"] = 1024.into();
    })
}

/// The place of one audit.
struct Place {
    keep: tempfile::TempDir,
    dir: Utf8PathBuf,
    program: Vec<String>,
}

impl Place {
    fn new() -> Self {
        // Short, because sockets lie below it.
        let keep = tempfile::Builder::new().prefix("ba").tempdir_in("/var/tmp").unwrap();
        let dir = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
        Self { keep, dir, program: Vec::new() }
    }

    /// One that belongs to the ordinary user, with a copy of the program and of the image.
    fn of_ordinary_user(image: &str) -> Self {
        let mut place = Self::new();
        let program = place.dir.join("boma-qemu");
        executable::copy(env!("CARGO_BIN_EXE_boma-qemu"), &program);
        std::fs::copy(image, place.dir.join("image.iso")).unwrap();
        nix::unistd::chown(place.dir.as_std_path(), Some(ORDINARY.into()), Some(ORDINARY.into())).unwrap();
        place.program = vec![program.into_string()];
        // On a normal Debian everybody may open it (udev); on some build machines only root may.
        std::fs::set_permissions("/dev/net/tun", std::fs::Permissions::from_mode(0o666)).unwrap();
        place
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.join(name), text).unwrap();
    }

    fn boma(&self, args: &[&str]) -> Output {
        let folders = [("BOMA_STATE", "s"), ("BOMA_IT_CACHE", "c"), ("BOMA_RUNS", "r")];
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).args(args).current_dir(&self.dir).env_remove("BOMA_ROOT");
        command.envs(folders.map(|(name, folder)| (name, self.dir.join(folder)))).output().unwrap()
    }

    /// The project, with the profile as it is after a change; what of it is to be looked at.
    fn project(&self, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let real = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["net", "profiles"] {
            std::fs::create_dir(self.dir.join(folder)).unwrap();
        }
        std::fs::copy(real.join("net/boma-it.json"), self.dir.join("net/boma-it.json")).unwrap();
        let text = std::fs::read_to_string(real.join("profiles/pre-nixos.json")).unwrap();
        let mut profile: Value = serde_json::from_str(&text).unwrap();
        change(&mut profile);
        let only = profile.as_object_mut().unwrap().remove("only");
        self.write("profiles/pre-nixos.json", &profile.to_string());
        only
    }

    fn audit(self, args: &[&str], change: impl FnOnce(&mut Value)) -> Audit {
        let only = self.project(change);
        let mut args = [&["audit", "pre-nixos"], args].concat();
        args.extend(only.iter().flat_map(|phase| ["--only", phase.as_str().unwrap()]));
        let out = self.boma(&args);
        let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        eprintln!("{told}");
        let removed = self.boma(&["prune", "--all"]);
        let removed = String::from_utf8_lossy(&removed.stdout);
        assert!(removed.contains("nothing was there"), "the audit left something: {told}");
        let run = self.dir.join("r/latest");
        let all = std::fs::read(run.join("audit.json")).unwrap_or_else(|error| panic!("{error}: {told}"));
        let all = serde_json::from_slice(&all).unwrap();
        Audit { code: out.status.code().unwrap(), told, all, run, _keep: self.keep }
    }
}

impl Audit {
    fn one(&self, id: &str) -> &Value {
        self.all["conditions"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap()
    }

    /// The conditions that came to a result, in their order.
    pub(crate) fn with(&self, result: &str) -> Vec<&str> {
        let all = self.all["conditions"].as_array().unwrap().iter();
        all.filter(|one| one["result"] == result).map(|one| one["id"].as_str().unwrap()).collect()
    }

    pub(crate) fn result(&self, id: &str) -> &str {
        self.one(id)["result"].as_str().unwrap()
    }

    pub(crate) fn cause(&self, id: &str) -> &str {
        self.one(id)["cause"].as_str().unwrap()
    }

    pub(crate) fn blocked_by(&self, id: &str) -> Vec<&str> {
        let by = self.one(id)["by"].as_array().unwrap_or_else(|| panic!("{id} is not blocked: {}", self.told));
        by.iter().map(|id| id.as_str().unwrap()).collect()
    }

    pub(crate) fn seconds(&self, id: &str) -> f64 {
        self.one(id)["seconds"].as_f64().unwrap()
    }

    /// A file of the evidence, if it is there.
    pub(crate) fn evidence(&self, file: &str) -> Option<String> {
        std::fs::read(self.run.join(file)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}
