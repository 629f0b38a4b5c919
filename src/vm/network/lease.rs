//! dnsmasq's lease file: who has which address until when.

use super::dnsmasq::LEASE_H;
use camino::Utf8Path;
use host::deadline::PROBE_PERIOD;
use host::names::Mac;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::unix::AsyncFd;

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When it ends, in seconds since 1970; none: never.
    pub until: Option<u64>,
    /// Whose it is.
    pub mac: Mac,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The name that the client gave, if it gave one.
    pub name: Option<String>,
    /// What the client calls itself to the server (`*`: nothing).
    pub client: String,
}

impl Lease {
    /// When it was given or renewed last, in seconds since 1970; none for one without an end.
    pub fn given(&self) -> Option<u64> {
        self.until?.checked_sub(LEASE_H * 3600)
    }
}

/// Read a lease file as it was at `now` (seconds since 1970). Expired leases do not count, nor does a
/// last line without its end: dnsmasq rewrites the file in place, and may be in the middle of it.
/// Lines (dnsmasq(8), `--dhcp-leasefile`): end, MAC, address, name or `*`, client id or `*`.
pub fn parse(text: &str, now: u64) -> Vec<Lease> {
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let lease = |line: &str| {
        let mut fields = line.split_whitespace();
        let until: u64 = fields.next()?.parse().ok()?;
        let mac = fields.next()?.parse().ok()?;
        let ip = fields.next()?.parse().ok()?;
        let name = fields.next()?;
        // A line cut in the middle by a rewrite has no client id.
        let client = fields.next()?.to_owned();
        Some(Lease {
            until: (until != 0).then_some(until),
            mac,
            ip,
            name: (name != "*").then(|| name.to_owned()),
            client,
        })
    };
    let valid = |lease: &Lease| lease.until.is_none_or(|until| until > now);
    text[..whole].lines().filter_map(lease).filter(valid).collect()
}

/// The lease of one machine now.
pub fn find(path: &Utf8Path, mac: &Mac) -> Option<Lease> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let text = std::fs::read_to_string(path).ok()?;
    parse(&text, now).into_iter().rfind(|lease| lease.mac == *mac)
}

/// Wait until a machine has a lease; the deadline is the caller's. Changes of the file are pushed by
/// inotify; where that is not to be had, it is looked at every 100 ms.
pub async fn wait_for_lease(path: &Utf8Path, mac: &Mac) -> Lease {
    wait_for(path, mac, |_| true).await
}

/// As [`wait_for_lease`], for one that fits.
pub async fn wait_for(path: &Utf8Path, mac: &Mac, fits: impl Fn(&Lease) -> bool) -> Lease {
    let watch = watch(path).ok();
    loop {
        // Looked at after the watch stands, so that no change can be missed.
        if let Some(lease) = find(path, mac).filter(&fits) {
            return lease;
        }
        changed(watch.as_ref()).await;
    }
}

/// Tell each time that the file is written while a machine has a lease in it: dnsmasq writes it when it
/// gives a lease and when it renews one. Never ends.
pub async fn each_time(path: &Utf8Path, mac: &Mac, mut given: impl FnMut(Lease)) {
    // The watch is on the folder, in which other files are written too.
    let written = || std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let (watch, mut known) = (watch(path).ok(), written());
    loop {
        changed(watch.as_ref()).await;
        let now = written();
        if now != known
            && let Some(lease) = find(path, mac)
        {
            known = now;
            given(lease);
        }
    }
}

/// Wait for the next change.
async fn changed(watch: Option<&AsyncFd<OwnedFd>>) {
    let Some(watch) = watch else { return tokio::time::sleep(PROBE_PERIOD).await };
    let Ok(mut ready) = watch.readable().await else { return };
    // What has changed is no matter: the file is read as a whole.
    while rustix::io::read(watch.get_ref(), &mut [0_u8; 4096]).is_ok_and(|n| n > 0) {}
    ready.clear_ready();
}

/// A watch on the folder, since the file may not be there yet.
fn watch(path: &Utf8Path) -> std::io::Result<AsyncFd<OwnedFd>> {
    let dir = path.parent().unwrap_or(Utf8Path::new("/"));
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&fd, dir.as_std_path(), WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    host::tail::watched(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = "1795218000 52:54:00:12:34:56 10.213.77.10 askari ff:b5:5e:67:ff:00:02\n";

    #[test]
    fn a_lease_is_read_until_it_expires() {
        let found = parse(LINE, 1_795_217_999);
        assert_eq!(found[0].ip, Ipv4Addr::new(10, 213, 77, 10));
        assert_eq!(found[0].name.as_deref(), Some("askari"));
        assert_eq!(parse(LINE, 1_795_218_000), []);
    }

    #[test]
    fn a_lease_says_when_it_was_given() {
        assert_eq!(parse(LINE, 1)[0].given(), Some(1_795_218_000 - 12 * 3600));
        assert_eq!(parse("0 52:54:00:12:34:56 10.213.77.10 * *\n", 1)[0].given(), None);
    }

    #[test]
    fn a_lease_without_an_end_or_a_name_counts() {
        let found = parse("0 52:54:00:12:34:56 10.213.77.10 * *\n", 1);
        assert_eq!((found[0].until, found[0].name.as_deref()), (None, None));
    }

    #[test]
    fn other_lines_of_the_file_are_no_leases() {
        assert_eq!(parse("duid 00:01:00:01\n\n", 1), []);
    }

    #[test]
    fn a_lease_that_comes_while_one_waits_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().join("leases")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mac = "52:54:00:12:34:56".parse().unwrap();
        let writing = async {
            // In two steps, as a rewrite in place can look.
            std::fs::write(&path, "0 52:54:00:12:34:56 10.213.").unwrap();
            tokio::task::yield_now().await;
            std::fs::write(&path, "0 52:54:00:12:34:56 10.213.77.10 * *\n").unwrap();
        };
        let (lease, ()) = runtime.block_on(async { tokio::join!(wait_for_lease(&path, &mac), writing) });
        assert_eq!(lease.ip, Ipv4Addr::new(10, 213, 77, 10));
    }

    #[test]
    fn a_renewal_is_told_and_what_other_files_say_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().join("leases")).unwrap();
        std::fs::write(&path, LINE).unwrap();
        let mac = "52:54:00:12:34:56".parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let told = std::cell::RefCell::new(Vec::new());
        let pause = || tokio::time::sleep(std::time::Duration::from_millis(30));
        let writing = async {
            pause().await;
            std::fs::write(dir.path().join("dnsmasq.log"), "a line").unwrap();
            pause().await;
            assert!(told.borrow().is_empty());
            std::fs::write(&path, "0 52:54:00:12:34:56 10.213.77.11 * *\n").unwrap();
            pause().await;
        };
        runtime.block_on(async {
            tokio::select! {
                () = each_time(&path, &mac, |lease| told.borrow_mut().push(lease.ip)) => {}
                () = writing => {}
            }
        });
        assert_eq!(*told.borrow(), [Ipv4Addr::new(10, 213, 77, 11)]);
    }

    proptest! {
        #[test]
        fn a_file_cut_anywhere_never_gives_a_wrong_address(cut in 0..=LINE.len()) {
            for lease in parse(&LINE[..cut], 0) {
                prop_assert_eq!(lease.ip, Ipv4Addr::new(10, 213, 77, 10));
            }
        }
    }
}
