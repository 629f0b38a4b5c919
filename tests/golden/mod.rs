//! The golden image that tests boot which do not go through a whole cycle.

use boma_qemu::image::Cache;
use camino::{Utf8Path, Utf8PathBuf};

/// `BOMA_TEST_IMAGE`, else what is in the cache; the test fails with the reason if there is none.
pub(crate) fn golden() -> Utf8PathBuf {
    if let Ok(path) = std::env::var("BOMA_TEST_IMAGE") {
        return path.into();
    }
    let dir = std::env::var("BOMA_IT_CACHE").unwrap_or_else(|_| "/var/lib/boma-integration".into());
    let listed = Cache::new(Utf8Path::new(&dir)).list().unwrap();
    let found = listed.into_iter().find(|one| one.current).map(|one| one.path);
    found.unwrap_or_else(|| panic!("no golden image in {dir}: run `boma-qemu image build`, or set BOMA_TEST_IMAGE"))
}
