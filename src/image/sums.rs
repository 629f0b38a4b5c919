//! SHA-512: of files, and as published in SHA512SUMS files (the output of coreutils' `sha512sum`).

use super::error::ImageError;
use camino::Utf8Path;
use host::hex::hex;
use sha2::{Digest, Sha512};
use std::fs::File;
use std::io::Read;

/// Whether a text is a SHA-512 as we write it: lower-case hexadecimal.
pub(super) fn is_hex(text: &str) -> bool {
    text.len() == 128 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The digest that a SHA512SUMS text gives for a file name.
///
/// Lines are `<128 hex digits> <space><space or *><name>`; other lines are ignored, as `sha512sum -c` does.
pub fn find(text: &str, file: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (digest, rest) = line.split_once(' ')?;
        let name = rest.strip_prefix([' ', '*'])?;
        let name = name.strip_prefix("./").unwrap_or(name);
        let is_digest = digest.len() == 128 && digest.bytes().all(|b| b.is_ascii_hexdigit());
        (is_digest && name == file).then(|| digest.to_ascii_lowercase())
    })
}

/// Read a file to its end into a running digest; the number of bytes.
pub(super) fn feed(digest: &mut Sha512, file: &mut File, mut stopped: impl FnMut(u64) -> bool) -> std::io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 || stopped(total) {
            return Ok(total);
        }
        digest.update(&buffer[..n]);
        total += n as u64;
    }
}

/// The SHA-512 of a whole file.
pub(super) fn of_file(path: &Utf8Path) -> Result<String, ImageError> {
    let io = |source| ImageError::Io { doing: "read", path: path.to_owned(), source };
    let mut digest = Sha512::new();
    feed(&mut digest, &mut super::file::open(path).map_err(io)?, |_| false).map_err(io)?;
    Ok(hex(digest.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_file_is_found_and_of_no_other() {
        let a = "a".repeat(128);
        let b = "B".repeat(128);
        let text = format!("# note\n{a}  x.qcow2\n{b} *x.raw\nshort  y\n{a}  z/x.raw\n");
        assert_eq!(find(&text, "x.qcow2"), Some(a));
        assert_eq!(find(&text, "x.raw"), Some("b".repeat(128)), "binary mark, lower case");
        assert_eq!(find(&text, "qcow2"), None);
        assert_eq!(find(&text, "y"), None, "not a SHA-512");
    }

    #[test]
    fn the_digest_is_that_of_sha512sum() {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().join("abc")).unwrap();
        std::fs::write(&path, "abc").unwrap();
        assert!(of_file(&path).unwrap().starts_with("ddaf35a193617abacc417349ae204131"));
    }
}
