//! The catalogue of golden images (`profiles/images.json`): where each can be fetched and how an
//! equivalent can be built.

use super::error::ImageError;
use super::sums;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All images that a profile may name.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Catalogue {
    images: BTreeMap<String, Entry>,
}

/// One image.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where it is published; an image of our own is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch: Option<Source>,
    /// How an equivalent is made where that cannot be reached.
    pub build: Recipe,
}

/// A published image.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The disk image (qcow2), by https.
    pub address: String,
    /// The SHA512SUMS file beside it, by https.
    pub sums: String,
    /// The SHA-512 that the image must have, 128 hexadecimal digits. Without it, it is what the checksum file says when
    /// the image is fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha512: Option<String>,
    /// Whether the server speaks plain HTTP: that of the unit tests does, and no other.
    #[cfg(test)]
    #[serde(skip)]
    pub(super) plain: bool,
}

impl Entry {
    /// Where the image of that name is published.
    pub(super) fn published(&self, name: &str) -> Result<&Source, ImageError> {
        self.fetch.as_ref().ok_or_else(|| ImageError::NotPublished { name: name.to_owned() })
    }
}

impl Source {
    /// Whether only https is spoken, also where a server leads elsewhere.
    pub(super) fn https_only(&self) -> bool {
        #[cfg(test)]
        if self.plain {
            return false;
        }
        true
    }
}

/// An image made from Debian packages.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The Debian release's code name.
    pub suite: String,
    /// The virtual size of the disk in MiB; the guest grows its root to the overlay's size.
    pub disk_mib: u64,
    /// The packages beyond the essential ones.
    pub packages: Vec<String>,
}

/// What a profile or `--image` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A name in the catalogue.
    Named(String),
    /// A disk image of the user's own.
    File(Utf8PathBuf),
}

impl Wanted {
    /// A text with a slash or a disk image's suffix is a path (relative to `base`), else it is a name.
    pub fn parse(text: &str, base: &Utf8Path) -> Self {
        let is_path = text.contains('/') || [".qcow2", ".raw", ".img"].iter().any(|end| text.ends_with(end));
        if is_path { Self::File(base.join(text)) } else { Self::Named(text.to_owned()) }
    }
}

impl Catalogue {
    /// Read `profiles/images.json`.
    pub fn read(path: &Utf8Path) -> Result<Self, ImageError> {
        let text = std::fs::read_to_string(path).map_err(|source| ImageError::Io {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|why| ImageError::Catalogue { path: path.to_owned(), why })
    }

    /// The entry of that name.
    pub fn entry(&self, name: &str) -> Result<&Entry, ImageError> {
        self.images.get(name).ok_or_else(|| ImageError::Unknown {
            name: name.to_owned(),
            known: self.images.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// The SHA-512 that an image must have, if the catalogue says so.
    pub fn pin(&self, name: &str) -> Option<&str> {
        self.images.get(name)?.fetch.as_ref()?.sha512.as_deref()
    }

    /// The names of all images.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.images.keys().map(String::as_str)
    }

    /// A catalogue of one image, for tests.
    #[cfg(test)]
    pub(super) fn of(name: &str, entry: Entry) -> Self {
        Self { images: BTreeMap::from([(name.to_owned(), entry)]) }
    }

    /// Read the text of such a file, or why it cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let catalogue: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        for (name, entry) in &catalogue.images {
            // Names become file names in the cache, and the recipe's words become arguments.
            check("image name", name, "-.")?;
            check("suite", &entry.build.suite, "-")?;
            entry.fetch.iter().try_for_each(|source| source.check(name))?;
            for package in &entry.build.packages {
                check("package", package, "+-.")?;
            }
            if !(1024..=65536).contains(&entry.build.disk_mib) {
                return Err(format!("disk_mib of {name} is {}, not 1024 to 65536", entry.build.disk_mib));
            }
        }
        Ok(catalogue)
    }
}

impl Source {
    fn check(&self, image: &str) -> Result<(), String> {
        for address in [&self.address, &self.sums] {
            if !address.starts_with("https://") {
                return Err(format!(
                    "{address:?} of {image} does not begin with https://, and nothing else is fetched"
                ));
            }
        }
        match &self.sha512 {
            Some(digest) if !sums::is_hex(digest) => {
                Err(format!("sha512 of {image} is not 128 lower-case hexadecimal digits"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a text can be an image's name.
pub(super) fn is_name(text: &str) -> bool {
    check("image name", text, "-.").is_ok()
}

/// A word of lower-case letters, digits and some marks that does not begin with a mark.
fn check(what: &str, word: &str, marks: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if word.starts_with(plain) && word.chars().all(|c| plain(c) || marks.contains(c)) {
        return Ok(());
    }
    Err(format!("{word:?} is not a {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{"a":{"fetch":{"address":"https://x","sums":"https://y"},
        "build":{"suite":"trixie","disk_mib":3072,"packages":["sudo"]}}}"#;

    #[test]
    fn the_projects_own_catalogue_has_published_debian_and_one_with_docker() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/images.json");
        let catalogue = Catalogue::read(path.into()).unwrap();
        let source = |name: &str| catalogue.entry(name).unwrap().fetch.clone();
        let published = source("debian-13").unwrap().address;
        assert!(published.ends_with("trixie/latest/debian-13-genericcloud-amd64.qcow2"));
        assert!(source("debian-13-docker").is_none(), "nobody publishes it");
        let has =
            |name: &str, package: &str| catalogue.entry(name).unwrap().build.packages.iter().any(|p| p == package);
        assert!(has("debian-13-docker", "docker-cli"), "docker.io alone has no client");
        assert!(!has("debian-13", "docker.io"), "the published image has none");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let why = Catalogue::parse(&ENTRY.replace("\"sums\"", "\"sum\"")).unwrap_err();
        assert!(why.contains("unknown field `sum`") && why.contains("line 1 column"), "{why}");
    }

    #[test]
    fn words_that_would_become_options_or_paths_are_refused() {
        for (from, to) in [("\"a\"", "\"../a\""), ("trixie", "--x"), ("sudo", "-o=x"), ("3072", "1")] {
            assert!(Catalogue::parse(&ENTRY.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn only_https_is_fetched_and_a_pin_is_a_sha512() {
        for (from, to) in [("https://x", "http://x"), ("https://y", "http://y"), ("https://x", "file:///x")] {
            let why = Catalogue::parse(&ENTRY.replace(from, to)).unwrap_err();
            assert!(why.contains("https://") && why.contains(to), "{why}");
        }
        let pinned =
            |digest: &str| Catalogue::parse(&ENTRY.replace("\"sums\"", &format!("\"sha512\":\"{digest}\",\"sums\"")));
        assert_eq!(pinned(&"a".repeat(128)).unwrap().pin("a"), Some(&*"a".repeat(128)));
        for wrong in ["a".repeat(127), "A".repeat(128), "g".repeat(128), String::new()] {
            assert!(pinned(&wrong).unwrap_err().contains("sha512 of a"), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_image_is_told_what_there_is() {
        let error = Catalogue::parse(ENTRY).unwrap().entry("b").unwrap_err();
        assert_eq!(error.to_string(), "no image is called \"b\"; the catalogue has a");
    }

    #[test]
    fn a_slash_or_a_suffix_makes_a_path() {
        let parse = |text| Wanted::parse(text, "/base".into());
        assert_eq!(parse("debian-13"), Wanted::Named("debian-13".into()));
        assert_eq!(parse("./x"), Wanted::File("/base/./x".into()));
        assert_eq!(parse("x.qcow2"), Wanted::File("/base/x.qcow2".into()));
        assert_eq!(parse("/abs/x"), Wanted::File("/abs/x".into()));
    }
}
