//! What every test of the playbook side has at hand.

use camino::{Utf8Path, Utf8PathBuf};

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

pub(crate) fn fixtures() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The folder of Ansible's programs.
pub(crate) fn ansible() -> Option<Utf8PathBuf> {
    let named = std::env::var("BOMA_TEST_ANSIBLE").ok().map(Utf8PathBuf::from);
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [named, Some(fixtures().join("boma/.venv/bin")), Some(root.join(".venv/bin"))];
    places.into_iter().flatten().find(|bin| bin.join("ansible-playbook").exists())
}
