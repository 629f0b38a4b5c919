//! The cache, with a server beside it: what is taken from where, and what is believed.

use super::cache::Cache;
use super::catalogue::{Catalogue, Entry, Recipe, Source, Wanted};
use super::error::ImageError;
use super::fetch::{fetch, published};
use super::fetch_tests::{QUICK, Server, body, reply_file, reply_sums, serve, sums_of};
use super::record::{Stamp, file_name, read_all};
use super::watch::Silent;
use camino::{Utf8Path, Utf8PathBuf};
use host::hex::hex;
use host::testing::scratch;
use sha2::{Digest, Sha512};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The server's image as the only one of a catalogue, pinned or not.
fn catalogue(server: &Server, pin: Option<String>) -> Catalogue {
    let build = Recipe { suite: "x".into(), disk_mib: 1024, packages: Vec::new() };
    Catalogue::of("a", Entry { fetch: Some(Source { sha512: pin, ..server.source() }), build })
}

#[test]
fn two_runs_at_once_fetch_once() {
    let server = serve(body(1), |_, _| {
        std::thread::sleep(Duration::from_millis(200));
        usize::MAX
    });
    let (_keep, dir) = scratch();
    let catalogue = catalogue(&server, None);
    let cache = Cache::alone(&dir.join("cache"), QUICK);
    let wanted = Wanted::Named("a".into());
    let paths: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| cache.ensure(&catalogue, &wanted, &Silent))).collect();
        runs.into_iter().map(|run| run.join().unwrap().unwrap().path).collect()
    });
    assert_eq!(server.images_asked().len(), 1);
    assert!(paths.iter().all(|path| path == &paths[0]));
}

#[test]
fn a_fetched_image_is_not_fetched_again_and_a_newer_one_stands_beside_it() {
    let version = Arc::new(AtomicU64::new(0));
    let now = version.clone();
    let server = Server::start(move |_, asked, stream| {
        let disk = body(now.load(Relaxed) as u32);
        match asked.path.as_str() {
            "/SHA512SUMS" => reply_sums(stream, &sums_of(&disk)),
            _ => reply_file(asked, stream, &disk, "v", usize::MAX),
        }
    });
    let (_keep, dir) = scratch();
    let catalogue = catalogue(&server, None);
    let cache = Cache::alone(&dir.join("cache"), QUICK);
    let first = cache.fetch(&catalogue, "a", &Silent).unwrap();
    assert_eq!(cache.fetch(&catalogue, "a", &Silent).unwrap(), first);
    assert_eq!(server.images_asked().len(), 1);
    version.store(1, Relaxed);
    let second = cache.fetch(&catalogue, "a", &Silent).unwrap();
    assert_ne!(second.path, first.path);
    assert!(first.path.exists(), "an overlay may stand on it");
    assert_eq!(read_all(&dir.join("cache")).unwrap().len(), 2);
    assert!(cache.verify().unwrap().iter().all(|listed| listed.fault.is_none() && listed.record.is_some()));
}

#[test]
fn plain_http_is_not_spoken() {
    let server = serve(body(1), |_, _| usize::MAX);
    let source = Source { plain: false, ..server.source() };
    let (_keep, dir) = scratch();
    let error = published(&source, QUICK, &Silent).unwrap_err();
    assert!(matches!(error, ImageError::Insecure { .. }) && !error.is_network(), "{error}");
    let error = fetch(&dir, "a", &source, hex(Sha512::digest(body(1))), QUICK, &Silent).unwrap_err();
    assert!(matches!(error, ImageError::Insecure { .. }), "{error}");
    assert!(server.asked.lock().unwrap().is_empty());
}

#[test]
fn what_the_catalogue_pins_is_what_must_come_whatever_is_published() {
    let server = serve(body(1), |_, _| usize::MAX);
    let (_keep, dir) = scratch();
    let cache = Cache::alone(&dir.join("cache"), QUICK);
    let error = cache.fetch(&catalogue(&server, Some("0".repeat(128))), "a", &Silent).unwrap_err();
    assert!(matches!(&error, ImageError::WrongDigest { want, .. } if *want == "0".repeat(128)), "{error}");
    let pinned = catalogue(&server, Some(hex(Sha512::digest(body(1)))));
    let golden = cache.fetch(&pinned, "a", &Silent).unwrap();
    assert!(server.asked.lock().unwrap().iter().all(|asked| asked.path != "/SHA512SUMS"));
    // One that was fetched before it was pinned otherwise is not taken.
    let other = catalogue(&server, Some("1".repeat(128)));
    let wanted = Wanted::Named("a".into());
    assert_eq!(cache.ensure(&pinned, &wanted, &Silent).unwrap(), golden);
    assert!(matches!(cache.ensure(&other, &wanted, &Silent), Err(ImageError::WrongDigest { .. })));
    let listed = cache.clone().pinned(other).list().unwrap();
    assert!(!listed[0].current && listed[0].refused.is_some());
}

/// A cache that a group shares.
fn shared(dir: &Utf8Path) -> (Cache, Utf8PathBuf) {
    let path = dir.join("cache");
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o2775)).unwrap();
    (Cache::alone(&path, QUICK).holding(dir.join("state/images")), path)
}

/// An image of somebody's with its record, newer than all others.
fn put(cache: &Utf8Path, bytes: &[u8], said: &str) -> Utf8PathBuf {
    let file = file_name("a", said);
    std::fs::write(cache.join(&file), bytes).unwrap();
    let stamp = Stamp::of(&cache.join(&file)).unwrap();
    let record = serde_json::json!({
        "image": "a", "file": file, "origin": {"how": "fetched", "address": "https://cloud.example/x"}, "sha512": said,
        "bytes": bytes.len(), "format": "qcow2", "virtual_bytes": 1, "date": "2099-01-01T00:00:00Z", "stamp": stamp,
    });
    let path = cache.join(&file);
    std::fs::write(path.with_extension("json"), record.to_string()).unwrap();
    path
}

#[test]
fn in_a_shared_cache_a_record_of_somebodys_is_not_believed_and_ones_own_fetch_is() {
    let server = serve(body(1), |_, _| usize::MAX);
    let (_keep, dir) = scratch();
    let (cache, path) = shared(&dir);
    let catalogue = catalogue(&server, None);
    let wanted = Wanted::Named("a".into());
    let forged = put(&path, &body(7), &hex(Sha512::digest(body(7))));
    assert!(cache.list().unwrap()[0].refused.is_some());
    assert!(cache.verify().unwrap()[0].fault.is_some(), "nothing says what its bytes must be");
    let golden = cache.ensure(&catalogue, &wanted, &Silent).unwrap();
    assert_ne!(golden.path, forged);
    assert_eq!((std::fs::read(&golden.path).unwrap(), server.images_asked().len()), (body(1), 1));
    // Its own record stands apart from the cache, and nothing that is written there changes it.
    assert_eq!(cache.ensure(&catalogue, &wanted, &Silent).unwrap().path, golden.path);
    std::fs::remove_file(&golden.path).unwrap();
    put(&path, &body(8), &golden.record.as_ref().unwrap().sha512);
    let error = cache.ensure(&catalogue, &wanted, &Silent).unwrap_err();
    assert!(matches!(error, ImageError::Changed { .. }), "{error}");
    assert_eq!(server.images_asked().len(), 1);
    assert!(forged.exists());
}

#[test]
fn in_a_shared_cache_the_image_of_another_is_taken_if_its_bytes_are_what_is_published_or_pinned() {
    let server = serve(body(1), |_, _| usize::MAX);
    let digest = hex(Sha512::digest(body(1)));
    let wanted = Wanted::Named("a".into());
    for pin in [None, Some(digest.clone())] {
        let (_keep, dir) = scratch();
        let (cache, path) = shared(&dir);
        let theirs = put(&path, &body(1), &digest);
        let golden = cache.ensure(&catalogue(&server, pin.clone()), &wanted, &Silent).unwrap();
        // What the record says besides is not believed either.
        assert_eq!((golden.path, golden.format.name(), golden.virtual_bytes), (theirs.clone(), "raw", 400_384));
        std::fs::write(&theirs, body(9)).unwrap();
        let error = cache.ensure(&catalogue(&server, pin), &wanted, &Silent).unwrap_err();
        assert!(matches!(error, ImageError::Changed { .. }), "{error}");
    }
    assert_eq!(server.images_asked().len(), 0);
}

#[test]
fn an_image_that_leads_out_of_the_cache_is_refused_wherever_it_is() {
    let server = serve(body(1), |_, _| usize::MAX);
    let (_keep, dir) = scratch();
    let cache = Cache::alone(&dir.join("cache"), QUICK);
    let golden = cache.fetch(&catalogue(&server, None), "a", &Silent).unwrap();
    let elsewhere = dir.join("elsewhere");
    std::fs::rename(&golden.path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &golden.path).unwrap();
    assert!(cache.list().unwrap()[0].refused.as_ref().unwrap().contains("it is a link"));
    let error = cache.fetch(&catalogue(&server, None), "a", &Silent).unwrap_err();
    assert!(matches!(error, ImageError::InTheWay { .. }), "{error}");
}
