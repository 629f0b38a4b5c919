//! The other end of the line: where typing goes, and what makes an answer impossible.

use super::SerialError;
use crate::console::boots::Cut;
use crate::machine::VmDir;
use crate::monitor::Client;
use crate::monitor::events::{Event, console_cut, read_all};
use crate::wait::vigil::{Panic, Standing};
use crate::wait::{FatalCondition, WaitError, Watch};
use host::deadline::Deadline;
use host::failure::{Blame, Exit};
use std::future::Future;
use std::time::Duration;

/// What happened to whoever sat at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// The machine began anew: what comes from this offset of the log on is another boot's.
    NewBoot {
        /// In bytes.
        offset: u64,
    },
    /// Nothing can come any more.
    Lost {
        /// Why.
        why: String,
        /// Whose fault that is.
        exit: Exit,
    },
}

/// A line's other end.
pub trait Port {
    /// Type `bytes`; the error says why it could not be done.
    fn type_in(&self, bytes: &[u8], limit: Duration) -> impl Future<Output = Result<(), String>>;

    /// The next interruption, whenever it comes. It may be dropped and called again without losing one; what is lost is
    /// lost each time it is called.
    fn interrupted(&mut self) -> impl Future<Output = Interruption>;
}

/// The serial port of a VM: its monitor types, its journal tells what happens.
#[derive(Debug)]
pub struct VmPort {
    client: Client,
    watch: Watch,
    lost: Option<Interruption>,
}

impl VmPort {
    /// The port of a VM, from now on. What has happened to the machine before and still stands (a panic, its end)
    /// counts; what the console said before does not, since only a prompt that still stands there says anything.
    pub fn open(vm: &VmDir) -> Result<Self, SerialError> {
        let lost =
            |error: WaitError| SerialError::Lost { why: error.to_string(), exit: error.exit(), window: String::new() };
        let events = read_all(&vm.events()).map_err(|error| lost(WaitError::Journal(error)))?;
        let mut standing = Standing::new(Panic::Ends);
        events.iter().for_each(|event| standing.take(event));
        let fatal =
            standing.fatal().filter(|fatal| !matches!(fatal, FatalCondition::Console { .. }) && is_of_the_line(fatal));
        // Whoever types on the line judges what it says by itself.
        let watch = Watch::since(vm, events.last().map_or(0, |event| event.seq)).map_err(lost)?.deaf_to_the_console();
        Ok(Self { client: Client::new(vm), watch, lost: fatal.map(of) })
    }
}

/// Whether the serial line needs what is lost. It needs no network.
fn is_of_the_line(fatal: &FatalCondition) -> bool {
    !matches!(fatal, FatalCondition::NetworkBroken(_) | FatalCondition::Flooded(_))
}

fn of(fatal: &FatalCondition) -> Interruption {
    Interruption::Lost { why: fatal.to_string(), exit: fatal.exit() }
}

impl Port for VmPort {
    async fn type_in(&self, bytes: &[u8], limit: Duration) -> Result<(), String> {
        self.client.console_write(bytes, limit).await.map_err(|error| error.to_string())
    }

    async fn interrupted(&mut self) -> Interruption {
        if let Some(lost) = &self.lost {
            return lost.clone();
        }
        let begins = |event: &Event| console_cut(event).is_some();
        loop {
            let lost = match self.watch.event("the serial line", &Deadline::after(Duration::MAX), begins).await {
                Ok(event) => {
                    let offset = console_cut(&event).map_or(event.console, |Cut { offset, .. }| offset);
                    return Interruption::NewBoot { offset };
                }
                Err(WaitError::Fatal { fatal, .. }) if !is_of_the_line(&fatal) => continue,
                Err(WaitError::Fatal { fatal, .. }) => of(&fatal),
                Err(error) => Interruption::Lost { why: error.to_string(), exit: error.exit() },
            };
            self.lost = Some(lost.clone());
            return lost;
        }
    }
}
