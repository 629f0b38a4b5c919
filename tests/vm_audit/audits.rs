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

/// Audit an image by `profiles/pre-nixos.json` with a change.
pub(crate) fn audit(image: &str, change: impl FnOnce(&mut Value)) -> Audit {
    // Short: there are sockets below it.
    let keep = tempfile::Builder::new().prefix("ba").tempdir_in("/var/tmp").unwrap();
    let dir = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
    let real = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    std::os::unix::fs::symlink(real.join("net"), dir.join("net")).unwrap();
    std::fs::create_dir(dir.join("profiles")).unwrap();
    let text = std::fs::read_to_string(real.join("profiles/pre-nixos.json")).unwrap();
    let mut profile: Value = serde_json::from_str(&text).unwrap();
    change(&mut profile);
    let only = profile.as_object_mut().unwrap().remove("only");
    std::fs::write(dir.join("profiles/pre-nixos.json"), profile.to_string()).unwrap();
    let boma = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_boma-qemu"));
        command.args(args).current_dir(&dir).env_remove("BOMA_ROOT").env("BOMA_STATE", dir.join("s"));
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
