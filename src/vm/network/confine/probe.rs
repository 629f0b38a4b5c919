//! What the whole root rests on is tried each time it is made: through overlayfs a socket has nobody at its other end.
//! A kernel in which that is not so gets no playbook.

use super::place::{by_descriptor, failed_file, make_folder, open_path, overlay};
use crate::network::NetError;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Listen in a folder of our own, and try to get there through overlayfs; `below` is an empty folder.
pub(super) fn nobody_answers(stage: &Path, below: &OwnedFd) -> Result<(), NetError> {
    let (real, shown) = (stage.join("real"), stage.join("shown"));
    make_folder(&real)?;
    make_folder(&shown)?;
    // By descriptor: a socket's name may have 107 bytes, and the folder's may be longer.
    let socket = |folder: &OwnedFd| by_descriptor(folder).join("socket");
    let at = open_path(&real)?;
    let _listener = UnixListener::bind(socket(&at)).map_err(failed_file(&real))?;
    // Where nobody answers anyway, the next attempt would tell nothing.
    UnixStream::connect(socket(&at)).map_err(failed_file(&real))?;
    overlay(&real, &shown, below, None)?;
    match UnixStream::connect(socket(&open_path(&shown)?)) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(failed_file(&shown)(error)),
        Ok(_) => Err(NetError::Reached),
    }
}
