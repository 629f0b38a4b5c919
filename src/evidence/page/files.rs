//! The files of the evidence, and what each tells.

use crate::page::html::parts::FileLink;
use camino::{Utf8Path, Utf8PathBuf};

/// What tells most, in the order in which it is worth reading.
const KNOWN: [(&str, &str); 14] = [
    ("audit.json", "everything on this page, for programs"),
    ("report.md", "this page as text, for reviews"),
    ("build.log", "what the build of the image said"),
    ("proof.json", "everything on this page, for programs"),
    ("experiment.json", "everything on this page, for programs"),
    ("result.json", "everything on this page, for programs"),
    ("ansible.log", "every ansible-playbook command line and all of its output"),
    ("console.log", "the serial console, every byte"),
    ("events.ndjson", "what the monitor saw, with times: QMP events, boots, console rules"),
    ("net/nft.txt", "the filter around the guest, with its counters"),
    ("net/dnsmasq.log", "leases, and every name that was asked for"),
    ("junit.xml", "what was checked and came of it, for a CI system"),
    ("qemu-argv.txt", "how QEMU was started"),
    ("started", "when this run began, and by which command"),
];

/// All files of a run's folder but the page itself. An experiment in it has a page of its own, which stands for it.
pub fn all(folder: &Utf8Path) -> Vec<FileLink> {
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    // It is written after the page, so that it is not there yet; the size of an earlier stage's would soon be wrong.
    links(folder, found, Some("result.json"))
}

/// All files of an audit's folder but the page itself; `audit.json` is written after it.
pub fn of_audit(folder: &Utf8Path) -> Vec<FileLink> {
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    links(folder, found, Some("audit.json"))
}

/// The files of an experiment's folder; those of each run are a link away.
pub fn of_experiment(folder: &Utf8Path) -> Vec<FileLink> {
    let entries = folder.read_dir_utf8().into_iter().flatten().filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let names = files.map(|entry| Utf8PathBuf::from(entry.file_name()));
    links(folder, names.filter(|name| name != super::PAGE && name.extension() != Some("part")).collect(), None)
}

fn links(folder: &Utf8Path, mut found: Vec<Utf8PathBuf>, last: Option<&str>) -> Vec<FileLink> {
    found.retain(|path| last.is_none_or(|last| path != last));
    found.sort();
    let tells = |path: &Utf8Path| match path.file_name() {
        Some(super::PAGE) => "the page of an experiment",
        _ => KNOWN.iter().find(|(name, _)| *name == path).map_or("", |(_, tells)| tells),
    };
    let link =
        |path: &Utf8Path, bytes: Option<u64>| FileLink { path: path.to_string(), tells: tells(path).to_owned(), bytes };
    let there = |path: &Utf8PathBuf| link(path, std::fs::metadata(folder.join(path)).ok().map(|meta| meta.len()));
    let place = |path: &Utf8Path| KNOWN.iter().position(|(name, _)| *name == path).unwrap_or(KNOWN.len());
    let mut links: Vec<_> = found.iter().map(there).chain(last.map(|last| link(last.into(), None))).collect();
    links.sort_by_key(|file| place(Utf8Path::new(&file.path)));
    links
}

fn walk(root: &Utf8Path, folder: &Utf8Path, found: &mut Vec<Utf8PathBuf>) {
    for entry in folder.read_dir_utf8().into_iter().flatten().filter_map(Result::ok) {
        let place = |path: &Utf8Path| path.strip_prefix(root).unwrap_or(path).to_owned();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                let page = entry.path().join(super::PAGE);
                match page.exists() {
                    true => found.push(place(&page)),
                    false => walk(root, entry.path(), found),
                }
            }
            Ok(kind) if kind.is_file() => {
                let path = place(entry.path());
                if path != super::PAGE && path.extension() != Some("part") {
                    found.push(path);
                }
            }
            _ => {}
        }
    }
}

/// The command that the run was begun with.
pub fn command(folder: &Utf8Path) -> Option<String> {
    let started = std::fs::read_to_string(folder.join("started")).ok()?;
    started.lines().nth(1).map(str::to_owned)
}
