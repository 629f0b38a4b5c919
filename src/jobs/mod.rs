//! The jobs: what the commands do, as straight-line code over the rooms below.
//!
//! Not fuzzed: what is read here is this program's own; what others wrote is read in the rooms below.

pub mod apply;
pub mod audit;
mod base;
pub mod boot;
pub mod bring_up;
mod certificates;
pub mod collect;
pub mod cycle;
pub mod down;
pub mod ends;
pub mod experiment;
pub mod fault;
pub mod guards;
mod inputs;
pub mod media;
mod never;
pub mod observe;
mod package_lists;
pub mod part;
pub mod passes;
mod prepare;
pub mod prove;
pub mod reboot;
mod renew;
pub mod run;
mod saved;
pub mod several;
pub mod snapshot;
pub mod steady;
pub mod stop;
pub mod target;
mod template;
pub mod timeline;
pub mod ttl;
pub mod up;
pub mod verify;
pub mod wait;
pub mod way;

use host::dirs::Dirs;

/// Where a job tells what it is doing.
pub trait Progress {
    /// A phase begins.
    fn begin(&self, phase: &str);
    /// A phase ended.
    fn end(&self, phase: &str, seconds: f64, outcome: &str, ok: bool);
    /// Something that the user must read.
    fn note(&self, text: &str);
    /// A line that a playbook wrote.
    fn output(&self, line: &str);
    /// What is going on right now; overwritten by the next.
    fn trace(&self, line: &str);
}

/// What every job works with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where things are kept.
    pub dirs: &'a Dirs,
    /// The user's ear.
    pub progress: &'a dyn Progress,
}
