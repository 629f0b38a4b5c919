//! A guest for tests: a real shell on a pseudo-terminal, and a kernel that writes in between.

use crate::executable;
use camino::Utf8PathBuf;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use vm::console::allow::Allowed;
use vm::serial::{Interruption, Port, Serial};

/// Types on the pseudo-terminal; nothing ever happens to it.
pub(crate) struct Typist(File);

impl Port for Typist {
    async fn type_in(&self, bytes: &[u8], _: Duration) -> Result<(), String> {
        (&self.0).write_all(bytes).map_err(|e| e.to_string())
    }
    async fn interrupted(&mut self) -> Interruption {
        std::future::pending().await
    }
}

/// Where the kernel writes.
#[derive(Clone, Copy)]
pub(crate) enum Noise {
    Never,
    /// After so many bytes, each time.
    Every(usize),
    /// After any byte, once in so many, from a seed.
    Random(u64, u64),
}

/// A shell command on a pseudo-terminal, and the log of what it shows.
pub(crate) struct Guest {
    child: Child,
    pub(crate) log: Utf8PathBuf,
    keyboard: Option<Typist>,
    master: File,
    is_busybox: bool,
    pub(crate) records: Arc<AtomicUsize>,
    pub(crate) folder: tempfile::TempDir,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Guest {
    /// Run `script` with `sh` of `path`, which replaces PATH if there is one.
    pub(crate) fn run(script: &str, noise: Noise, path: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Utf8PathBuf::from_path_buf(folder.path().join("console.log")).unwrap();
        let pty = nix::pty::openpty(None, None).unwrap();
        let side = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = Command::new("/usr/bin/setsid");
        command.args(["--ctty", "sh", "-c", script]).stdin(side()).stdout(side()).stderr(side());
        command.env("PS1", "guest$ ").env("FAKES", folder.path());
        let outer = std::env::var("PATH").unwrap();
        let fakes = folder.path().display();
        match path {
            Some(path) => command.env("PATH", format!("{fakes}:{}:{outer}", path.display())),
            None => command.env("PATH", format!("{fakes}:{outer}")),
        };
        let child = command.spawn().unwrap();
        let mut master = File::from(pty.master);
        let keyboard = Some(Typist(master.try_clone().unwrap()));
        let own = master.try_clone().unwrap();
        let mut file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let records = Arc::new(AtomicUsize::new(0));
        let count = records.clone();
        std::thread::spawn(move || {
            let (mut bytes, mut at, mut state) = ([0; 4096], 0_usize, 0_u64);
            while let Ok(n @ 1..) = master.read(&mut bytes) {
                let mut out = Vec::new();
                for byte in &bytes[..n] {
                    out.push(*byte);
                    at += 1;
                    if noise.is_now(at, &mut state) {
                        let n = count.fetch_add(1, Ordering::Relaxed);
                        out.extend(format!("[{:5}.{:06}] audit: noise\r\n", n / 7, n % 1_000_000).bytes());
                    }
                }
                file.write_all(&out).unwrap();
            }
        });
        Self { child, log, keyboard, master: own, is_busybox: path.is_some(), records, folder }
    }

    /// The line, as a program has it.
    pub(crate) async fn serial(&mut self) -> Serial<Typist> {
        // A busybox that is the login shell is not an initramfs in despair.
        let allowed: Allowed =
            serde_json::from_str(r#"[{"id": "initramfs-shell", "why": "some guests' shell is busybox"}]"#).unwrap();
        let allowed = if self.is_busybox { allowed } else { Allowed::default() };
        Serial::on(&self.log, self.keyboard.take().unwrap(), allowed).await.unwrap()
    }

    /// A program that the guest finds before any other of its name.
    pub(crate) fn fake(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        let partial = self.folder.path().join(format!(".{name}"));
        executable::write(&partial, text);
        std::fs::rename(partial, path).unwrap();
    }

    /// Another one who types.
    pub(crate) fn finger(&self) -> File {
        self.master.try_clone().unwrap()
    }

    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Noise {
    fn is_now(self, at: usize, state: &mut u64) -> bool {
        match self {
            Self::Never => false,
            Self::Every(every) => at.is_multiple_of(every),
            Self::Random(seed, once_in) => {
                if *state == 0 {
                    *state = seed;
                }
                // Knuth's MMIX generator; its high bits are the good ones.
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (*state >> 33).is_multiple_of(once_in)
            }
        }
    }
}
