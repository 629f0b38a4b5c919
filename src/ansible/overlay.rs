//! Files of extra-vars, looked at before anything begins. They are only validated here: Ansible reads them itself,
//! because two YAML readers do not read every value alike (`022`).

use super::error::AnsibleError;
use camino::{Utf8Path, Utf8PathBuf};
use serde::de::IgnoredAny;
use std::collections::HashMap;

/// What a file of extra-vars turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlay {
    /// A YAML mapping.
    Plain,
    /// A file that the vault encrypts as a whole.
    Encrypted,
}

/// Read a file and say what it is; anything but a mapping or an encrypted file is an error.
pub(super) fn look(path: &Utf8Path) -> Result<Overlay, AnsibleError> {
    let bad = |why: String| AnsibleError::BadOverlay { path: path.to_owned(), why };
    match std::fs::read(path) {
        Ok(bytes) => judge(&bytes).map_err(bad),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(AnsibleError::NoFile { what: "the extra-vars file", path: path.to_owned() })
        }
        Err(e) => Err(bad(format!("not readable: {e}"))),
    }
}

/// The files below these folders that can be meant by an error that names none: those that are encrypted, or those
/// that are no YAML mapping, with the reason.
pub(super) fn suspects(folders: &[Utf8PathBuf], encrypted: bool) -> Vec<String> {
    let mut todo = folders.to_vec();
    let mut found = Vec::new();
    while let Some(path) = todo.pop() {
        if let Ok(entries) = path.read_dir_utf8() {
            todo.extend(entries.filter_map(Result::ok).map(|entry| entry.path().to_owned()));
            continue;
        }
        let Ok(bytes) = std::fs::read(&path) else { continue };
        match judge(&bytes) {
            Ok(Overlay::Encrypted) if encrypted => found.push(path.to_string()),
            Err(why) if !encrypted && why != EMPTY => found.push(format!("{path} is {why}")),
            _ => {}
        }
    }
    found.sort();
    found
}

/// An empty file is fine where Ansible looks for variables by itself, and not where it is told to.
const EMPTY: &str = "empty";

fn judge(bytes: &[u8]) -> Result<Overlay, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("not text: {e}"))?;
    if text.starts_with("$ANSIBLE_VAULT;") {
        return Ok(Overlay::Encrypted);
    }
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        budget: None,
        // An excerpt of the file may show a secret.
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Option<HashMap<String, IgnoredAny>>>(text, options) {
        Ok(Some(_)) => Ok(Overlay::Plain),
        Ok(None) => Err(EMPTY.into()),
        Err(error) => Err(format!("not a YAML mapping: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_accepted_with_everything_that_ansible_allows_in_it() {
        let text =
            "---\na: 022\nb: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3132\nc: !unsafe '{{ x }}'\na: 2\nd: {1: x}\n";
        assert_eq!(judge(text.as_bytes()), Ok(Overlay::Plain));
        assert_eq!(judge(b"$ANSIBLE_VAULT;1.1;AES256\n3132\n"), Ok(Overlay::Encrypted));
        assert_eq!(judge(b"{\"a\": {\"b\": [1]}}"), Ok(Overlay::Plain));
    }

    #[test]
    fn what_is_no_mapping_is_refused_with_its_place_and_without_its_text() {
        let error = judge(b"password: hunter2\nb: [\n").unwrap_err();
        assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
        for bad in ["", "---\n", "- a\n", "text\n", "a: 1\n---\nb: 2\n"] {
            assert!(judge(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
