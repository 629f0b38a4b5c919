//! What the monitor does all day: take what comes from QEMU, write it down, do what it is asked.

use super::console_log::{ConsoleLog, Note};
use super::control::Order;
use super::events::Source;
use super::guest::{FromGuest, Guest, StartError, told};
use super::journal::Journal;
use super::what::{Boot, Command, Exited, Gap, Garbage, Kept, Lost, Restored, RuleMatch, Started, Stderr, What, Why};
use super::wire::{Ask, LogStep, QemuStatus, Refusal, Status};
use crate::console::allow::Allowed;
use crate::drive::{self, Drive};
use crate::machine::VmDir;
use crate::network::NetDir;
use crate::qemu::{Accel, accel};
use crate::qmp::{Incoming, Qmp};
use host::deadline::Deadline;
use host::lock::Lock;
use host::presence::ignore;
use host::print;
use host::process::ProcessId;
use rustix::process::Signal;
use serde_json::Value;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, timeout};

/// The time that QEMU has to end after `quit`, and again after SIGTERM.
const QUIT_LIMIT: Duration = Duration::from_secs(3);
/// The time for what a dead QEMU left in its sockets.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(2);
/// The time that QEMU has to say how it is.
const QUERY_LIMIT: Duration = Duration::from_secs(5);

/// How often it looks whether the VM's folder is still there: without it, nobody can find the VM any more.
const PERIOD: Duration = Duration::from_secs(1);

/// What a machine that began as a template was restored from, as the journal has it; no snapshot can be called so.
pub const TEMPLATE: &str = "(template)";

/// What the monitor owns and hands to QEMU.
pub(crate) struct Parts {
    pub(crate) dir: VmDir,
    pub(crate) tap: Option<OwnedFd>,
    pub(crate) alive: Lock,
    pub(crate) queue: mpsc::Receiver<Order>,
}

/// The supervisor of one VM.
pub(crate) struct Supervisor {
    parts: Parts,
    journal: Journal,
    console: ConsoleLog,
    guest: Option<Guest>,
    /// How QEMU ended last.
    ended: String,
    /// Whether it was KVM that stopped the guest: asked for whenever it stops, one answer at a time.
    failures: (mpsc::Sender<()>, mpsc::Receiver<()>),
    /// Why the network does not work any more, once it does not.
    broken: mpsc::UnboundedReceiver<String>,
}

enum Next {
    Guest(FromGuest),
    Order(Order),
    KvmFailed,
    Look,
    NetworkBroken(String),
    Terminated,
}

impl Supervisor {
    pub(crate) fn new(parts: Parts) -> std::io::Result<Self> {
        let journal = Journal::open(&parts.dir.events()).map_err(std::io::Error::other)?;
        let allowed = Allowed::read(&parts.dir.console_allowed())?;
        let console = ConsoleLog::open(&parts.dir.console(), &parts.dir.console_times(), allowed)?;
        let ended = "it was never started".into();
        let (send, broken) = mpsc::unbounded_channel();
        match std::fs::read_to_string(parts.dir.network()) {
            Ok(path) => drop(tokio::spawn(super::network::watch(NetDir::at(path), send))),
            // A VM without a network of ours.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        Ok(Self { parts, journal, console, guest: None, ended, failures: mpsc::channel(1), broken })
    }

    /// Start QEMU: a boot, or a boot of some time before going on from a snapshot.
    pub(crate) async fn start(&mut self, snapshot: Option<&str>) -> Result<(), StartError> {
        let Parts { dir, tap, alive, .. } = &self.parts;
        match Guest::start(dir, tap.as_ref().map(OwnedFd::as_fd), alive.file().as_fd(), snapshot).await {
            Ok(guest) => {
                let (pid, accel) = (guest.process.pid.into(), Some(guest.accel));
                let started = Started { pid, accel, confined: Some(guest.confinement.clone()) };
                let from = snapshot.or(guest.goes_on.then_some(TEMPLATE));
                self.guest = Some(guest);
                self.note(Source::Process, What::QemuStarted(started));
                match from {
                    None => self.cut(),
                    Some(tag) => self.restored(tag),
                }
                Ok(())
            }
            Err(error) => {
                self.ended = error.to_string();
                self.note(Source::Process, What::QemuStartFailed(Why { why: self.ended.clone() }));
                Err(error)
            }
        }
    }

    /// Go on until somebody says stop.
    pub(crate) async fn run(&mut self) {
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return self.stop().await };
        let mut look = interval(PERIOD);
        loop {
            let next = tokio::select! {
                from = from_guest(&mut self.guest) => Next::Guest(from),
                Some(order) = self.parts.queue.recv() => Next::Order(order),
                Some(()) = self.failures.1.recv() => Next::KvmFailed,
                _ = look.tick() => Next::Look,
                Some(why) = self.broken.recv() => Next::NetworkBroken(why),
                _ = terminate.recv() => Next::Terminated,
            };
            match next {
                Next::Guest(from) => self.take(from).await,
                Next::Order(Order { ask: Ask::Stop {}, reply }) => {
                    self.stop().await;
                    ignore(reply.send(Ok(Value::Null)), "the asker sees our end, if it does not see this");
                    return;
                }
                Next::Order(order) => self.obey(order).await,
                Next::KvmFailed => self.kvm_failed(),
                Next::Look if self.parts.alive.is_at(&self.parts.dir.alive()) => {}
                Next::Look => {
                    print::err(&format!("the VM's folder {} is gone: it ends", self.parts.dir.path()));
                    return self.stop().await;
                }
                Next::NetworkBroken(why) => self.note(Source::Monitor, What::NetworkBroken(Why { why })),
                Next::Terminated => return self.stop().await,
            }
            // All share one thread: while QEMU floods, whoever asks would wait until it pauses.
            tokio::task::yield_now().await;
        }
    }

    async fn take(&mut self, from: FromGuest) {
        match from {
            FromGuest::Qmp(incoming) => self.qmp(incoming),
            FromGuest::Console(bytes) => self.console(&bytes),
            FromGuest::Exited(status) => self.exited(status, false).await,
        }
    }

    fn qmp(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Event(event) => {
                // What the old boot said is in the socket by now, and belongs before the event. What a flood adds
                // meanwhile does not.
                let mut there = self.guest.as_ref().map_or(0, Guest::console_waits);
                while there > 0
                    && let Some(bytes) = self.guest.as_mut().and_then(Guest::console_now)
                {
                    self.console(&bytes);
                    there = there.saturating_sub(bytes.len() as u64);
                }
                self.note_qmp(&event.name, event.data);
                match event.name.as_str() {
                    "RESET" => self.cut(),
                    "STOP" => self.ask_state(),
                    _ => {}
                }
            }
            Incoming::Garbage(line) => self.note(Source::Monitor, What::QmpGarbage(Garbage { line })),
            Incoming::Lost(why) => self.note(Source::Monitor, What::QmpLost(Why { why })),
        }
    }

    fn console(&mut self, bytes: &[u8]) {
        let notes = self.console.take(bytes);
        self.tell(notes);
    }

    fn cut(&mut self) {
        let (notes, boot) = self.console.cut();
        self.tell(notes);
        if let Some(n) = boot {
            let boot = Boot { n: Some(n), offset: self.console.length(), kernel: false };
            self.note(Source::Monitor, What::Boot(boot));
        }
    }

    fn restored(&mut self, snapshot: &str) {
        let notes = self.console.restore();
        self.tell(notes);
        let restored = Restored { snapshot: snapshot.into(), offset: self.console.length() };
        self.note(Source::Monitor, What::Restore(restored));
    }

    fn tell(&mut self, notes: Vec<Note>) {
        for note in notes {
            match note {
                Note::Full(why) => self.note(Source::Monitor, What::ConsoleFull(Why { why })),
                Note::Gap { head, tail } => {
                    let gap = Gap { head, tail, why: "the guest floods its console".into() };
                    print::err(&format!(
                        "the console is flooded: only its first {head} and last {tail} bytes are kept"
                    ));
                    self.note(Source::Monitor, What::ConsoleGap(gap));
                }
                Note::Kernel { n, offset } => {
                    self.note(Source::Monitor, What::Boot(Boot { n: Some(n), offset, kernel: true }));
                }
                Note::Rule { finding, last } => {
                    self.note(Source::Console, What::ConsoleRule(RuleMatch::of(finding, last)));
                }
            }
        }
    }

    /// QEMU stops the guest when KVM fails; only the run state tells that from any other stop.
    fn ask_state(&self) {
        let Some(guest) = &self.guest else { return };
        let (qmp, failures) = (guest.qmp.clone(), self.failures.0.clone());
        tokio::spawn(async move {
            let answer = qmp.execute("query-status", Value::Null, QUERY_LIMIT).await;
            if answer.is_ok_and(|status| status["status"] == "internal-error") {
                ignore(failures.try_send(()), "one that waits to be told is enough");
            }
        });
    }

    fn kvm_failed(&mut self) {
        let stderr = self.guest.as_ref().map(Guest::stderr);
        self.note(Source::Monitor, What::KvmInternalError(Stderr { stderr }));
    }

    async fn obey(&mut self, order: Order) {
        let Order { ask, reply } = order;
        let outcome = match ask {
            Ask::Qmp { command, arguments, limit } => return self.run_qmp(command, arguments, limit, reply),
            Ask::ConsoleWrite { bytes, limit } => return self.write(bytes, limit, reply),
            Ask::PowerCycle {} => {
                // What the drive was given is kept: it writes it out when its client is gone.
                let kept = self.with_drives(|drives| drives.iter().map(Drive::unflushed).sum());
                self.note(Source::Monitor, What::PowerCycle(Kept { kept_bytes: kept }));
                self.start_again(None).await
            }
            Ask::PowerLoss {} if self.guest.as_ref().is_some_and(|guest| guest.drives.is_empty()) => {
                Err(Refusal::NoDrive {})
            }
            Ask::PowerLoss {} => {
                self.lose_power();
                self.start_again(None).await
            }
            Ask::DriveLog { step } => self.drive_log(step),
            Ask::Restore { snapshot } => self.start_again(Some(&snapshot)).await,
            Ask::Note { kind, data } => match self.journal.note(&kind, self.console.length(), &data) {
                Ok(Some(seq)) => Ok(seq.into()),
                Ok(None) => Err(Refusal::Request { why: format!("{kind} with this data is no note of a command's") }),
                Err(error) => Err(Refusal::Request { why: format!("{kind} cannot be written down: {error}") }),
            },
            Ask::Status {} => Ok(serde_json::to_value(self.status()).unwrap_or_default()),
            // Taken care of by `run`, which ends with it.
            Ask::Stop {} => Ok(Value::Null),
        };
        ignore(reply.send(outcome), "whoever asked may have lost interest");
    }

    fn running(&self) -> Result<&Guest, Refusal> {
        self.guest.as_ref().ok_or_else(|| Refusal::NotRunning { why: self.ended.clone() })
    }

    fn run_qmp(
        &mut self,
        command: String,
        arguments: Value,
        limit: Duration,
        reply: oneshot::Sender<Result<Value, Refusal>>,
    ) {
        let qmp: Result<Qmp, Refusal> = self.running().map(|guest| guest.qmp.clone());
        // A reset of our own must not be taken for the guest's; a question changes nothing. Arguments can hold secrets.
        let asks = command.starts_with("query-")
            || arguments["command-line"].as_str().is_some_and(|line| line.starts_with("info "));
        if qmp.is_ok() && !asks {
            self.note(Source::Monitor, What::QmpCommand(Command { command: command.clone() }));
        }
        tokio::spawn(async move {
            let outcome = match qmp {
                Ok(qmp) => qmp.execute(&command, arguments, limit).await.map_err(Refusal::Qmp),
                Err(refusal) => Err(refusal),
            };
            reply.send(outcome)
        });
    }

    /// The guest may not read its console for long: that must hold up nobody but the one who types.
    fn write(&self, bytes: Vec<u8>, limit: Duration, reply: oneshot::Sender<Result<Value, Refusal>>) {
        let keyboard = self.running().map(|guest| guest.keyboard.clone());
        tokio::spawn(async move {
            let outcome = match keyboard {
                Ok(keyboard) => {
                    let typing = async { keyboard.lock().await.write_all(&bytes).await };
                    match timeout(limit, typing).await {
                        Ok(Ok(())) => Ok(Value::Null),
                        Ok(Err(e)) => Err(Refusal::Console { why: e.to_string() }),
                        Err(_) => Err(Refusal::Console { why: format!("the guest did not take it in {limit:?}") }),
                    }
                }
                Err(refusal) => Err(refusal),
            };
            reply.send(outcome)
        });
    }

    fn status(&self) -> Status {
        let qemu = match &self.guest {
            Some(guest) => QemuStatus::Running { process: guest.process, accel: guest.accel },
            None => QemuStatus::Ended { why: self.ended.clone() },
        };
        let (boots, console) = (self.console.boots(), self.console.length());
        Status { monitor: ProcessId::own(), qemu, boots, console, last_event: self.journal.last() }
    }

    /// Something of the drives, if the machine runs and has any.
    fn with_drives<T>(&self, of: impl FnOnce(&[Drive]) -> T) -> Option<T> {
        self.guest.as_ref().map(|guest| &guest.drives[..]).filter(|drives| !drives.is_empty()).map(of)
    }

    /// The drives forget what was not flushed, and QEMU has no time to notice.
    fn lose_power(&mut self) {
        if let Some(guest) = &self.guest {
            guest.signal(Signal::STOP);
        }
        let lost = self.with_drives(|drives| drives.iter().map(Drive::lose_power).collect::<Result<Vec<_>, _>>());
        let lost = lost.transpose().unwrap_or_else(|error| {
            self.note(Source::Monitor, What::DriveFailed(Why { why: error.to_string() }));
            None
        });
        let sum = |of: fn(&drive::Lost) -> u64| lost.as_ref().map(|lost| lost.iter().map(of).sum());
        let (lost_bytes, early_bytes) = (sum(|lost| lost.bytes), sum(|lost| lost.early));
        self.note(Source::Monitor, What::PowerLoss(Lost { lost_bytes, early_bytes }));
    }

    fn drive_log(&self, step: LogStep) -> Result<Value, Refusal> {
        let first = self.running()?.drives.first().ok_or(Refusal::NoDrive {})?;
        let done = match step {
            LogStep::Begin => first.begin_log(),
            LogStep::Mark => first.mark(),
            LogStep::Save => first.save_log(&self.parts.dir.drive_log()),
            LogStep::End => first.end_log(),
        };
        done.map(|()| Value::Null).map_err(|error| Refusal::DriveLog { why: error.to_string() })
    }

    async fn start_again(&mut self, snapshot: Option<&str>) -> Result<Value, Refusal> {
        if let Some(guest) = &self.guest {
            guest.signal(Signal::KILL);
            // SIGKILL cannot be refused; only a stuck disk of the host holds it up.
            self.until_exit(Deadline::after(QUIT_LIMIT), true).await;
        }
        self.start(snapshot).await.map(|()| Value::Null).map_err(Refusal::Start)
    }

    /// Ask, then demand, then kill.
    async fn stop(&mut self) {
        self.note(Source::Monitor, What::Stop);
        if let Some(guest) = &self.guest {
            let qmp = guest.qmp.clone();
            // It answers by ending.
            tokio::spawn(async move { qmp.execute("quit", Value::Null, QUIT_LIMIT).await });
        }
        for harder in [Signal::TERM, Signal::KILL] {
            if self.until_exit(Deadline::after(QUIT_LIMIT), true).await {
                return;
            }
            if let Some(guest) = &self.guest {
                guest.signal(harder);
            }
        }
        self.until_exit(Deadline::after(QUIT_LIMIT), true).await;
    }

    /// Take what comes until QEMU has ended; `false` if the deadline passed first.
    async fn until_exit(&mut self, deadline: Deadline, asked: bool) -> bool {
        while self.guest.is_some() {
            match timeout(deadline.left(), from_guest(&mut self.guest)).await {
                Ok(FromGuest::Exited(status)) => self.exited(status, asked).await,
                Ok(FromGuest::Qmp(incoming)) => self.qmp(incoming),
                Ok(FromGuest::Console(bytes)) => self.console(&bytes),
                Err(_) => return false,
            }
        }
        true
    }

    /// QEMU is gone: what it left in its sockets first, then its end.
    async fn exited(&mut self, status: std::io::Result<ExitStatus>, asked: bool) {
        let deadline = Deadline::after(LAST_WORDS_LIMIT);
        while let Some(guest) = &mut self.guest {
            match timeout(deadline.left(), guest.last()).await {
                Ok(Some(FromGuest::Qmp(incoming))) => self.qmp(incoming),
                Ok(Some(FromGuest::Console(bytes))) => self.console(&bytes),
                Ok(Some(FromGuest::Exited(_)) | None) | Err(_) => break,
            }
        }
        let Some(guest) = self.guest.take() else { return };
        let (process, accel, stderr) = (guest.process, guest.accel, guest.last_words());
        // If it was asked to end, its last stop has said so already.
        if !asked && accel == Accel::Kvm && accel::died_of_kvm(&stderr).is_some() {
            self.note(Source::Process, What::KvmInternalError(Stderr { stderr: Some(stderr.clone()) }));
        }
        self.ended = told(&status);
        let exited = Exited { pid: Some(process.pid.into()), status: self.ended.clone(), asked, stderr };
        self.note(Source::Process, What::QemuExited(exited));
        // Before anybody opens the image again.
        for drive in guest.into_drives() {
            if let Err(error) = drive.ended().await {
                self.note(Source::Monitor, What::DriveFailed(Why { why: error.to_string() }));
            }
        }
    }

    /// Write an event. If that fails (a full disk) the monitor's log says so, and the VM goes on.
    fn note(&mut self, source: Source, what: What) {
        if let Err(error) = self.journal.append(source, &what, self.console.length()) {
            print::err(&format!("an event is lost: {error}: {what:?}"));
        }
    }

    /// The same of what QEMU says.
    fn note_qmp(&mut self, name: &str, data: Value) {
        if let Err(error) = self.journal.append_qmp(name, self.console.length(), data) {
            print::err(&format!("event {name} is lost: {error}"));
        }
    }
}

/// What comes next from QEMU; never, if it does not run.
async fn from_guest(guest: &mut Option<Guest>) -> FromGuest {
    match guest {
        Some(guest) => guest.next().await,
        None => std::future::pending().await,
    }
}
