//! Where a certificate that was issued is kept and used again: one file for each authority and zone, which only its owner can
//! read. What is still good is never issued again, so that no run counts against an authority's limits without need.

use super::chain;
use super::issue::Issued;
use camino::Utf8PathBuf;
use host::dirs::{DirError, Dirs, make_private, write_private};
use host::failure::{Exit, Failure};
use host::lock::Lock;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// Who issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The authority on the VM's network.
    Rehearsal,
    /// Let's Encrypt.
    LetsEncrypt,
}

impl By {
    fn word(self) -> &'static str {
        match self {
            Self::Rehearsal => "rehearsal",
            Self::LetsEncrypt => "lets-encrypt",
        }
    }
}

/// A certificate with its key, as it is kept.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What was issued.
    pub issued: Issued,
    /// The names that it was issued for.
    pub names: Vec<String>,
    /// The root that it leads to (PEM); one that this host trusts, without it.
    pub root: Option<String>,
}

/// How good a certificate is that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// It is valid, and not near its end.
    Good,
    /// It is valid, and less than a third of its time is left.
    Near,
    /// It is not valid now.
    Over,
}

/// The place of one authority's certificate for one zone.
#[derive(Debug)]
pub struct Store {
    path: Utf8PathBuf,
}

/// What a store had or got.
pub struct Got {
    /// The certificate.
    pub kept: Kept,
    /// Whether it was issued now.
    pub new: bool,
    /// Why one that is near its end could not be renewed.
    pub late: Option<String>,
}

impl Store {
    /// The place of an authority's certificate for a zone, in the user's state: a cache may be removed, and be others' too.
    ///
    /// # Errors
    /// If its directory cannot be made.
    pub fn of(dirs: &Dirs, by: By, zone: &str) -> Result<Self, DirError> {
        let dir = dirs.shared_state().join("certificates");
        make_private(&dir)?;
        Ok(Self { path: dir.join(format!("{}-{zone}.json", by.word())) })
    }

    /// Held while it is looked at and written: two runs that start together issue once.
    ///
    /// # Errors
    /// If it cannot be taken.
    pub fn lock(&self) -> Result<Lock, Failure> {
        Ok(Lock::take(
            &self.path.with_extension("lock"),
            &format!("pid {}, which gets a certificate", std::process::id()),
        )?)
    }

    /// What is kept, if anything is.
    ///
    /// # Errors
    /// If it cannot be read: it may be good, so no other is issued in its place.
    pub fn load(&self) -> Result<Option<Kept>, Failure> {
        let bad = |error: String| {
            Failure::new(Exit::Host, format!("the certificate that is kept in {} cannot be read: {error}", self.path))
                .next("remove the file to have another one issued")
        };
        match std::fs::read(&self.path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| bad(error.to_string())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(bad(error.to_string())),
        }
    }

    /// Keep one, in the place of what is kept.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, kept: &Kept) -> Result<(), DirError> {
        write_private(&self.path, serde_json::to_vec_pretty(kept).unwrap_or_default())
    }
}

impl Kept {
    /// How good it is for these names.
    ///
    /// # Errors
    /// If it is no certificate.
    pub fn age(&self, names: &[String], now: SystemTime) -> Result<Age, String> {
        let [begin, end] = validity(&self.issued.chain)?;
        Ok(match self.names == names {
            true => age(begin, end, now),
            false => Age::Over,
        })
    }

    /// When it ends.
    ///
    /// # Errors
    /// If it is no certificate.
    pub fn end(&self) -> Result<SystemTime, String> {
        Ok(UNIX_EPOCH + validity(&self.issued.chain)?[1])
    }
}

/// When the first certificate of a chain begins and ends, since 1970.
fn validity(pem: &str) -> Result<[Duration; 2], String> {
    let chain = chain::of_pem(pem)?;
    let first = chain.first().ok_or("there is no certificate")?;
    let read = Certificate::from_der(first).map_err(|error| error.to_string())?;
    let validity = read.tbs_certificate().validity();
    Ok([validity.not_before, validity.not_after].map(|time| time.to_unix_duration()))
}

fn age(begin: Duration, end: Duration, now: SystemTime) -> Age {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match (now < begin || now >= end, end.saturating_sub(now) < end.saturating_sub(begin) / 3) {
        (true, _) => Age::Over,
        (false, true) => Age::Near,
        (false, false) => Age::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_in_the_last_third_of_its_time() {
        let day = |n: u64| Duration::from_secs(n * 86_400);
        let at = |n: u64| age(day(100), day(190), UNIX_EPOCH + day(n));
        assert_eq!(
            [at(99), at(100), at(159), at(161), at(189), at(190)].map(|age| format!("{age:?}")),
            ["Over", "Good", "Good", "Near", "Near", "Over"]
        );
    }

    fn kept() -> Kept {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".into()]).unwrap();
        let issued = Issued { chain: made.cert.pem(), key: made.signing_key.serialize_pem(), account: "x".into() };
        Kept { issued, names: vec!["a.example".into()], root: None }
    }

    #[test]
    fn what_is_kept_is_for_its_owner_only_and_is_found_again_for_the_same_names() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let cache = Utf8PathBuf::from_path_buf(folder.path().join("c")).unwrap();
        std::fs::create_dir(&cache).unwrap();
        let dirs = Dirs { root: cache.clone(), state: cache.clone(), cache: cache.clone(), runs: cache.clone() };
        let store = Store::of(&dirs, By::Rehearsal, "example").unwrap();
        assert!(store.load().unwrap().is_none());
        store.save(&kept()).unwrap();
        let found = store.load().unwrap().unwrap();
        let now = SystemTime::now();
        assert_eq!(found.age(&["a.example".into()], now), Ok(Age::Good));
        assert_eq!(found.age(&["b.example".into()], now), Ok(Age::Over));
        let mode = std::fs::metadata(&store.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Store::of(&dirs, By::LetsEncrypt, "example").unwrap().load().unwrap().is_none(), "another authority's");
        std::fs::write(&store.path, "{").unwrap();
        assert!(store.load().is_err(), "what cannot be read may be good");
    }
}
