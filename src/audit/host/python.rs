//! A Python virtual environment.

use super::broken;
use crate::audit::outcome::Seen;
use camino::Utf8Path;
use host::cmd::{Cmd, CmdError};
use host::deadline::Deadline;

/// Import each, and print those that do not come with the reason.
const IMPORT: &str = "\
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(f'{name}: {type(error).__name__}: {error}')
";

/// The environment's own Python imports the modules.
pub(super) fn imports(venv: &Utf8Path, modules: &[String], deadline: &Deadline) -> Seen {
    let python = venv.join("bin/python");
    if !python.exists() {
        return Seen::fails("no such file", format!("{python} does not exist"));
    }
    // -I: what it imports is what it holds, not what lies in the current folder or in PYTHONPATH.
    match Cmd::new(&python).args(["-I", "-c", IMPORT]).args(modules).limit(deadline.left()).run() {
        Ok(output) => {
            let missing: Vec<_> = output.stdout.lines().collect();
            let cause = missing.first().map(|_| format!("{venv} cannot import {}", missing.join("; ")));
            Seen::judged(
                format!("{} of {} modules", modules.len() - missing.len().min(modules.len()), modules.len()),
                cause,
            )
        }
        Err(CmdError::Failed { status, said, .. }) => {
            Seen::fails(said.clone(), format!("{python} ended with {status}: {said}"))
        }
        Err(error) => broken(&error),
    }
}
