//! Audits of an image through the program, in a project of their own.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use std::process::Command;

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

/// Audit an image by `profiles/pre-nixos.json` with a change.
pub(crate) fn audit(image: &str, change: impl FnOnce(&mut Value)) -> Audit {
    audit_with(&[env!("CARGO_BIN_EXE_boma-qemu")], scratch(), image, change)
}

/// The same by a user who has no privilege and can have none, and who sees nothing of this project.
pub(crate) fn audit_as_ordinary_user(image: &str, change: impl FnOnce(&mut Value)) -> Audit {
    let (keep, dir) = scratch();
    let (program, copy) = (dir.join("boma-qemu"), dir.join("image.iso"));
    std::fs::copy(env!("CARGO_BIN_EXE_boma-qemu"), &program).unwrap();
    std::fs::copy(image, &copy).unwrap();
    let id = [format!("--reuid={ORDINARY}"), format!("--regid={ORDINARY}")];
    let bound = ["--clear-groups", "--bounding-set=-all", "--no-new-privs"];
    let prefix = [&["setpriv", &*id[0], &*id[1]], &bound[..], &[program.as_str()]].concat();
    nix::unistd::chown(dir.as_std_path(), Some(ORDINARY.into()), Some(ORDINARY.into())).unwrap();
    audit_with(&prefix, (keep, dir.clone()), copy.as_str(), change)
}

/// A folder for one audit. Short, because sockets lie below it.
fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
    let keep = tempfile::Builder::new().prefix("ba").tempdir_in("/var/tmp").unwrap();
    let dir = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
    (keep, dir)
}

fn audit_with(
    program: &[&str],
    (keep, dir): (tempfile::TempDir, Utf8PathBuf),
    image: &str,
    change: impl FnOnce(&mut Value),
) -> Audit {
    let real = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir(dir.join("net")).unwrap();
    std::fs::copy(real.join("net/boma-it.json"), dir.join("net/boma-it.json")).unwrap();
    std::fs::create_dir(dir.join("profiles")).unwrap();
    let text = std::fs::read_to_string(real.join("profiles/pre-nixos.json")).unwrap();
    let mut profile: Value = serde_json::from_str(&text).unwrap();
    change(&mut profile);
    let only = profile.as_object_mut().unwrap().remove("only");
    std::fs::write(dir.join("profiles/pre-nixos.json"), profile.to_string()).unwrap();
    let boma = |args: &[&str]| {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .args(args)
            .current_dir(&dir)
            .env_remove("BOMA_ROOT")
            .env("BOMA_STATE", dir.join("s"));
        command.env("BOMA_IT_CACHE", dir.join("c")).env("BOMA_RUNS", dir.join("r")).output().unwrap()
    };
    let mut args = vec!["audit", "pre-nixos", "--image", image];
    args.extend(only.iter().flat_map(|phase| ["--only", phase.as_str().unwrap()]));
    let out = boma(&args);
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    eprintln!("{told}");
    let removed = boma(&["prune", "--all"]);
    assert!(String::from_utf8_lossy(&removed.stdout).contains("nothing was there"), "the audit left something: {told}");
    let run = dir.join("r/latest");
    let all = std::fs::read(run.join("audit.json")).unwrap_or_else(|error| panic!("{error}: {told}"));
    Audit { code: out.status.code().unwrap(), told, all: serde_json::from_slice(&all).unwrap(), run, _keep: keep }
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
