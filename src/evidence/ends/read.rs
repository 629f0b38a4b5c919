//! The answers, as facts.

use super::{OnDisk, drawn};
use crate::observe::answers::{self, Answers, section};
use crate::observe::{Fact, Facts};
use std::collections::{BTreeMap, BTreeSet};

/// What is on the disk, by the script's answers.
pub(super) fn disk(answers: &Answers) -> OnDisk {
    let (sums, pem) = (answers::text(answers, "sums"), answers::text(answers, "pem"));
    OnDisk {
        packages: section(answers, "packages", &[], |text| Ok(packages(text))),
        files: section(answers, "paths", &["sums", "pem"], |text| files(text, sums, pem)),
    }
}

/// `NAME<tab>STATE<tab>VERSION`.
fn packages(text: &str) -> Facts {
    let rows = text.lines().filter_map(|line| {
        let mut words = line.split('\t');
        let (name, state, version) = (words.next()?, words.next()?.trim(), words.next()?);
        let said = match state {
            "ii" | "hi" => version.to_owned(),
            "rc" => "removed, its configuration is still there".to_owned(),
            other => format!("{version}, not in order ({other})"),
        };
        // Known to the package manager, and not there.
        (state != "un" && state != "pn").then(|| (name.to_owned(), Fact::One(said)))
    });
    rows.collect()
}

/// `KIND MODE OWNER SIZE PATH<tab>TARGET`, with the digests of what is not large and not drawn anew on each machine.
fn files(text: &str, sums: &str, pem: &str) -> Result<Facts, String> {
    let digests: BTreeMap<&str, (&str, &str)> = sums
        .lines()
        .filter_map(|line| {
            line.split_once(' ').and_then(|(sum, rest)| rest.split_once(' ').map(|(n, path)| (path, (sum, n))))
        })
        .collect();
    let keys: BTreeSet<&str> = pem.lines().collect();
    let mut facts = Facts::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let mut words = line.splitn(5, ' ');
        let mut next = || words.next().ok_or_else(|| format!("{line:?} has too few words"));
        let (kind, mode, owner, size, path) = (next()?, next()?, next()?, next()?, next()?);
        let (path, target) = path.split_once('\t').unwrap_or((path, ""));
        if drawn::is_passed_over(path) {
            continue;
        }
        let said = match (kind, digests.get(path)) {
            ("d", _) => format!("folder {mode} {owner}"),
            ("l", _) => format!("link to {target}"),
            ("f", _) if drawn::has_own_content(path) || keys.contains(path) => format!("file {mode} {owner}"),
            ("f", Some((sum, bytes))) => format!("file {mode} {owner}, {bytes} bytes, checksum {sum}"),
            ("f", None) => format!("file {mode} {owner}, {size} bytes"),
            (other, _) => format!("{} {mode} {owner}", word(other)),
        };
        facts.insert(path.to_owned(), Fact::One(said));
    }
    match facts.is_empty() {
        true => Err("no file was found".into()),
        false => Ok(facts),
    }
}

fn word(kind: &str) -> &'static str {
    match kind {
        "s" => "socket",
        "p" => "pipe",
        _ => "device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ends::read;
    use crate::observe::Observed;

    #[test]
    fn files_are_told_by_what_they_are_and_what_is_in_them() {
        let paths = "d 755 root:root 4096 /etc\t\nf 644 root:root 12 /etc/a b\t\nl 777 root:root 5 /etc/l\t../x\n\
                     f 600 root:root 9 /etc/key\t\nf 640 root:shadow 9 /etc/shadow\t\nf 644 root:root 9000000 /etc/big\t\n\
                     f 644 root:root 3 /etc/adjtime\t\n";
        let facts = files(paths, "77 12 /etc/a b\n5 9 /etc/key\n6 9 /etc/shadow\n", "/etc/key\n").unwrap();
        let shown: Vec<_> = facts.iter().map(|(path, fact)| format!("{path} = {fact}")).collect();
        assert_eq!(
            shown,
            [
                "/etc = folder 755 root:root",
                "/etc/a b = file 644 root:root, 12 bytes, checksum 77",
                "/etc/big = file 644 root:root, 9000000 bytes",
                "/etc/key = file 600 root:root",
                "/etc/l = link to ../x",
                "/etc/shadow = file 640 root:shadow",
            ]
        );
    }

    #[test]
    fn a_package_that_is_gone_but_for_its_configuration_is_told() {
        let facts = packages("nginx\tii \t1.26\nold:amd64\trc \t1\nhalf\tiF \t2\nknown\tun \t\n");
        let shown: Vec<_> = facts.iter().map(|(name, fact)| format!("{name} = {fact}")).collect();
        let rc = "removed, its configuration is still there";
        assert_eq!(shown, ["half = 2, not in order (iF)", "nginx = 1.26", &format!("old:amd64 = {rc}")]);
    }

    #[test]
    fn what_could_not_be_looked_at_is_no_empty_list() {
        for output in [
            "",
            "\x1epaths\nd 755 root:root 1 /etc\t\n\x1f0 \n",
            "\x1epaths\n\n\x1f0 \n\x1esums\n\n\x1f0 \n\x1epem\n\n\x1f0 \n",
        ] {
            assert!(matches!(read(output).files, Observed::Failed(_)), "{output:?}");
        }
        let cut = "\x1epaths\nd 755 root:root 1 /etc\t\n\x1f0 \n\x1esums\n1 2 /e";
        assert!(matches!(read(cut).files, Observed::Failed(_)));
        assert!(matches!(read("").packages, Observed::Failed(_)));
    }
}
