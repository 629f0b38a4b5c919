//! A run that stops at a point (`src/host/failpoint.rs`), and who lives there.

use camino::{Utf8Path, Utf8PathBuf};
use host::process::ProcessId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

/// Where a run is to stop.
pub(crate) struct Stop {
    /// What `BOMA_FAILPOINT` is set to.
    pub(crate) folder: Utf8PathBuf,
}

/// A process that can be killed.
#[derive(Clone, Debug)]
pub(crate) struct Victim {
    pub(crate) name: String,
    pub(crate) pid: i32,
}

impl Victim {
    pub(crate) fn kill(&self) {
        // It can only have ended in between.
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
    }
}

impl Stop {
    /// Stop at a point; at none if it is empty, and tell which there are.
    pub(crate) fn at(folder: Utf8PathBuf, point: &str) -> Self {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        // Whoever runs the program writes there.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        std::fs::write(folder.join("at"), point).unwrap();
        Self { folder }
    }

    /// The points that were reached, in the order in which they came first.
    pub(crate) fn reached(&self) -> Vec<String> {
        let mut points: Vec<String> = Vec::new();
        for point in std::fs::read_to_string(self.folder.join("reached")).unwrap_or_default().lines() {
            if !points.iter().any(|known| known == point) {
                points.push(point.to_owned());
            }
        }
        points
    }

    /// The process that has stopped; none if `ended` holds first.
    pub(crate) fn wait(&self, limit: Duration, mut ended: impl FnMut() -> bool) -> Option<i32> {
        let start = Instant::now();
        loop {
            let pid = std::fs::read_to_string(self.folder.join("stopped")).ok().and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid
                && ProcessId::of(pid).ok().and_then(|id| id.state()) == Some('T')
            {
                return Some(pid);
            }
            if ended() {
                return None;
            }
            assert!(start.elapsed() < limit, "the point is not reached; reached: {:?}", self.reached());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Let the process that has stopped go on. It may have been killed.
    pub(crate) fn go_on(stopped: i32) {
        let _ = kill(Pid::from_raw(stopped), Signal::SIGCONT);
    }

    /// Who lives: the command, then every other process that has our folder in its command line or environment.
    pub(crate) fn victims(&self, dir: &Utf8Path, command: i32) -> Vec<Victim> {
        let mut found = vec![Victim { name: "the command".into(), pid: command }];
        let ours = format!("BOMA_FAILPOINT={}\0", self.folder);
        let mut pids: Vec<i32> = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_string_lossy().parse().ok())
            .filter(|pid| *pid != command)
            .collect();
        pids.sort_unstable();
        for pid in pids {
            let text = |name: &str| {
                let bytes = std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let line = text("cmdline").replace('\0', " ");
            // The netns lane's servers are the test program itself.
            if line.contains("/driver ") || !line.contains(dir.as_str()) && !text("environ").contains(&ours) {
                continue;
            }
            if let Some(name) = name(&line) {
                found.push(Victim { name, pid });
            }
        }
        found
    }
}

/// The word for a process: its program, and of a hidden subcommand what tells it from others.
fn name(line: &str) -> Option<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    let program = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
    Some(match words.as_slice() {
        [_, "@keep", .., space] => format!("@keep {space}"),
        [_, hidden, ..] if hidden.starts_with('@') => (*hidden).to_owned(),
        // Ansible's programs are scripts.
        [python, script, ..] if program(python).starts_with("python") => program(script),
        [first, ..] => program(first),
        [] => return None,
    })
}
