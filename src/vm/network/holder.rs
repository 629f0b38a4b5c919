//! `@net`: the process that holds a network. All its parts are its children and die with it.

use super::build::{Built, build};
use super::caps::Keep;
use super::dir::NetDir;
use super::never::Follow;
use super::plan::{Mode, NetPlan};
use super::watch::Watch;
use super::{NetError, Network};
use camino::Utf8PathBuf;
use host::dirs::write_private;
use host::handshake;
use host::ledger::{Change, Leak, Ledger};
use host::lock::Lock;
use host::presence::ignore;
use host::print;
use host::process::ProcessId;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::process::ExitCode;

/// The hidden subcommand's name.
pub const NAME: &str = "@net";
/// How often it looks whether its folder is still there.
const PERIOD: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The hidden subcommand: `@net FOLDER`, where FOLDER holds the plan.
pub fn main(args: &[String]) -> ExitCode {
    handshake::end(NAME, run(args))
}

fn run(args: &[String]) -> Result<(), NetError> {
    let [dir] = args else {
        return Err(NetError::Arguments { command: NAME, why: "it takes one folder".into() });
    };
    let dir = NetDir::at(dir.as_str());
    // A session of its own: a terminal's Ctrl-C and its hanging up are not for it.
    ignore(rustix::process::setsid(), "only a session's leader cannot, and has its own");
    let alive = Lock::try_take(&dir.alive(), &format!("the network's holder, pid {}", std::process::id()))?;
    let mut ledger = Ledger::open(&dir.ledger())?;
    let held = hold(&dir, &alive, &mut ledger);
    if !alive.is_at(&dir.alive()) {
        // Nobody can find the ledger any more, and what is on the host itself does not end with its maker.
        for Leak { what, why } in ledger.undo_beside_self() {
            print::err(&format!("{what} is still there: {why}"));
        }
    }
    held
}

fn hold(dir: &NetDir, alive: &Lock, ledger: &mut Ledger) -> Result<(), NetError> {
    ledger.adopt(Change::Process { role: "network holder".into(), id: ProcessId::own() })?;
    let mut plan: NetPlan = super::read_json(&dir.plan())?;
    let exe = super::own_exe()?;
    let built = build(&exe, dir, &mut plan, ledger)?;
    // Not before: the parts would inherit the blocked signals. Until now a signal simply ends it all.
    let signals = signals().map_err(|errno| NetError::Start { program: NAME.into(), source: errno.into() })?;
    let network = Network {
        exe,
        dir: dir.path().to_owned(),
        holder: ProcessId::own(),
        guest: built.guest.as_ref().map(|netns| netns.id),
        controller: built.controller.id,
        plan,
        cut: false,
    };
    write_private(&dir.plan(), to_json(&network.plan))?;
    write_private(&dir.ready(), to_json(&network))?;
    let watch = Watch::new(&network)?;
    // From here on it only waits and adds to the filters; in namespaces of our own that takes no capability.
    match network.plan.mode {
        Mode::Namespace => Keep::None.apply()?,
        Mode::Host => Keep::NetAdmin.apply()?,
    }
    let never = Follow::start(&network)?;
    let file = |source| NetError::File { path: Utf8PathBuf::from("the holder's standard output"), source };
    handshake::ready(&()).map_err(file)?;
    let null = std::fs::File::open("/dev/null").map_err(file)?;
    rustix::stdio::dup2_stdout(&null).map_err(|errno| file(errno.into()))?;
    serve(built, dir, alive, &signals, watch, &never);
    Ok(())
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    // Plain data with string keys always has a JSON form.
    serde_json::to_vec_pretty(value).unwrap_or_default()
}

fn signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Wait for the order to end. A part that dies meanwhile is told to those who look; it is not started
/// again, since what it knew (connections, leases given out) is gone. A network whose folder is gone ends.
fn serve(mut built: Built, dir: &NetDir, alive: &Lock, signals: &SignalFd, mut watch: Watch, never: &Follow) {
    let mut is_whole = true;
    while alive.is_at(&dir.alive()) {
        if is_whole && let Some(error) = built.dead() {
            if !tell_broken(dir, &error) {
                return;
            }
            // What ends after it may have ended because of it.
            is_whole = false;
        }
        let mut fds = [PollFd::new(signals, PollFlags::IN), PollFd::new(watch.fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&PERIOD)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            if i32::try_from(signal.ssi_signo) != Ok(Signal::SIGCHLD as i32) {
                return;
            }
        }
        if let Err(error) = watch.follow()
            && !tell_broken(dir, &error)
        {
            return;
        }
        if is_whole && let Some(error) = never.failed() {
            if !tell_broken(dir, &error) {
                return;
            }
            is_whole = false;
        }
    }
}

/// Tell those who look; whether they can see it.
fn tell_broken(dir: &NetDir, error: &NetError) -> bool {
    print::err(&error.to_string());
    if let Err(unwritten) = write_private(&dir.broken(), error.to_string()) {
        // Whoever looks must not take it for whole: without its holder it is broken as well.
        print::err(&host::failure::Failure::from(unwritten).to_string());
        return false;
    }
    true
}
