//! Fetching, against a small HTTP server of our own that can be as bad as real ones are.

use super::catalogue::Source;
use super::error::{ImageError, Patience};
use super::fetch::{fetch, published};
use super::record::{Record, write};
use super::watch::{Silent, Watch};
use camino::{Utf8Path, Utf8PathBuf};
use host::hex::hex;
use host::testing::scratch;
use sha2::{Digest, Sha512};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(super) const QUICK: Patience =
    Patience { connect: Duration::from_secs(2), stall: Duration::from_secs(1), attempts: 2 };

/// What was asked, the headers in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) path: String,
    from: Option<usize>,
    if_range: Option<String>,
}

/// A server on a loopback port; its answers come from a function of the request's number (of images only).
pub(super) struct Server {
    port: u16,
    pub(super) asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(super) fn start(answer: impl Fn(usize, &Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (log.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let request = read_request(&stream);
                    let number = {
                        let mut log = log.lock().unwrap();
                        log.push(request.clone());
                        log.iter().filter(|asked| asked.path == request.path).count()
                    };
                    answer(number, &request, &mut stream);
                });
            }
        });
        Self { port, asked }
    }

    pub(super) fn source(&self) -> Source {
        let at = format!("http://127.0.0.1:{}", self.port);
        Source { address: format!("{at}/disk.qcow2"), sums: format!("{at}/SHA512SUMS"), sha512: None, plain: true }
    }

    pub(super) fn images_asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path == "/disk.qcow2").cloned().collect()
    }

    fn get(&self, dir: &Utf8Path, watch: &dyn Watch) -> Result<Record, ImageError> {
        let want = published(&self.source(), QUICK, watch)?;
        let record = fetch(dir, "a", &self.source(), want, QUICK, watch)?;
        write(dir, &record, true)?;
        Ok(record)
    }
}

fn read_request(stream: &TcpStream) -> Asked {
    let mut asked = Asked::default();
    for line in BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(path) = line.strip_prefix("GET ") {
            asked.path = path.split(' ').next().unwrap().to_owned();
        }
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                asked.from =
                    value.strip_prefix("bytes=").and_then(|v| v.strip_suffix('-')).and_then(|v| v.parse().ok());
            }
            Some((name, value)) if name.eq_ignore_ascii_case("if-range") => asked.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
    asked
}

/// Answer; only `sent` of the body's bytes leave before the connection is closed.
fn reply(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8], sent: usize) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    // The client may have gone; that is its business.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..sent.min(length)]));
    let _ = stream.flush();
}

/// As a good server does: a range if its guard holds, else the whole; cut after `sent` bytes.
pub(super) fn reply_file(asked: &Asked, stream: &mut TcpStream, body: &[u8], etag: &str, sent: usize) {
    let tag = format!("ETag: \"{etag}\"\r\n");
    match asked.from {
        Some(from) if asked.if_range.as_deref() == Some(&format!("\"{etag}\"")) => {
            let range = format!("{tag}Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
            reply(stream, "206 Partial Content", &range, &body[from..], sent);
        }
        _ => reply(stream, "200 OK", &tag, body, sent),
    }
}

pub(super) fn sums_of(body: &[u8]) -> String {
    format!("{}  disk.qcow2\n", hex(Sha512::digest(body)))
}

pub(super) fn reply_sums(stream: &mut TcpStream, text: &str) {
    reply(stream, "200 OK", "", text.as_bytes(), usize::MAX);
}

/// A disk image of a few hundred kilobytes, different for each seed.
pub(super) fn body(seed: u32) -> Vec<u8> {
    let number = |n: u32| n.wrapping_mul(2_654_435_761).wrapping_add(seed).to_le_bytes();
    let mut body: Vec<u8> = (0..100_000).flat_map(number).collect();
    body[510..512].copy_from_slice(&[0x55, 0xaa]);
    body
}

/// A server of one body that treats each request for it as `how` says (number, request -> bytes sent).
pub(super) fn serve(body: Vec<u8>, sent: impl Fn(usize, &Asked) -> usize + Send + Sync + 'static) -> Server {
    Server::start(move |number, asked, stream| match asked.path.as_str() {
        "/SHA512SUMS" => reply_sums(stream, &sums_of(&body)),
        _ => reply_file(asked, stream, &body, "v1", sent(number, asked)),
    })
}

fn names(dir: &Utf8Path) -> Vec<String> {
    let mut names: Vec<_> = dir.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned()).collect();
    names.sort();
    names
}

#[derive(Default)]
struct Seen {
    bytes: AtomicU64,
    stop: AtomicBool,
}

impl Watch for Seen {
    fn say(&self, _: &str) {}
    fn progress(&self, done: u64, total: Option<u64>) {
        assert!(total.is_none_or(|total| done <= total));
        self.bytes.store(done, Relaxed);
    }
    fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}

#[test]
fn what_is_published_arrives_whole_with_its_record_and_nothing_else_stays() {
    let server = serve(body(1), |_, _| usize::MAX);
    let (_keep, dir) = scratch();
    let seen = Seen::default();
    let record = server.get(&dir, &seen).unwrap();
    assert_eq!(std::fs::read(dir.join(&record.file)).unwrap(), body(1));
    assert_eq!(seen.bytes.load(Relaxed), 400_000);
    assert_eq!(record.sha512, hex(Sha512::digest(body(1))));
    assert_eq!(names(&dir), [record.file.replace("qcow2", "json"), record.file]);
}

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_was() {
    let server = serve(body(1), |_, _| 150_000);
    let (_keep, dir) = scratch();
    server.get(&dir, &Silent).unwrap();
    let from: Vec<_> = server.images_asked().iter().map(|asked| asked.from).collect();
    assert_eq!(from, [None, Some(150_000), Some(300_000)]);
    assert_eq!(server.images_asked()[1].if_range.as_deref(), Some("\"v1\""));
}

#[test]
fn the_next_run_goes_on_where_a_broken_one_gave_up() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let server = serve(body(1), move |number, _| match (is_broken.load(Relaxed), number) {
        (true, 1) => 100_000,
        (true, _) => 0,
        (false, _) => usize::MAX,
    });
    let (_keep, dir) = scratch();
    let error = server.get(&dir, &Silent).unwrap_err();
    assert!(matches!(error, ImageError::Broken { at: 100_000, attempts: 2, .. }), "{error}");
    assert!(!error.is_network(), "half an image is no reason to build another");
    broken.store(false, Relaxed);
    server.get(&dir, &Silent).unwrap();
    assert_eq!(server.images_asked().last().unwrap().from, Some(100_000));
}

#[test]
fn a_file_that_changed_between_two_runs_is_fetched_from_its_start() {
    let version = Arc::new(AtomicU64::new(1));
    let now = version.clone();
    let server = Server::start(move |number, asked, stream| {
        let version = now.load(Relaxed) as u32;
        match asked.path.as_str() {
            "/SHA512SUMS" => reply_sums(stream, &sums_of(&body(version))),
            _ if version == 2 => reply_file(asked, stream, &body(2), "v2", usize::MAX),
            _ => reply_file(asked, stream, &body(1), "v1", if number == 1 { 100_000 } else { 0 }),
        }
    });
    let (_keep, dir) = scratch();
    server.get(&dir, &Silent).unwrap_err();
    version.store(2, Relaxed);
    let record = server.get(&dir, &Silent).unwrap();
    assert_eq!(std::fs::read(dir.join(&record.file)).unwrap(), body(2));
    assert_eq!(server.images_asked().last().unwrap().from, None, "the old part is of no use");
}

#[test]
fn a_file_that_changes_during_the_transfer_is_fetched_from_its_start() {
    // The checksum file is the new one all along; the first answer is still the old file.
    let server = Server::start(|number, asked, stream| match (asked.path.as_str(), number) {
        ("/SHA512SUMS", _) => reply_sums(stream, &sums_of(&body(2))),
        (_, 1) => reply_file(asked, stream, &body(1), "v1", 100_000),
        _ => reply_file(asked, stream, &body(2), "v2", usize::MAX),
    });
    let (_keep, dir) = scratch();
    let record = server.get(&dir, &Silent).unwrap();
    assert_eq!(std::fs::read(dir.join(&record.file)).unwrap(), body(2));
}

#[test]
fn a_move_of_latest_between_checksum_and_image_is_seen_as_such() {
    let server = Server::start(|number, asked, stream| match (asked.path.as_str(), number) {
        ("/SHA512SUMS", 1) => reply_sums(stream, &sums_of(&body(1))),
        ("/SHA512SUMS", _) => reply_sums(stream, &sums_of(&body(2))),
        _ => reply_file(asked, stream, &body(2), "v2", usize::MAX),
    });
    let (_keep, dir) = scratch();
    assert_eq!(server.get(&dir, &Silent).unwrap().sha512, hex(Sha512::digest(body(2))));
    assert_eq!(server.images_asked().len(), 1);
}

#[test]
fn the_wrong_file_is_refused_and_not_kept() {
    let server = Server::start(|_, asked, stream| match asked.path.as_str() {
        "/SHA512SUMS" => reply_sums(stream, &sums_of(&body(1))),
        _ => reply_file(asked, stream, &body(2), "v1", usize::MAX),
    });
    let (_keep, dir) = scratch();
    let error = server.get(&dir, &Silent).unwrap_err();
    assert!(matches!(error, ImageError::WrongDigest { .. }), "{error}");
    assert!(!error.is_network(), "a wrong file must not be covered up by building one");
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn bytes_from_another_place_are_not_put_behind_ours() {
    let server = Server::start(|number, asked, stream| match (asked.path.as_str(), number) {
        ("/SHA512SUMS", _) => reply_sums(stream, &sums_of(&body(1))),
        (_, 1) => reply_file(asked, stream, &body(1), "v1", 100_000),
        (_, 2) => {
            let range = "ETag: \"v1\"\r\nContent-Range: bytes 50000-399999/400000\r\n";
            reply(stream, "206 Partial Content", range, &body(1)[50_000..], usize::MAX);
        }
        _ => reply_file(asked, stream, &body(1), "v1", usize::MAX),
    });
    let (_keep, dir) = scratch();
    server.get(&dir, &Silent).unwrap();
    assert_eq!(server.images_asked().len(), 3);
}

#[test]
fn a_server_without_ranges_serves_too() {
    let server = Server::start(|number, asked, stream| match (asked.path.as_str(), number) {
        ("/SHA512SUMS", _) => reply_sums(stream, &sums_of(&body(1))),
        (_, n) => reply(stream, "200 OK", "", &body(1), if n == 1 { 100_000 } else { usize::MAX }),
    });
    let (_keep, dir) = scratch();
    server.get(&dir, &Silent).unwrap();
    assert!(server.images_asked().iter().all(|asked| asked.from.is_none()), "nothing could guard a range");
}

#[test]
fn silence_is_noticed_and_the_transfer_taken_up_again() {
    let server = Server::start(|number, asked, stream| match (asked.path.as_str(), number) {
        ("/SHA512SUMS", _) => reply_sums(stream, &sums_of(&body(1))),
        (_, 1) => {
            reply_file(asked, stream, &body(1), "v1", 100_000);
            std::thread::sleep(Duration::from_secs(8));
        }
        _ => reply_file(asked, stream, &body(1), "v1", usize::MAX),
    });
    let (_keep, dir) = scratch();
    let start = Instant::now();
    server.get(&dir, &Silent).unwrap();
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert_eq!(server.images_asked()[1].from, Some(100_000));
}

#[test]
fn a_stop_is_heeded_in_the_middle_of_silence_and_what_came_is_kept() {
    let server = Server::start(|_, asked, stream| match asked.path.as_str() {
        "/SHA512SUMS" => reply_sums(stream, &sums_of(&body(1))),
        _ => {
            reply_file(asked, stream, &body(1), "v1", 100_000);
            std::thread::sleep(Duration::from_secs(8));
        }
    });
    struct StopAfterSome(AtomicBool);
    impl Watch for StopAfterSome {
        fn say(&self, _: &str) {}
        fn progress(&self, done: u64, _: Option<u64>) {
            self.0.store(done == 100_000, Relaxed);
        }
        fn stopped(&self) -> bool {
            self.0.load(Relaxed)
        }
    }
    let (_keep, dir) = scratch();
    let error = server.get(&dir, &StopAfterSome(AtomicBool::new(false))).unwrap_err();
    assert!(matches!(error, ImageError::Stopped { .. }), "{error}");
    assert_eq!(std::fs::metadata(part(&dir)).unwrap().len(), 100_000);
}

#[test]
fn what_a_server_refuses_is_told_apart_from_a_network_that_is_not_there() {
    for (status, is_network) in [("404 Not Found", false), ("403 Forbidden", true), ("503 Unavailable", true)] {
        let server = Server::start(move |_, _, stream| reply(stream, status, "", b"", 0));
        let error = server.get(&scratch().1, &Silent).unwrap_err();
        assert!(matches!(error, ImageError::Refused { .. }), "{error}");
        assert_eq!(error.is_network(), is_network, "{status}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sums = format!("http://127.0.0.1:{closed}/SHA512SUMS");
    let source = Source { address: "http://x/y".into(), sums, sha512: None, plain: true };
    let error = published(&source, QUICK, &Silent).unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }) && error.is_network(), "{error}");
}

#[test]
fn a_checksum_file_without_the_image_is_named() {
    let server = Server::start(|_, _, stream| reply_sums(stream, "# nothing here\n"));
    let error = published(&server.source(), QUICK, &Silent).unwrap_err();
    assert!(error.to_string().ends_with("SHA512SUMS has no SHA-512 for disk.qcow2"), "{error}");
}

fn part(dir: &Utf8Path) -> Utf8PathBuf {
    dir.join(format!(".a.{}.part", rustix::process::geteuid().as_raw()))
}
