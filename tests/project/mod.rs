//! A project of a test's own: the real one's files, with state, cache and evidence in a scratch folder.

use camino::{Utf8Path, Utf8PathBuf};
use std::process::Command;

pub(crate) struct Project {
    _keep: tempfile::TempDir,
    pub(crate) dir: Utf8PathBuf,
}

impl Project {
    pub(crate) fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
        let real = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["overrides", "certs", "verify", "tests"] {
            std::os::unix::fs::symlink(real.join(name), dir.join(name)).unwrap();
        }
        // Copies: a test may change them.
        for folder in ["net", "profiles"] {
            std::fs::create_dir(dir.join(folder)).unwrap();
        }
        for file in ["net/boma-it.json", "profiles/askari.json", "profiles/images.json", "profiles/pre-nixos.json"] {
            std::fs::copy(real.join(file), dir.join(file)).unwrap();
        }
        Self { _keep: keep, dir }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_boma-qemu"));
        command.args(args).current_dir(&self.dir).env_remove("BOMA_ROOT").env_remove("BOMA_REPO");
        command.envs(
            // Tests run side by side: what one promises is no reason to refuse another.
            [("BOMA_STATE", "s"), ("BOMA_IT_CACHE", "cache"), ("BOMA_RUNS", "runs"), ("BOMA_PROMISES", "promises")]
                .map(|(name, folder)| (name, self.dir.join(folder))),
        );
        command
    }

    /// The command must fail with that code, say all of those words, and make nothing but the evidence of what it
    /// has looked at.
    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str], code: i32, words: &[&str]) {
        self.refused_as(self.command(args), code, words);
    }

    /// The same of a command that was made from one of [`Project::command`].
    #[track_caller]
    pub(crate) fn refused_as(&self, mut command: Command, code: i32, words: &[&str]) {
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{command:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{command:?}: {word:?} is not in: {said}");
        }
        for made in ["s/vms", "s/net", "cache"] {
            assert!(!self.dir.join(made).exists(), "{command:?} made {made}");
        }
    }
}
