//! Files in a folder that others may write to: a link is not followed, and what is no file is not read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;

use camino::Utf8Path;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

/// Open for reading. A pipe or a device in a file's place does not hold it up.
pub(super) fn open(path: &Utf8Path) -> std::io::Result<File> {
    open_with(OpenOptions::new().read(true), path)
}

/// The same with options of one's own.
pub(super) fn open_with(options: &mut OpenOptions, path: &Utf8Path) -> std::io::Result<File> {
    // It is said in plain words, and not as "too many levels of symbolic links".
    if path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
        return Err(no_file("a link"));
    }
    let file = options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    is_file(&file.metadata()?)?;
    Ok(file)
}

/// What `stat` tells of a file that is there under its own name.
pub(super) fn look(path: &Utf8Path) -> std::io::Result<Metadata> {
    let meta = path.symlink_metadata()?;
    is_file(&meta)?;
    Ok(meta)
}

fn is_file(meta: &Metadata) -> std::io::Result<()> {
    match () {
        () if meta.is_file() => Ok(()),
        () if meta.is_symlink() => Err(no_file("a link")),
        () if meta.is_dir() => Err(no_file("a folder")),
        () => Err(no_file("a pipe, a socket or a device")),
    }
}

fn no_file(is: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("it is {is}, not a file"))
}
