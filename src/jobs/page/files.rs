//! The files of the evidence, and what each tells.

use crate::report::html::parts::FileLink;
use camino::{Utf8Path, Utf8PathBuf};

/// What tells most, in the order in which it is worth reading.
const KNOWN: [(&str, &str); 9] = [
    ("result.json", "everything on this page, for programs"),
    ("ansible.log", "every ansible-playbook command line and all of its output"),
    ("console.log", "the serial console, every byte"),
    ("events.ndjson", "what the monitor saw, with times: QMP events, boots, console rules"),
    ("net/nft.txt", "the filter around the guest, with its counters"),
    ("net/dnsmasq.log", "leases, and every name that was asked for"),
    ("junit.xml", "phases, checks and leaks for a CI system"),
    ("qemu-argv.txt", "how QEMU was started"),
    ("started", "when this run began, and by which command"),
];

/// Written after the page, so that it is not there yet.
const LAST: &str = "result.json";

/// All files of a run's folder but the page itself.
pub(super) fn all(folder: &Utf8Path) -> Vec<FileLink> {
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    let tells = |path: &str| KNOWN.iter().find(|(name, _)| *name == path).map_or("", |(_, tells)| tells);
    let size = |path: &Utf8PathBuf| std::fs::metadata(folder.join(path)).ok().map(|meta| meta.len());
    let link = |path: &Utf8PathBuf| FileLink {
        path: path.to_string(),
        tells: tells(path.as_str()).to_owned(),
        // The size of an earlier stage's result would be wrong in a moment.
        bytes: size(path).filter(|_| path != LAST),
    };
    let known = KNOWN.iter().map(|(name, _)| Utf8PathBuf::from(*name));
    let known = known.filter(|path| path == LAST || found.contains(path));
    let rest = found.iter().filter(|path| tells(path.as_str()).is_empty());
    known.map(|path| link(&path)).chain(rest.map(link)).collect()
}

fn walk(root: &Utf8Path, folder: &Utf8Path, found: &mut Vec<Utf8PathBuf>) {
    for entry in folder.read_dir_utf8().into_iter().flatten().filter_map(Result::ok) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(root, entry.path(), found),
            Ok(kind) if kind.is_file() => {
                let path = entry.path().strip_prefix(root).unwrap_or(entry.path()).to_owned();
                if path != super::PAGE && path.extension() != Some("part") {
                    found.push(path);
                }
            }
            _ => {}
        }
    }
}

/// The command that the run was begun with.
pub(super) fn command(folder: &Utf8Path) -> Option<String> {
    let started = std::fs::read_to_string(folder.join("started")).ok()?;
    started.lines().nth(1).map(str::to_owned)
}
