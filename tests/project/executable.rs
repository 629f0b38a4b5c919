//! Programs of a test's own, put where they can be started at once.
//!
//! By a process of its own: a file that one thread has open for writing is handed on to whatever another thread starts at that
//! moment, and until that has come to its `exec` the kernel starts no such file (ETXTBSY, "Text file busy").

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A copy of a program.
#[allow(dead_code, reason = "one of the tests only writes")]
pub(crate) fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = Command::new("install").args(["-m", "755"]).args([from.as_ref(), to.as_ref()]).status();
    assert!(status.unwrap().success(), "{} is not copied", from.as_ref().display());
}

/// A script.
#[allow(dead_code, reason = "one of the tests only copies")]
pub(crate) fn write(path: impl AsRef<Path>, text: &str) {
    let mut install = Command::new("install");
    install.args(["-m", "755", "/dev/stdin"]).arg(path.as_ref()).stdin(Stdio::piped());
    let mut child = install.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{} is not written", path.as_ref().display());
}
