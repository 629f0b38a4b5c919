//! A VM with nothing but its monitor: no network of the program's, but a namespace with a bridge of its own, in which
//! nothing answers.

use camino::{Utf8Path, Utf8PathBuf};
use host::ledger::Ledger;
use host::process::ProcessId;
use vm::machine::VmDir;
use vm::monitor::{self, MonitorError};

/// Enters the namespace, and becomes the command that follows.
const PREFIX: [&str; 6] = [
    "unshare",
    "--net",
    "sh",
    "-c",
    "ip link add name boma-it type bridge && ip link set boma-it up && exec \"$@\"",
    "sh",
];

/// A VM's folder, in a state folder of its own. What its ledger names never outlives the test.
pub(crate) struct Home {
    pub(crate) vm: VmDir,
    _state: tempfile::TempDir,
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Ok(ledger) = Ledger::open(&self.vm.ledger()) {
            ledger.undo();
        }
    }
}

impl Home {
    pub(crate) fn new(name: &str) -> Self {
        let state = tempfile::tempdir().unwrap();
        let vm = VmDir::at(Utf8PathBuf::from_path_buf(state.path().join("vms").join(name)).unwrap());
        std::fs::create_dir_all(vm.path()).unwrap();
        Self { vm, _state: state }
    }

    /// Start the monitor of the machine that is saved there.
    pub(crate) fn spawn(&self) -> Result<ProcessId, MonitorError> {
        let exe = Utf8Path::new(env!("CARGO_BIN_EXE_boma-qemu"));
        monitor::spawn(exe, &PREFIX.map(String::from), &self.vm, None)
    }
}
