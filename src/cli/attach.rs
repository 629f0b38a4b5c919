//! `console --attach`: the guest's serial console as a person's own terminal.
//!
//! What comes is what the monitor writes into the log, byte for byte, so the log goes on, any number may watch, and a
//! terminal that stands still holds up nobody. What is typed goes over the monitor's control socket, as everybody's
//! typing does.

mod raw;

use crate::jobs::target::alive;
use host::deadline::PROBE_PERIOD;
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::presence::ignore;
use host::print;
use host::tail::Tail;
use raw::{End, Raw};
use std::io::IsTerminal;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use vm::console::gap;
use vm::machine::VmDir;
use vm::monitor::Client;

/// Ctrl-], which leaves.
const LEAVE: u8 = 0x1d;
/// What a terminal says to a key that goes nowhere.
const BELL: &[u8] = b"\x07";
/// How much of what the console said before is shown, in bytes.
const HISTORY: u64 = 2048;
/// The time that the guest has to take what was typed.
const TYPING_LIMIT: Duration = Duration::from_secs(10);
/// The same for what was pressed right before leaving.
const LAST_KEYS_LIMIT: Duration = Duration::from_secs(1);
/// Pieces that are typed ahead of a guest that does not read.
const AHEAD: usize = 64;

/// How it ended.
enum Over {
    Left,
    MonitorGone,
    Signalled,
    TerminalGone,
}

/// `console --attach`.
pub(super) fn attach(dirs: &Dirs, host: &HostName) -> Result<u8, Failure> {
    for (name, is) in [("input", std::io::stdin().is_terminal()), ("output", rustix::stdio::stdout().is_terminal())] {
        if !is {
            return Err(Failure::new(Exit::Usage, format!("--attach needs a terminal, and standard {name} is none"))
                .next(format!("`boma-qemu console {host} --follow` prints the console anywhere")));
        }
    }
    let vm = VmDir::of(dirs, host);
    alive(&vm, host)?;
    let window = raw::window()
        .map(|(rows, columns)| format!("; `stty rows {rows} cols {columns}` tells the guest this window's size"));
    print::err(&format!("attached to the console of {host}; Ctrl-] leaves{}", window.unwrap_or_default()));
    let over = super::dispatch::wait_on(async {
        let _raw = Raw::enter().map_err(broken)?;
        talk(&vm).await.map_err(broken)
    });
    print::err("");
    match over? {
        Over::Left => Ok(0),
        Over::MonitorGone => {
            Err(Failure::new(Exit::Lost, format!("the monitor of {host}'s VM is gone, and the VM with it"))
                .next(format!("look at {}, then run `boma-qemu down {host}`", vm.console())))
        }
        Over::Signalled => Err(Failure::new(Exit::Interrupted, "stopped by a signal")),
        Over::TerminalGone => Err(Failure::new(Exit::Interrupted, "the terminal has gone")),
    }
}

fn broken(source: std::io::Error) -> Failure {
    Failure::new(Exit::Lost, format!("the console cannot be shown on this terminal: {source}"))
}

async fn talk(vm: &VmDir) -> std::io::Result<Over> {
    let (keys, screen) = (End::keys()?, End::screen()?);
    let length = std::fs::metadata(vm.console())?.len();
    let mut tail = Tail::open(vm.console(), length)?;
    screen.write(&before(vm, length)?).await?;
    let (ahead, typed) = mpsc::channel(AHEAD);
    let mut passing = std::pin::pin!(pass_on(vm, typed, &screen));
    let over = tokio::select! {
        over = press(&keys, &screen, ahead) => over?,
        shown = show(&mut tail, &screen) => return shown.map(|()| Over::TerminalGone),
        told = &mut passing => return told.map(|()| Over::TerminalGone),
        () = ended(vm) => Over::MonitorGone,
        signalled = signalled() => signalled?,
    };
    // What was pressed before leaving is still typed.
    if matches!(over, Over::Left) {
        ignore(timeout(LAST_KEYS_LIMIT, passing).await, "the user has left");
    }
    // Its last words may not have been shown yet.
    let mut last = Vec::new();
    if matches!(over, Over::MonitorGone) && timeout(Duration::ZERO, tail.more(&mut last)).await.is_ok() {
        ignore(timeout(PROBE_PERIOD, screen.write(&last)).await, "the terminal is gone");
    }
    Ok(over)
}

/// The end of what the console has said, from the beginning of a line.
fn before(vm: &VmDir, length: u64) -> std::io::Result<Vec<u8>> {
    let from = length.saturating_sub(HISTORY);
    let mut text = gap::text(&vm.console(), from..length)?;
    let first = text.iter().position(|byte| *byte == b'\n').filter(|_| from > 0);
    Ok(text.split_off(first.map_or(0, |at| at + 1)))
}

async fn show(tail: &mut Tail, screen: &End) -> std::io::Result<()> {
    loop {
        let mut bytes = Vec::new();
        tail.more(&mut bytes).await?;
        screen.write(&bytes).await?;
    }
}

/// Take keys until the one that leaves.
async fn press(keys: &End, screen: &End, ahead: mpsc::Sender<Vec<u8>>) -> std::io::Result<Over> {
    loop {
        let mut bytes = keys.read().await?;
        if bytes.is_empty() {
            return Ok(Over::TerminalGone);
        }
        let leaves = bytes.iter().position(|byte| *byte == LEAVE);
        bytes.truncate(leaves.unwrap_or(bytes.len()));
        if !bytes.is_empty() && ahead.try_send(bytes).is_err() {
            screen.write(BELL).await?;
        }
        if leaves.is_some() {
            return Ok(Over::Left);
        }
    }
}

/// Type on the console what was pressed, until nothing more is.
async fn pass_on(vm: &VmDir, mut typed: mpsc::Receiver<Vec<u8>>, screen: &End) -> std::io::Result<()> {
    let client = Client::new(vm);
    while let Some(bytes) = typed.recv().await {
        if let Err(error) = client.console_write(&bytes, TYPING_LIMIT).await {
            screen.write(format!("\r\n[boma-qemu: {error}]\r\n").as_bytes()).await?;
        }
    }
    Ok(())
}

async fn ended(vm: &VmDir) {
    while vm.is_alive() {
        tokio::time::sleep(PROBE_PERIOD).await;
    }
}

async fn signalled() -> std::io::Result<Over> {
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (mut quit, mut hangup) = (signal(SignalKind::quit())?, signal(SignalKind::hangup())?);
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = quit.recv() => {}
        _ = hangup.recv() => return Ok(Over::TerminalGone),
    }
    Ok(Over::Signalled)
}
