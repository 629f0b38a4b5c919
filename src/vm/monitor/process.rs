//! The monitor's process: `@monitor <folder of the VM>`.

use super::guest::StartError;
use super::supervisor::{Parts, Supervisor};
use crate::machine::VmDir;
use crate::network;
use crate::qemu::{Cable, Machine};
use host::failure::{Blame, Exit, Failure};
use host::handshake;
use host::ledger::{Change, Ledger};
use host::lock::Lock;
use host::presence::ignore;
use host::process::{ProcessId, inherit_nothing};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

/// The hidden subcommand's name.
pub const NAME: &str = "@monitor";

/// What it tells its starter once it is up; if QEMU is not, why.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) monitor: ProcessId,
    pub(crate) start: Option<StartError>,
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("its argument is the VM's folder, and nothing else")]
    Arguments,
    #[error("whoever started it is gone")]
    Abandoned,
    #[error("cannot {what}")]
    Io {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
}

impl Blame for Trouble {
    fn exit(&self) -> Exit {
        match self {
            Self::Arguments => Exit::Bug,
            Self::Abandoned => Exit::Interrupted,
            Self::Io { .. } => Exit::Host,
        }
    }
}

/// The hidden subcommand. It ends when it is stopped, and takes QEMU with it.
pub fn main(args: &[String]) -> ExitCode {
    handshake::end(NAME, run(args))
}

fn run(args: &[String]) -> Result<(), Failure> {
    let io = |what| move |source| Trouble::Io { what, source };
    let [path] = args else { return Err(Trouble::Arguments.into()) };
    let dir = VmDir::at(path.as_str());
    // What it was given beside its streams, the lock of the promise of its memory, is not inherited by its children.
    inherit_nothing();
    // 1. Away from the terminal, and bound to the starter until the ledger has our name.
    ignore(nix::unistd::setsid(), "only a session's leader cannot, and has its own");
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let bind = |signal| set_parent_process_death_signal(signal).map_err(|e| io("be bound to the starter")(e.into()));
    bind(Some(Signal::KILL))?;
    if handshake::abandoned() {
        return Err(Trouble::Abandoned.into());
    }
    // 2. One monitor per VM; the lock is also what says that the VM is alive.
    let alive = Lock::try_take(&dir.alive(), &format!("the VM's monitor, pid {}", std::process::id()))?;
    let me = ProcessId::own();
    Ledger::open(&dir.ledger())?.adopt(Change::Process { role: "monitor".into(), id: me })?;
    bind(None)?;
    // 3. All that needs the network's capability; then it is gone for good. One thread until here.
    let machine = Machine::load(&dir.machine())?;
    let tap = match &machine.cable {
        Cable::Tap { tap, bridge } => Some(network::tap::open(tap, bridge)?),
        Cable::User | Cable::None => None,
    };
    network::drop_capabilities_of_the_monitor()?;
    // 4. A socket file that is there belongs to a monitor that is not: we have the lock.
    ignore(std::fs::remove_file(dir.control()), "what is left there makes the opening below fail");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io("start its runtime"))?;
    runtime.block_on(async {
        let control = dir.control();
        let listener = UnixListener::bind(&control).map_err(io("open its control socket"))?;
        let (orders, queue) = mpsc::channel(64);
        let mut supervisor = Supervisor::new(Parts { dir, tap, alive, queue }).map_err(io("open its logs"))?;
        let start = supervisor.start(None).await.err();
        // Then it lets go of the pipe, so that whoever reads that to its end does not wait for it.
        let ready = handshake::ready(&Ready { monitor: me, start });
        ready
            .and_then(|()| Ok(rustix::stdio::dup2_stdout(rustix::stdio::stderr())?))
            .map_err(io("tell that it is ready"))?;
        let serving = tokio::spawn(super::control::serve(listener, orders));
        supervisor.run().await;
        serving.abort();
        // So that the next one who asks is told at once that nobody is there.
        ignore(std::fs::remove_file(control), "nobody listens there, and the folder goes with the VM");
        Ok(())
    })
}
