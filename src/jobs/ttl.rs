//! `@ttl`: the process that removes a VM which was forgotten.
//!
//! It is started with the VM, on the host and with the caller's own powers, and it is in the VM's ledger: whatever
//! takes the VM down ends it. It only waits. When the time has come another process of ours does what `down` does,
//! under the lock that every command holds while it changes VMs: so never while one is at work, never on a VM that is
//! another by then, and the network goes with its last user. The monitor could not do it: it has given away the
//! capabilities that the teardown needs, and it decides nothing.

use super::bring_up::own_exe;
use super::cycle::Keep;
use super::run::Run;
use super::{Context, Progress, down};
use camino::{Utf8Path, Utf8PathBuf};
use evidence::record::Record;
use host::deadline::{boottime, sleep_until_boottime};
use host::dirs::{DirError, Dirs, write_private};
use host::failure::{Exit, Failure};
use host::helper::Helper;
use host::ledger::{Change, Ledger};
use host::lock::Lock;
use host::names::{HostName, VmName};
use host::presence::{Presence, ignore};
use host::print;
use host::process::ProcessId;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use vm::machine::VmDir;

/// How often it looks whether the VM's folder is still there, in seconds: without it, nobody can find the VM any more.
const LOOK: f64 = 1.0;

/// The hidden subcommand's name.
pub const NAME: &str = "@ttl";

/// When a VM is removed, by whom, and all that they need to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expiry {
    /// The mirrored host.
    pub host: HostName,
    /// The VM; a later one of the same host is another.
    pub vm: VmName,
    /// The project root, the state folder, the cache and the evidence folder.
    folders: [Utf8PathBuf; 4],
    /// The life-time, in seconds.
    pub after_s: u64,
    /// When it ends, in seconds of CLOCK_BOOTTIME: it runs on while the host sleeps, and no clock step touches it.
    pub at: f64,
    /// The one who waits for it; none until it has been started.
    pub keeper: Option<ProcessId>,
}

impl Expiry {
    /// What stands in the VM's folder; none for a VM that is kept for ever.
    pub fn of(vm: &VmDir) -> Result<Option<Self>, DirError> {
        let path = vm.expiry();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(source) => return Err(DirError::Look { path, source }),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| DirError::Look { path, source: e.into() })
    }

    /// The time that is left; zero once it is over.
    pub fn left(&self) -> Duration {
        Duration::try_from_secs_f64(self.at - boottime()).unwrap_or_default()
    }

    /// In words, for `status`.
    pub fn told(&self) -> String {
        match self.keeper.map_or(Presence::Gone, |keeper| keeper.presence()) {
            Presence::There => {}
            Presence::Gone => return "its --ttl is forgotten: the process that waits for it is gone".into(),
            Presence::Unknown(why) => return format!("whether its --ttl is still waited for is not known: {why}"),
        }
        match self.left().as_secs() {
            0 => "its --ttl is over: it is removed as soon as no command is at work".into(),
            left => {
                let left = Duration::from_secs(if left < 120 { left } else { left / 60 * 60 });
                format!("removed by itself in {} (--ttl)", humantime::format_duration(left))
            }
        }
    }

    /// Whether it is still about the VM in this folder: none has taken its place.
    fn still_holds(&self, vm: &VmDir) -> Result<bool, DirError> {
        Ok(Self::of(vm)?.is_some_and(|now| now.vm == self.vm))
    }

    fn dirs(&self) -> Dirs {
        let [root, state, cache, runs] = self.folders.clone();
        Dirs { root, state, cache, runs }
    }
}

/// Let a VM be removed after some time. Its ledger is there and no [`Ledger`] of it is open.
pub fn start(exe: &Utf8Path, dirs: &Dirs, host: &HostName, vm: &VmName, after: Duration) -> Result<(), Failure> {
    let place = VmDir::of(dirs, host);
    let mut expiry = Expiry {
        host: host.clone(),
        vm: vm.clone(),
        folders: [&dirs.root, &dirs.state, &dirs.cache, &dirs.runs].map(Clone::clone),
        after_s: after.as_secs(),
        at: boottime() + after.as_secs_f64(),
        keeper: None,
    };
    let failed = |e: std::io::Error| Failure::new(Exit::Host, format!("cannot start the keeper of --ttl: {e}"));
    let argv = [exe.to_string(), NAME.into(), place.path().to_string()];
    let helper = Helper::new(&argv, place.path().join("ttl.log")).reading(Stdio::piped()).at_the_root();
    // Until it is told to go on it ends with us, so it never lives without being in the ledger.
    let started = helper.start().map_err(failed)?;
    let id = started.id().map_err(failed)?;
    Ledger::open(&place.ledger())?.adopt(Change::Process { role: "keeper of --ttl".into(), id })?;
    expiry.keeper = Some(id);
    write_private(&place.expiry(), serde_json::to_vec_pretty(&expiry).unwrap_or_default())?;
    started.go_on().map_err(failed)
}

/// The hidden subcommand: `@ttl FOLDER` waits, `@ttl FOLDER VM` removes.
pub fn main(args: &[String]) -> ExitCode {
    // A session of its own: a terminal's Ctrl-C and its hanging up are not for it.
    ignore(rustix::process::setsid(), "only a session's leader cannot, and has its own");
    let done = match args {
        [folder] => wait(&VmDir::at(folder.as_str())),
        [folder, vm] => remove(&VmDir::at(folder.as_str()), vm),
        _ => Err(Failure::new(Exit::Bug, format!("{NAME} takes the VM's folder"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print::err(&format!("{NAME}: {failure}"));
            ExitCode::from(failure.exit.code())
        }
    }
}

fn wait(vm: &VmDir) -> Result<(), Failure> {
    let failed = |what: &str, e: std::io::Error| Failure::new(Exit::Host, format!("cannot {what}: {e}"));
    // The line says that the ledger has our name; its end, that the starter has died before that.
    if !matches!(std::io::stdin().read(&mut [0]), Ok(1)) {
        return Err(Failure::new(Exit::Interrupted, "whoever started it is gone"));
    }
    let Some(expiry) = Expiry::of(vm)? else { return Ok(()) };
    while !expiry.left().is_zero() {
        sleep_until_boottime(expiry.at.min(boottime() + LOOK)).map_err(|e| failed("wait", e))?;
        // What cannot be read for a while may well be about this VM.
        if let Ok(false) = expiry.still_holds(vm) {
            return Ok(());
        }
    }
    let exe = own_exe()?;
    // Not in this process: taking the VM down ends it. And the evidence outlives the VM's folder.
    let log = Record::load(vm).map(|record| record.run.join("ttl.log")).unwrap_or_else(|_| "/dev/null".into());
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log).map_err(|e| failed("log", e))?;
    let mut remover = Command::new(exe)
        .args([NAME, vm.path().as_str(), expiry.vm.as_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|e| failed("start the removal", e))?;
    // It ends us on its way; only where it did not get that far is there an end to be seen.
    remover.wait().map(drop).map_err(|e| failed("wait for the removal", e))
}

/// What `down` does, when no command is at work any more, and if the VM is still the same.
fn remove(vm: &VmDir, name: &str) -> Result<(), Failure> {
    let Some(expiry) = Expiry::of(vm)?.filter(|expiry| expiry.vm.as_str() == name) else { return Ok(()) };
    let dirs = expiry.dirs();
    let who = format!("the end of the --ttl of {}, pid {}", expiry.host, std::process::id());
    let _lock = Lock::take(&super::guards::run_lock(&dirs), &who)?;
    if !expiry.still_holds(vm)? {
        return Ok(());
    }
    let ctx = Context { dirs: &dirs, progress: &Log };
    Log.note(&format!(
        "{} of {} has lived for {}: removing it",
        expiry.vm,
        expiry.host,
        humantime::format_duration(Duration::from_secs(expiry.after_s))
    ));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(Exit::Host, format!("cannot start the event loop: {e}")))?;
    runtime.block_on(async {
        // A VM that runs leaves its evidence, as at the end of a run; one that is dead has left what it could.
        let leaks = match Run::resume(ctx, &expiry.host) {
            Ok(run) => run.close(Ok(()), Keep::Never, evidence::record::Asked::Removal).await?.record.leaks,
            Err(_) => down::down(&ctx, &expiry.host).await?.leaks,
        };
        for leak in &leaks {
            Log.note(&format!("still there: {} ({})", leak.what, leak.why));
        }
        match leaks.is_empty() {
            true => Ok(()),
            false => Err(Failure::new(Exit::Leaked, "something is left").next("try `boma-qemu prune`")),
        }
    })
}

/// Nobody watches: all that is said goes into the log.
struct Log;

impl Progress for Log {
    fn begin(&self, _: &str) {}
    fn end(&self, phase: &str, seconds: f64, outcome: &str, ok: bool) {
        let mark = if ok { "" } else { "NOT " };
        self.note(&format!("{phase}: {mark}well after {seconds:.1} s: {outcome}"));
    }
    fn note(&self, text: &str) {
        print::err(&format!("{} {text}", humantime::format_rfc3339_seconds(std::time::SystemTime::now())));
    }
    fn output(&self, _: &str) {}
    fn trace(&self, _: &str) {}
}
