//! What unit tests share; it is in no program.

use crate::deadline::Deadline;
use camino::Utf8PathBuf;
use std::time::Duration;

/// A folder of a test's own, which goes with the first part.
#[allow(clippy::unwrap_used, reason = "a test ends where it has no scratch folder")]
pub fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

/// Whether that comes true within some seconds. For tests of what ends with its last descriptor: a child that another
/// test is starting has a copy of every descriptor of this process, until it executes its program.
pub fn soon(holds: impl Fn() -> bool) -> bool {
    let deadline = Deadline::after(Duration::from_secs(10));
    while !holds() && !deadline.passed() {
        std::thread::sleep(Duration::from_millis(10));
    }
    holds()
}
