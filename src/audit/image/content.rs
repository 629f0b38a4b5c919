//! What the image's files say: on its volume, in its EFI file systems, in a squashfs.

use super::names::{Name, Wanted, inner, outer, some};
use crate::audit::outcome::Seen;
use crate::form::pattern::Pattern;
use boot_media::medium::{Medium, MediumError};
use host::hex::hex;
use sha2::{Digest, Sha256};

/// The largest file that is read, bytes.
const LARGEST: u64 = 64 << 20;
/// Files that are read at most.
const MOST: usize = 64;

/// What is expected of a file.
pub(super) struct Expected<'p> {
    pub(super) contains: &'p [Pattern],
    pub(super) lacks: &'p [Pattern],
    pub(super) sha256: Option<&'p str>,
}

/// Each file that a path means is there and says what it must.
pub(super) fn file(medium: &Medium, path: &str, expected: &Expected<'_>) -> Seen {
    let wanted = Wanted::new(path);
    let mut found = Vec::new();
    let mut look = |name: Name<'_>| {
        if !name.path.ends_with('/') && wanted.is(name) {
            found.push(name.whole());
        }
    };
    let mut closed = outer(medium, &mut look);
    closed.extend(inner(medium, &mut look));
    if found.len() > MOST {
        return Seen::unknown(format!(
            "{path} means {} files, and {MOST} are read at most: {}",
            found.len(),
            some(&found)
        ));
    }
    let (mut wrong, mut unread) = (Vec::new(), Vec::new());
    for name in &found {
        match medium.read(name, LARGEST) {
            Ok(bytes) => wrong.extend(differs(&bytes, expected).map(|what| format!("{name} {what}"))),
            // A folder, or a device, is no file that could say anything.
            Err(error @ (MediumError::Broken { .. } | MediumError::Missing { .. } | MediumError::TooLarge { .. })) => {
                unread.push(error.to_string());
            }
            Err(error) => unread.push(super::told(&error)),
        }
    }
    let evidence = [found.clone(), wrong.clone(), unread.clone()].map(|part| part.join("\n")).join("\n\n");
    let observed = some(&found);
    match (wrong.first(), unread.first(), closed.first()) {
        (Some(wrong), ..) => Seen::fails(observed, wrong.clone()),
        (None, Some(why), _) => Seen::unknown(why.clone()),
        (None, None, Some(why)) if found.is_empty() => Seen::unknown(format!("{path} was not found, and {why}")),
        _ if found.is_empty() => Seen::fails("no such file", format!("{path} is not in the image")),
        _ => Seen::holds(observed),
    }
    .in_text(evidence)
}

/// What a file's content does not have, or has too much.
fn differs(bytes: &[u8], expected: &Expected<'_>) -> Option<String> {
    if let Some(wanted) = expected.sha256 {
        let own = hex(Sha256::digest(bytes));
        if !own.eq_ignore_ascii_case(wanted) {
            return Some(format!("has the SHA-256 {own}, and {wanted} is expected"));
        }
    }
    let text = String::from_utf8_lossy(bytes);
    let lacks = expected.contains.iter().find(|pattern| !pattern.is_in(&text));
    // It may stretch over lines.
    let found = |pattern: &&Pattern| pattern.is_in(&text);
    let has = expected.lacks.iter().find(found).map(|pattern| (pattern, pattern.line_in(&text).unwrap_or_default()));
    match (lacks, has) {
        (Some(pattern), _) => Some(format!("has nothing that matches {pattern}")),
        (None, Some((pattern, line))) => Some(format!("has {:?}, which matches {pattern}", line.trim())),
        (None, None) => None,
    }
}
