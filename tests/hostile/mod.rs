//! What comes from outside, and what must hold of it whatever it is: one function per kind of input.
//!
//! They are called with random bytes by the fuzz targets in `fuzz/`, and with `fuzz/corpus/` by an ordinary test. None
//! may panic but for a property that does not hold.

mod authority;
mod checks;
mod disk;
mod drive;
mod guest;

pub use authority::authority;
use boma_qemu::form::pattern::Pattern;
use boma_qemu::image::{content_range, sums};
use boma_qemu::profile::Profile;
use boot_media::medium::{self, Chosen, Damage, Loader, Loaders, Medium, loaders_of_text};
use boot_media::seed::iso;
use camino::Utf8Path;
pub use checks::checks;
pub use disk::{audit_profile, disk};
pub use drive::nbd;
use evidence::attribution::name_tasks;
use evidence::ends::{self, End, Ends};
use evidence::observe::{self, Diff};
use evidence::playbook::deeds::Deed;
use evidence::playbook::{checks as handed_over, events};
pub use guest::guest;
use host::visible;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use vm::console::allow::Allowed;
use vm::console::check::Check;
use vm::console::engine::{Engine, Line};
use vm::monitor::Request;
use vm::network::{Mode, NetFile, dnsmasq, lease, nft};
use vm::qmp;
use vm::qmp::lines::{self, Lines};

/// What is to be held of an input of one kind.
pub type Holds = fn(&[u8]);

/// Every kind of input: its name, as the fuzz target and the corpus have it, and its function.
pub const KINDS: [(&str, Holds); 19] = [
    ("lease", lease),
    ("qmp", qmp),
    ("console", console),
    ("profile", profile),
    ("network", network),
    ("sums", sums),
    ("control", control),
    ("medium", medium),
    ("disk", disk),
    ("audit_profile", audit_profile),
    ("loader", loader),
    ("program", program),
    ("nbd", nbd),
    ("observe", observe),
    ("guest", guest),
    ("ansible", ansible),
    ("visible", visible),
    ("checks", checks),
    ("authority", authority),
];

/// dnsmasq's lease file, in the middle of a rewrite too.
pub fn lease(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let all = lease::parse(&text, 0);
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    assert_eq!(all, lease::parse(&text[..whole], 0), "a line that has not ended counts");
    for lease in &all {
        let name = lease.name.as_deref().unwrap_or("*");
        let (until, client) = (lease.until.unwrap_or(0), &lease.client);
        let line = format!("{until} {} {} {name} {client}\n", lease.mac, lease.ip);
        assert_eq!(lease::parse(&line, 0).as_slice(), std::slice::from_ref(lease), "{line}");
        // Sums over times must not overflow.
        let _ = lease.given();
    }
}

/// What QEMU sends over QMP: lines, events, answers.
pub fn qmp(bytes: &[u8]) {
    let whole = texts(bytes, bytes.len().max(1));
    assert_eq!(whole, texts(bytes, 1), "lines depend on how they come");
    for text in whole {
        for last in [0, 3, u64::MAX] {
            let _ = qmp::judge(&text, last);
        }
    }
}

/// The serial console: lines, and what the rules make of them. The first byte says where the rest is cut in two.
pub fn console(bytes: &[u8]) {
    let Some((at, bytes)) = bytes.split_first() else { return };
    let at = usize::from(*at) * bytes.len() / 255;
    let whole = lines_of(&[bytes]);
    assert_eq!(whole, lines_of(&[&bytes[..at], &bytes[at..]]), "lines depend on how they come");
    for line in &whole {
        assert!(line.offset <= bytes.len() as u64, "{line:?} lies beyond the end");
        assert!(!line.text.contains(['\n', '\r', '\u{1b}', '\u{8}']), "{line:?}");
    }
    let mut check = Check::new(Allowed::default());
    check.feed(&bytes[..at]);
    check.cut();
    check.feed(&bytes[at..]);
    assert_eq!(check.end().bytes, bytes.len() as u64);
}

/// A profile, and what is made of one that is accepted. Its beginning is taken for a regular expression, too.
pub fn profile(bytes: &[u8]) {
    let path = Utf8Path::new("profiles/fuzz.json");
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // To make one of a long text takes long where nothing is optimised.
    if let Ok(pattern) = Pattern::try_from(text.chars().take(24).collect::<String>()) {
        let found = pattern.line_in(text);
        assert!(found.is_none_or(|line| pattern.is_in(line)), "{pattern}");
    }
    if let Ok(profile) = Profile::parse(path, text) {
        let again = serde_json::to_string(&profile).unwrap_or_default();
        let read = Profile::parse(path, &again).map(|read| serde_json::to_string(&read).unwrap_or_default());
        assert_eq!(read.ok(), Some(again), "an accepted profile is not accepted again");
    }
}

/// A network file, and the texts that are made of one that is accepted.
pub fn network(bytes: &[u8]) {
    let Ok(file) = serde_json::from_slice::<NetFile>(bytes) else { return };
    let names = ("boma-it-fuzz-0000".parse(), "boma-it-t0".parse(), "52:54:00:12:34:56".parse());
    let (Ok(vm), Ok(tap), Ok(mac)) = names else { return };
    let plan = file.plan(Mode::Namespace, vm, tap, mac);
    if plan.check().is_ok() {
        for text in [nft::guest(&plan), nft::ports(&plan), nft::controller(&plan)] {
            let count = |c| text.matches(c).count();
            assert_eq!(count('{'), count('}'), "{text}");
        }
        let config = dnsmasq::config(&plan, Utf8Path::new("/s/net/boma-it"));
        let is_option = |line: &str| line.is_empty() || line.starts_with(|c: char| c.is_ascii_lowercase() || c == '#');
        assert!(config.lines().all(is_option), "{config}");
    }
}

/// A published SHA512SUMS. The first line is the file's name; it is taken for the server's `Content-Range`, too.
pub fn sums(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (name, sums) = text.split_once('\n').unwrap_or((&text, ""));
    let _ = content_range(name);
    if let Some(digest) = sums::find(sums, name) {
        assert!(digest.len() == 128 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{digest}");
    }
}

/// What a client sends to the monitor's control socket.
pub fn control(bytes: &[u8]) {
    for text in texts(bytes, 7) {
        if let Ok(request) = serde_json::from_str::<Request>(&text) {
            let again = serde_json::to_string(&request).unwrap_or_default();
            // Not "the same one": a number's last bit can change on the way.
            assert!(serde_json::from_str::<Request>(&again).is_ok(), "{again}");
        }
    }
}

/// A boot medium. The first byte says which part of one the rest is, since a whole image is too long to be found by chance:
/// `p` patches of a small image, `v` what follows its system area, `f` the FAT of an EFI partition, `s` a squashfs.
pub fn medium(bytes: &[u8]) {
    let Some((part, rest)) = bytes.split_first() else { return };
    let image = match part {
        b'p' => patched(rest),
        b'v' => Some([vec![0; 32 << 10].as_slice(), rest].concat()),
        b'f' => with_partition(rest),
        b's' => with_file("squashfs", rest),
        _ => None,
    };
    let Some(Ok(medium)) = image.map(|image| Medium::of_memory("fuzz", image)) else { return };
    let short = medium.damage().iter().any(|damage| matches!(damage, Damage::Short { .. }));
    assert_eq!(short, medium.volume_size() > medium.size());
    let paths: Vec<_> = medium.files().map(|file| file.path.clone()).collect();
    assert!(paths.is_sorted() && paths.iter().all(|path| path.starts_with('/')));
    let inside: Vec<_> = medium.efi_files().map(|(path, _)| path).collect();
    for path in paths.iter().chain(&inside).take(64) {
        let read = medium.read(path, 1 << 20);
        assert!(read.is_err() || read.is_ok_and(|bytes| bytes.len() as u64 <= medium.size()), "{path}");
    }
    let mut names = Vec::new();
    if let Ok(squashfs) = medium.squashfs_names("/squashfs", &mut |name| names.push(name.to_owned())) {
        assert!(squashfs.bytes <= medium.size() && names.iter().all(|name| name.starts_with('/')));
    }
    for name in names.iter().take(16) {
        let _ = medium.read(&format!("/squashfs:{name}"), 1 << 20);
    }
    let _ = medium.within();
    let loaders = medium.loaders();
    assert!(!loaders.paths.is_empty(), "no boot path is said");
    defaults(&loaders);
}

/// What each boot path boots is one of its entries, or it is said why not.
fn defaults(loaders: &Loaders) {
    for path in &loaders.paths {
        let (Chosen::Entries(chosen) | Chosen::NotKnown { entries: chosen, .. }) = &path.chosen else { continue };
        assert!(chosen.iter().all(|at| *at < path.entries.len()), "{path}");
        assert!(!chosen.is_empty() || matches!(path.chosen, Chosen::NotKnown { .. }), "{path}");
    }
    let told = loaders.entries.iter().map(|entry| entry.args.len() + entry.title.len()).sum::<usize>();
    assert!(told < 64 << 20, "{told} bytes of entries");
}

/// Boot loaders' configurations, with what firmware starts; the format is that of `tests/loaders`.
pub fn loader(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let loaders = loaders_of_text(&text);
    defaults(&loaders);
    assert_eq!(loaders, loaders_of_text(&text), "the same says something else");
    for entry in &loaders.entries {
        assert!(entry.line > 0, "{entry:?}");
        // Only GRUB's language has values that are not known, which these mark on the way.
        let marked = entry.args.contains(['\u{fdd0}', '\u{fdd1}', '\u{fdd2}']);
        assert!(!marked || entry.loader != Loader::Grub, "{entry:?}");
    }
}

/// An EFI program: its sections, what GRUB keeps in one, and a memory disk in that.
pub fn program(bytes: &[u8]) {
    let (sections, _) = medium::program(bytes);
    assert!(sections <= 96, "{sections} sections");
}

/// What the guest answered to the script that looks at its state: before, a NUL, after, and behind another NUL what a task
/// was given that may have set what was lost.
pub fn observe(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(3, '\0').chain(["", ""]);
    let [before, after, given] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let _ = observe::reasons(after);
    let disks = [before, after].map(ends::read);
    let [before, after] = [before, after].map(observe::read);
    for state in [&before, &after] {
        assert!(Diff::between(state, state).changes.is_empty(), "a state differs from itself");
        let _ = observe::foretell(state);
        let written = serde_json::to_string(state).unwrap_or_default();
        assert_eq!(serde_json::from_str(&written).ok().as_ref(), Some(state), "a state is not read as it was written");
    }
    let [fresh, upgraded] = [(&before, &disks[0]), (&after, &disks[1])]
        .map(|(state, disk)| End { state: state.clone(), disk: disk.clone() });
    let differ = |one: &End, other: &End| {
        Ends::between(one, other, "/r".into(), &[], std::time::SystemTime::UNIX_EPOCH).findings
    };
    assert!(differ(&fresh, &fresh).is_empty(), "an end state differs from itself");
    let is_told =
        |one: &ends::Difference| one.id.len() > "ends/".len() && (one.fresh.is_some() || one.upgraded.is_some());
    assert!(
        differ(&fresh, &upgraded).iter().all(is_told),
        "what differs has a name, and is there on one side at least"
    );
    let diff = Diff::between(&before, &after);
    let mut judged = diff.judge(&[]);
    let deed = |module: &str| {
        let (role, task, place, module) = ("base".into(), "Set it".into(), "m.yml:3".into(), module.to_owned());
        Deed { role, task, place, module, given: vec![given.to_owned()] }
    };
    name_tasks(&mut judged, &[deed("shell"), deed("sysctl")]);
    assert!(judged.allowed.is_empty(), "nothing was allowed");
    for finding in judged.findings {
        assert!(!finding.id.is_empty() && !finding.what.is_empty(), "{finding:?}");
    }
}

/// What the callback plugin wrote of a playbook run, whose texts are the playbook's and the guest's; and the checks that
/// a playbook handed over.
pub fn ansible(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(read) = events::parse(&text) {
        assert_eq!(read.len(), text.matches('\n').count(), "an event is lost");
        let results: Vec<_> = events::results(&read).cloned().collect();
        let ids: std::collections::BTreeSet<_> =
            handed_over::from_results(&results).into_iter().map(|one| one.id).collect();
        assert!(ids.len() <= handed_over::from_results(&results).len());
        let mut hidden = read.into_iter().map(|event| event.masked(|_| "*".into()));
        assert!(hidden.all(|event| event == event.clone().masked(|_| "*".into())), "a mask leaves something");
    }
    if let Ok(all) = handed_over::parse(&text) {
        assert!(all.iter().any(|check| !check.hint), "no check can fail");
        assert!(all.iter().all(|check| check.looked || !check.ok), "one is ok and did not look");
    }
}

/// Any text on its way to a terminal, a report or a program.
pub fn visible(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (block, line) = (visible::block(&text), visible::line(&text));
    assert!(!block.contains(|c| visible::is_hidden(c) && c != '\n' && c != '\t'), "{block:?}");
    assert!(!line.contains(|c| visible::is_hidden(c) && c != '\t'), "{line:?}");
    assert_eq!(visible::block(&block), block, "made visible twice is another text");
    let json = visible::json_pretty(&text).unwrap_or_default();
    assert!(!json.contains(visible::is_hidden), "{json:?}");
    assert_eq!(serde_json::from_str::<String>(&json).ok().as_deref(), Some(&*text));
}

/// A small image with this file, and a second one.
fn with_file(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let files = [iso::File::new(name, bytes), iso::File::new("readme.txt", "boot")];
    iso::write("FUZZ", &files, 0).ok()
}

/// The same with changes: each a place from byte 32768 on, big-endian, a length, and so many bytes.
fn patched(mut patches: &[u8]) -> Option<Vec<u8>> {
    let mut image = with_file("grub.cfg", b"menuentry a { linux /readme.txt console=ttyS0 }\n")?;
    while let [high, low, length, rest @ ..] = patches {
        let bytes = &rest[..rest.len().min(usize::from(*length))];
        let at = (32 << 10) + usize::from(u16::from_be_bytes([*high, *low]));
        if let Some(place) = image.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        patches = &rest[bytes.len()..];
    }
    Some(image)
}

/// The same with an EFI partition behind it.
fn with_partition(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut image = with_file("a", b"")?;
    let (start, sectors) = ((image.len() / 512) as u32, bytes.len().div_ceil(512) as u32);
    image[446..451].copy_from_slice(&[0, 0, 0, 0, 0xef]);
    image[454..458].copy_from_slice(&start.to_le_bytes());
    image[458..462].copy_from_slice(&sectors.to_le_bytes());
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image.extend(bytes);
    image.resize((start + sectors) as usize * 512, 0);
    Some(image)
}

fn lines_of(chunks: &[&[u8]]) -> Vec<Line> {
    let (mut engine, mut lines) = (Engine::new(0), Vec::new());
    for chunk in chunks {
        engine.feed(chunk, |line| lines.push(line));
        let _ = engine.partial();
    }
    engine.flush(|line| lines.push(line));
    lines
}

/// The lines of a stream that comes in pieces of so many bytes.
fn texts(bytes: &[u8], piece: usize) -> Vec<String> {
    let (mut lines, mut texts) = (Lines::new(Pieces { rest: bytes, piece }), Vec::new());
    // A slice is always ready, so nothing ever waits.
    while let Poll::Ready(line) = pin!(lines.next()).poll(&mut Context::from_waker(Waker::noop())) {
        match line {
            lines::Line::Text(text) => texts.push(text),
            lines::Line::TooLong => {}
            lines::Line::End(_) => break,
        }
    }
    texts
}

struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl tokio::io::AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let count = self.piece.min(self.rest.len()).min(into.remaining());
        let all = self.rest;
        let (now, rest) = all.split_at(count);
        into.put_slice(now);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}
