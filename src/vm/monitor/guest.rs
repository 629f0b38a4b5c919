//! QEMU's process: started on descriptors that are connected already, spoken to over QMP.

use super::confine::{Confine, Confinement};
use super::files::Files;
use super::stderr::Stderr;
use crate::drive::Drive;
use crate::machine::VmDir;
use crate::qemu::media::{CD_DEVICE, First, LAST};
use crate::qemu::template::{Part, STATE_SET};
use crate::qemu::{Accel, Machine, Storage, accel, argv};
use crate::qmp::job::{self, JobError};
use crate::qmp::migration;
use crate::qmp::{Incoming, Qmp, QmpError};
use host::failure::{Blame, Exit, with_causes};
use host::presence::ignore;
use host::print;
use host::process::ProcessId;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{Mutex, mpsc};

/// The time that QEMU has from its start to its QMP greeting. It takes 0.2 s on an idle machine.
const GREETING_LIMIT: Duration = Duration::from_secs(30);
/// The time that one QMP command of the start has.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// The time that a snapshot has to be loaded. One of a 3 GiB guest takes 0.6 s on an idle machine.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

/// Why QEMU did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartError {
    /// The machine description cannot be used.
    #[error("cannot start the VM: {why}")]
    Machine {
        /// What is wrong.
        why: String,
    },
    /// The program could not be started.
    #[error("cannot run {program}: {why}", program = crate::qemu::PROGRAM)]
    Spawn {
        /// The operating system's reason.
        why: String,
    },
    /// It ended before it could be spoken to.
    #[error("QEMU ended at its start ({status}): {stderr}")]
    Died {
        /// Its exit status.
        status: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// It runs, but cannot be spoken to; it was killed.
    #[error("QEMU started and could not be spoken to: {0}")]
    Qmp(QmpError),
    /// It runs, and what it was to go on from, a snapshot or a template, cannot be loaded; it was killed.
    #[error("cannot go on from what was saved: {0}")]
    Snapshot(JobError),
}

impl From<QmpError> for StartError {
    fn from(error: QmpError) -> Self {
        Self::Qmp(error)
    }
}

impl From<JobError> for StartError {
    fn from(error: JobError) -> Self {
        Self::Snapshot(error)
    }
}

impl StartError {
    /// QEMU's words, if it was KVM that failed: then TCG may work.
    pub fn died_of_kvm(&self) -> Option<&str> {
        match self {
            Self::Died { stderr, .. } => accel::died_of_kvm(stderr),
            _ => None,
        }
    }
}

impl Blame for StartError {
    fn exit(&self) -> Exit {
        match self {
            Self::Machine { .. } | Self::Qmp(_) | Self::Snapshot(_) => Exit::Lost,
            Self::Spawn { .. } | Self::Died { .. } => Exit::Host,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Died { .. } if self.died_of_kvm().is_some() => Some("use --accel tcg".into()),
            Self::Spawn { .. } | Self::Died { .. } => Some("run `boma-qemu doctor`".into()),
            Self::Snapshot(_) => Some("the machine is off; start it again with `boma-qemu down` and `up`".into()),
            Self::Machine { .. } | Self::Qmp(_) => None,
        }
    }
}

/// What comes from a running QEMU.
pub(crate) enum FromGuest {
    /// Something over QMP.
    Qmp(Incoming),
    /// Console bytes.
    Console(Vec<u8>),
    /// The process ended.
    Exited(std::io::Result<ExitStatus>),
}

/// A running QEMU.
pub(crate) struct Guest {
    pub(crate) process: ProcessId,
    pub(crate) accel: Accel,
    /// Whether it went on from a template.
    pub(crate) goes_on: bool,
    pub(crate) confinement: Confinement,
    pub(crate) qmp: Qmp,
    pub(crate) keyboard: Arc<Mutex<OwnedWriteHalf>>,
    pub(crate) drives: Vec<Drive>,
    child: Child,
    incoming: mpsc::Receiver<Incoming>,
    console: OwnedReadHalf,
    console_open: bool,
    stderr: Stderr,
}

impl Guest {
    /// Start QEMU for the machine that `machine.json` describes, let it choose its actions, and run it: from
    /// its firmware on, or from a snapshot.
    ///
    /// It gets a copy of the tap and of the lock that stands for the VM's life, so neither ends before
    /// QEMU does. Must be called on the process's main thread: the parent-death signal fires when the
    /// *thread* that started QEMU ends.
    pub(crate) async fn start(
        dir: &VmDir,
        tap: Option<BorrowedFd<'_>>,
        alive: BorrowedFd<'_>,
        snapshot: Option<&str>,
    ) -> Result<Self, StartError> {
        let machine = Machine::load(&dir.machine()).map_err(|e| StartError::Machine { why: with_causes(&e) })?;
        let spawn = |e: std::io::Error| StartError::Spawn { why: e.to_string() };
        let (qmp, qmp_theirs) = std::os::unix::net::UnixStream::pair().map_err(spawn)?;
        let (console, console_theirs) = std::os::unix::net::UnixStream::pair().map_err(spawn)?;
        let (stderr, streams) = Stderr::open(&dir.qemu_err()).map_err(spawn)?;
        let mut files = Files::open(&machine)?;
        let drives = std::mem::take(&mut files.drives);
        let fds = files.fds(qmp_theirs.as_raw_fd(), console_theirs.as_raw_fd(), tap.map_or(-1, |tap| tap.as_raw_fd()));
        let inherited = fds.all().into_iter().chain([alive.as_raw_fd()]).collect();
        let confine = Confine::of(&machine, files.ram());
        let confinement = confine.in_force();
        let mut child = confine.command(&argv(&machine, &fds), inherited, streams).spawn().map_err(spawn)?;
        // Our copies of QEMU's ends must go, or its death would not be an end of file; and those of the files, whose
        // locks are QEMU's.
        drop((qmp_theirs, console_theirs, files));
        let process = child.id().map(|pid| ProcessId::of(pid.cast_signed()));
        let once = machine.media().is_some_and(|media| media.once && media.first == First::Iso);
        let from = match (snapshot, machine.template.as_ref().is_some_and(Part::goes_on)) {
            (Some(tag), _) => Begin::Snapshot(tag),
            (None, true) => Begin::Template,
            (None, false) => Begin::Boot { once },
        };
        let goes_on = matches!(from, Begin::Template);
        let (qmp, incoming) = match begin(stream(qmp).map_err(spawn)?, &machine, from).await {
            Ok(talking) => talking,
            Err(error) => return Err(why_not(&mut child, drives, &stderr, error).await),
        };
        let (console, keyboard) = stream(console).map_err(spawn)?.into_split();
        let process = match process {
            Some(Ok(process)) => process,
            Some(Err(e)) => return Err(why_not(&mut child, drives, &stderr, lost(&e.to_string()).into()).await),
            None => return Err(why_not(&mut child, drives, &stderr, lost("its process is gone").into()).await),
        };
        if once || goes_on {
            only_once(machine.clone(), dir)?;
        }
        let keyboard = Arc::new(Mutex::new(keyboard));
        let accel = machine.accel;
        Ok(Self {
            process,
            accel,
            goes_on,
            confinement,
            qmp,
            keyboard,
            drives,
            child,
            incoming,
            console,
            console_open: true,
            stderr,
        })
    }

    /// What comes next. It may be dropped and called again without losing anything.
    pub(crate) async fn next(&mut self) -> FromGuest {
        loop {
            tokio::select! {
                biased;
                Some(incoming) = self.incoming.recv() => return FromGuest::Qmp(incoming),
                _ = self.console.readable(), if self.console_open => {
                    if let Some(bytes) = self.console_now() {
                        return FromGuest::Console(bytes);
                    }
                }
                status = self.child.wait() => return FromGuest::Exited(status),
            }
        }
    }

    /// How many console bytes are there already.
    pub(crate) fn console_waits(&self) -> u64 {
        // Whoever cannot say has none.
        rustix::io::ioctl_fionread(self.console.as_ref()).unwrap_or(0)
    }

    /// Console bytes that are there already.
    pub(crate) fn console_now(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 16 * 1024];
        match self.console.try_read(&mut bytes) {
            Ok(n) if n > 0 => {
                bytes.truncate(n);
                return Some(bytes);
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            // QEMU's end is closed.
            Ok(_) | Err(_) => self.console_open = false,
        }
        None
    }

    /// What is left to come from a QEMU that has ended.
    pub(crate) async fn last(&mut self) -> Option<FromGuest> {
        if let Some(bytes) = self.console_now() {
            return Some(FromGuest::Console(bytes));
        }
        self.incoming.recv().await.map(FromGuest::Qmp)
    }

    /// Send a signal; being gone already is success.
    pub(crate) fn signal(&self, signal: Signal) {
        match self.process.open() {
            Ok(Some(fd)) => ignore(rustix::process::pidfd_send_signal(&fd, signal), "it can only have ended meanwhile"),
            Ok(None) => {}
            Err(e) => print::err(&format!("cannot signal QEMU, process {}: {e}", self.process.pid)),
        }
    }

    /// What its disks were on, when it has ended.
    pub(crate) fn into_drives(self) -> Vec<Drive> {
        self.drives
    }

    /// The end of what it has written to standard error since its start.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.tail()
    }

    /// The same of a QEMU that has ended: nothing more comes.
    pub(crate) fn last_words(&self) -> String {
        self.stderr.last_words()
    }
}

/// How a process ended: its exit code or its signal.
pub(crate) fn told(status: &std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(e) => format!("unknown exit status ({e})"),
    }
}

fn lost(why: &str) -> QmpError {
    QmpError::Lost { command: "the start".into(), why: why.into() }
}

fn stream(std: std::os::unix::net::UnixStream) -> std::io::Result<UnixStream> {
    std.set_nonblocking(true)?;
    UnixStream::from_std(std)
}

/// From now on the machine boots from its disks, also when QEMU is started again: no more from the CD, nor from where its
/// template stopped. Whoever wants that once more writes `machine.json` once more.
fn only_once(mut machine: Machine, dir: &VmDir) -> Result<(), StartError> {
    if let Storage::Media(media) = &mut machine.storage {
        media.first = First::Disk;
    }
    if let Some(Part::Clone(cloned)) = &mut machine.template {
        cloned.saved = None;
    }
    machine.save(&dir.machine()).map_err(|e| StartError::Machine { why: with_causes(&e) })
}

/// What a QEMU begins with.
enum Begin<'a> {
    /// A boot; `once`: from a CD that is behind the disks from the next boot on.
    Boot { once: bool },
    /// An earlier boot of the same machine.
    Snapshot(&'a str),
    /// A boot of the template's.
    Template,
}

/// Greeting, actions, what is gone on from if there is such a thing, and only then the next instruction.
///
/// `shutdown=pause` keeps a guest that powers off, to be looked at or reset; `panic=none` lets a panicking
/// kernel finish its own words and reboot if it is told to; `watchdog=none` leaves what follows to the
/// caller. Each still gives its event.
async fn begin(
    stream: UnixStream,
    machine: &Machine,
    from: Begin<'_>,
) -> Result<(Qmp, mpsc::Receiver<Incoming>), StartError> {
    let (qmp, incoming) = Qmp::connect(stream, GREETING_LIMIT).await?;
    let actions = json!({"reboot": "reset", "shutdown": "pause", "panic": "none", "watchdog": "none"});
    qmp.execute("set-action", actions, COMMAND_LIMIT).await?;
    let execute = async |command: &str, arguments| {
        let answer = qmp.execute(command, arguments, LOAD_LIMIT).await;
        answer.map_err(StartError::Qmp)
    };
    match from {
        Begin::Snapshot(tag) => {
            job::run(execute, "snapshot-load", crate::qemu::snapshot(machine, tag), LOAD_LIMIT).await?;
        }
        Begin::Template => {
            migration::run(execute, migration::Way::In, STATE_SET, LOAD_LIMIT).await?;
            execute("blockdev-add", crate::qemu::memory_node()).await?;
        }
        Begin::Boot { once: true } => {
            // The firmware reads the order as it was when the machine was last reset: for this boot that is settled.
            let path = format!("/machine/peripheral/{CD_DEVICE}");
            let behind = json!({"path": path, "property": "bootindex", "value": LAST});
            qmp.execute("qom-set", behind, COMMAND_LIMIT).await?;
        }
        Begin::Boot { once: false } => {}
    }
    qmp.execute("cont", Value::Null, COMMAND_LIMIT).await?;
    Ok((qmp, incoming))
}

/// Whether it ended, or is alive and silent; the latter is killed. Nothing writes to the disk any more then.
async fn why_not(child: &mut Child, drives: Vec<Drive>, stderr: &Stderr, error: StartError) -> StartError {
    let error = how_it_ended(child, stderr, error).await;
    for drive in drives {
        ignore(drive.ended().await, "what it wrote before it failed is of no interest, as long as no more comes");
    }
    error
}

async fn how_it_ended(child: &mut Child, stderr: &Stderr, error: StartError) -> StartError {
    const END_LIMIT: Duration = Duration::from_secs(5);
    if matches!(error, StartError::Qmp(QmpError::Lost { .. }))
        && let Ok(status) = tokio::time::timeout(END_LIMIT, child.wait()).await
    {
        let stderr =
            Some(stderr.last_words()).filter(|said| !said.is_empty()).unwrap_or_else(|| "it said nothing".into());
        return StartError::Died { status: told(&status), stderr };
    }
    ignore(child.kill().await, "it can only have ended meanwhile");
    error
}
