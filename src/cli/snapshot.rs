//! `snapshots`: what there is to go back to, as a tree.

use super::say::Say;
use crate::jobs::target::alive;
use host::dirs::Dirs;
use host::failure::Failure;
use host::names::HostName;
use vm::machine::VmDir;
use vm::snapshot::{self, Origin, Taken};

/// Print a VM's snapshots.
pub(super) fn list(dirs: &Dirs, host: &HostName, say: &Say) -> Result<u8, Failure> {
    let vm = VmDir::of(dirs, host);
    alive(&vm, host)?;
    let (all, begun) = (Taken::all(&vm)?, snapshot::begun(&vm));
    if all.is_empty() {
        say.result(format!("{host} has no snapshot; `boma-qemu apply {host}` and `snapshot {host} NAME` take one"));
    }
    for (depth, taken) in tree(&all) {
        let is_begun = begun.as_ref() == Some(&taken.origin());
        say.object(&serde_json::json!({"event": "snapshot", "snapshot": taken, "begun": is_begun}));
        say.result(row(depth, taken, &all, is_begun));
    }
    Ok(0)
}

/// Each snapshot behind what it comes from, and how deep it stands.
fn tree(all: &[Taken]) -> Vec<(usize, &Taken)> {
    let there = |origin: &Origin| all.iter().any(|taken| taken.origin() == *origin);
    let roots = all.iter().filter(|taken| !taken.from.as_ref().is_some_and(there));
    let mut open: Vec<_> = roots.map(|taken| (0, taken)).collect();
    open.reverse();
    let mut rows = Vec::new();
    while let Some((depth, taken)) = open.pop() {
        rows.push((depth, taken));
        let children = all.iter().rev().filter(|child| child.from.as_ref() == Some(&taken.origin()));
        open.extend(children.map(|child| (depth + 1, child)));
    }
    rows
}

fn row(depth: usize, taken: &Taken, all: &[Taken], is_begun: bool) -> String {
    let Taken { name, at, boot_id, .. } = taken;
    let gone = taken.from.as_ref().filter(|from| !all.iter().any(|one| one.origin() == **from));
    let gone = gone.map(|from| format!(", from {} of {}, which is gone", from.name, from.at)).unwrap_or_default();
    let now = if is_begun { ", which the VM goes on from" } else { "" };
    format!("{}{name}  {at}, boot {}{gone}{now}", "  ".repeat(depth), &boot_id.as_str()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(name: &str, at: &str, from: Option<(&str, &str)>) -> Taken {
        let from = from.map(|(name, at)| serde_json::json!({"name": name, "at": at}));
        let mut taken = serde_json::json!({
            "name": name, "at": at, "boot_id": "5f1e2b1c-8f0e-4f0e-9d59-3a4b5c6d7e8f", "nonce": "0", "seq": 1,
            "open_connections": 0, "seconds": 1.0
        });
        taken["from"] = from.into();
        serde_json::from_value(taken).unwrap()
    }

    #[test]
    fn each_snapshot_stands_below_what_it_comes_from() {
        let all = [
            taken("applied", "1", None),
            taken("a", "2", Some(("applied", "1"))),
            taken("b", "3", Some(("applied", "1"))),
            taken("a2", "4", Some(("a", "2"))),
            taken("lost", "5", Some(("applied", "0"))),
        ];
        let rows: Vec<_> = tree(&all).iter().map(|(depth, taken)| row(*depth, taken, &all, *depth == 2)).collect();
        assert_eq!(
            rows,
            [
                "applied  1, boot 5f1e2b1c",
                "  a  2, boot 5f1e2b1c",
                "    a2  4, boot 5f1e2b1c, which the VM goes on from",
                "  b  3, boot 5f1e2b1c",
                "lost  5, boot 5f1e2b1c, from applied of 0, which is gone",
            ]
        );
    }
}
