//! Which names are allowed, and the three forms each takes: 8.3, Joliet, Rock Ridge.

use super::{File, IsoError};
use std::collections::{BTreeMap, BTreeSet};

/// The longest Joliet name in UTF-16 units. The specification says 64; 103 is what a directory record
/// holds and what genisoimage (`-joliet-long`), xorriso, Linux and Windows use.
const JOLIET_UNITS: usize = 103;
/// The longest Rock Ridge name in bytes: one `NM` entry (255) less its own five.
const ROCK_BYTES: usize = 250;

/// A file with the names that the image's two trees give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    /// The file itself; its name is the Rock Ridge name.
    pub(super) file: &'a File,
    /// The name in the primary tree, ISO level 1 with its version: `USERDATA.;1`.
    pub(super) short: String,
    /// The name in the Joliet tree, UTF-16 big-endian.
    pub(super) joliet: Vec<u8>,
}

/// Refuse a label that does not fit both the primary and the Joliet descriptor.
pub(super) fn check_label(label: &str) -> Result<(), IsoError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    match (1..=16).contains(&label.len()) && label.bytes().all(allowed) {
        true => Ok(()),
        false => Err(IsoError::Label(label.into())),
    }
}

/// Check every name and give each file its other two, in the order of the names: the order that the
/// files came in leaves no trace.
pub(super) fn assign(files: &[File]) -> Result<Vec<Named<'_>>, IsoError> {
    let mut sorted: BTreeMap<&str, &File> = BTreeMap::new();
    for file in files {
        check(&file.name)?;
        if u32::try_from(file.bytes.len()).is_err() {
            return Err(IsoError::TooBig { name: file.name.clone(), bytes: file.bytes.len() });
        }
        if sorted.insert(&file.name, file).is_some() {
            return Err(IsoError::Duplicate(file.name.clone()));
        }
    }
    let mut shorts = Shorts::default();
    let name = |(name, file): (&str, _)| Named {
        file,
        short: shorts.take(name),
        joliet: name.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    };
    Ok(sorted.into_iter().map(name).collect())
}

/// Refuse a name that Joliet, Rock Ridge or a reader of either could not keep as it is.
fn check(name: &str) -> Result<(), IsoError> {
    let bad = |why| Err(IsoError::Name { name: name.into(), why });
    let long = |is, unit, limit| Err(IsoError::LongName { name: name.into(), is, unit, limit });
    let units = name.encode_utf16().count();
    match name {
        "" => bad("it is empty"),
        "." | ".." => bad("it means a folder"),
        n if n.contains('/') => bad("it holds a slash: the image has one flat folder"),
        n if n.chars().any(char::is_control) => bad("it holds a control character"),
        n if n.contains(['*', ':', ';', '?', '\\']) => bad("Joliet forbids * : ; ? and \\"),
        n if n.ends_with('.') => bad("it ends with a dot, which Joliet readers cut off"),
        _ if units > JOLIET_UNITS => long(units, "UTF-16 units", JOLIET_UNITS),
        n if n.len() > ROCK_BYTES => long(n.len(), "bytes", ROCK_BYTES),
        _ => Ok(()),
    }
}

/// The 8.3 names given out so far.
#[derive(Default)]
struct Shorts {
    taken: BTreeSet<String>,
    next: BTreeMap<(String, String), u32>,
}

impl Shorts {
    /// A level 1 name for this one: `A-Z0-9_`, eight and three, unique by a number at the stem's end.
    fn take(&mut self, name: &str) -> String {
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, extension),
            _ => (name, ""),
        };
        let (stem, extension) = (plain(stem, 8), plain(extension, 3));
        let mut short = format!("{stem}.{extension};1");
        let counter = self.next.entry((stem.clone(), extension.clone())).or_insert(0);
        while !self.taken.insert(short.clone()) {
            *counter += 1;
            let number = counter.to_string();
            // Eight digits number more files than 32-bit sectors can list: the stem never underflows.
            let kept = stem.len().min(8_usize.saturating_sub(number.len()));
            short = format!("{}{number}.{extension};1", &stem[..kept]);
        }
        short
    }
}

/// The first `length` characters, in capitals, everything else than `A-Z0-9` as `_`.
fn plain(text: &str, length: usize) -> String {
    let one = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    text.chars().take(length).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(names: &[&str]) -> Vec<String> {
        let files: Vec<_> = names.iter().map(|n| File::new(*n, "")).collect();
        assign(&files).unwrap().into_iter().map(|n| n.short).collect()
    }

    #[test]
    fn the_seed_files_get_readable_short_names() {
        assert_eq!(
            shorts(&["user-data", "meta-data", "network-config"]),
            ["META_DAT.;1", "NETWORK_.;1", "USER_DAT.;1"]
        );
    }

    #[test]
    fn names_that_look_alike_in_eight_and_three_are_numbered() {
        assert_eq!(
            shorts(&["user-data-1.yaml", "user-data-2.yaml", "USER_DATA.YAM", ".hidden", "ü.tar.gz"]),
            ["_HIDDEN.;1", "USER_DAT.YAM;1", "USER_DA1.YAM;1", "USER_DA2.YAM;1", "__TAR.GZ;1"]
        );
    }

    #[test]
    fn a_number_that_meets_a_real_name_goes_on_counting() {
        assert_eq!(shorts(&["abcdefg1", "abcdefgh-x", "abcdefgh-y"]), ["ABCDEFG1.;1", "ABCDEFGH.;1", "ABCDEFG2.;1"]);
    }

    #[test]
    fn names_that_no_reader_could_keep_are_refused_with_the_reason() {
        let why = |name: &str| assign(&[File::new(name, "")]).unwrap_err().to_string();
        assert!(why("").contains("empty"));
        assert!(why("..").contains("folder"));
        assert!(why("a/b").contains("slash"));
        assert!(why("a\nb").contains("control"));
        assert!(why("a:b").contains("Joliet"));
        assert!(why("a.").contains("dot"));
        assert_eq!(
            why(&"x".repeat(104)),
            format!("file name {:?} is too long: 104 UTF-16 units, at most 103", "x".repeat(104))
        );
        assert!(why(&"€".repeat(84)).contains("252 bytes, at most 250"));
    }

    #[test]
    fn a_name_given_twice_is_refused() {
        let twice = [File::new("a", "1"), File::new("a", "2")];
        assert_eq!(assign(&twice), Err(IsoError::Duplicate("a".into())));
    }

    #[test]
    fn labels_outside_both_descriptors_are_refused() {
        assert!(check_label("cidata").is_ok());
        for bad in ["", "seventeen_letters", "ci data", "ci/data", "é"] {
            assert_eq!(check_label(bad), Err(IsoError::Label(bad.into())));
        }
    }
}
