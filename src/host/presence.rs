//! The answer to "is it there?". "I could not look" is an answer of its own: taken for "gone", it would leave something
//! behind, or let a second VM start beside a first one.

use camino::Utf8Path;
use std::io::ErrorKind;

/// Whether something is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It was seen.
    There,
    /// It was looked for, and it is not there.
    Gone,
    /// It could not be looked for; what failed, and why.
    Unknown(String),
}

impl Presence {
    /// Of what is named by this path, which is not followed if it is a link.
    pub fn of(path: &Utf8Path) -> Self {
        match path.symlink_metadata() {
            Ok(_) => Self::There,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Self::Gone,
            Err(e) => Self::Unknown(format!("cannot look at {path}: {e}")),
        }
    }

    /// Whether it was seen to be gone.
    pub fn is_gone(&self) -> bool {
        *self == Self::Gone
    }

    /// Whether it was seen to be there.
    pub fn is_there(&self) -> bool {
        *self == Self::There
    }
}

/// Why what was written into memory is let go of: it cannot fail.
pub const IN_MEMORY: &str = "memory takes what is written to it";

/// Let go of a result that changes nothing, whichever way it went. The reason is for the reader of the code; it must be
/// one that holds for every error.
pub fn ignore<T, E>(result: Result<T, E>, reason: &'static str) {
    if result.is_err() {
        tracing::trace!(reason, "a failure that changes nothing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use camino::Utf8PathBuf;

    #[test]
    fn what_cannot_be_looked_at_is_neither_there_nor_gone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        assert_eq!(Presence::of(&dir), Presence::There);
        assert_eq!(Presence::of(&dir.join("x")), Presence::Gone);
        std::fs::write(dir.join("file"), "").unwrap();
        assert_eq!(Presence::of(&dir.join("file/x")), Presence::Gone);
        std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
        assert_eq!(Presence::of(&dir.join("loop")), Presence::There, "the link itself is there");
        // ELOOP, which root gets as well.
        assert!(matches!(Presence::of(&dir.join("loop/x")), Presence::Unknown(why) if why.contains("loop/x")));
    }
}
