//! Files, LVM and disks.

use super::{Answer, last_line};
use crate::audit::outcome::Seen;

/// The volume groups.
pub(super) const GROUPS: &str = "vgs --noheadings --separator '|' -o vg_name,vg_size,pv_name";
/// The logical volumes.
pub(super) const VOLUMES: &str = "lvs --noheadings --separator '|' -o vg_name,lv_name,lv_attr,lv_size";
/// The block devices that are no parts of others.
pub(super) const DISKS: &str = "lsblk -d -n -o NAME,TYPE,SIZE";

/// The file has the lines.
pub(super) fn judge_file(path: &str, expect: &[String], answer: &Answer) -> Seen {
    if answer.code != 0 {
        let said = last_line(&answer.output);
        return Seen::fails(said, format!("{path} cannot be read: {said}"));
    }
    let has = |wanted: &String| answer.output.lines().any(|line| line.trim_end() == wanted);
    let missing: Vec<_> = expect.iter().filter(|line| !has(line)).map(|line| instead(line, &answer.output)).collect();
    let cause = (!missing.is_empty()).then(|| format!("{path}: {}", missing.join("; ")));
    Seen::judged(format!("{} of {} lines", expect.len() - missing.len(), expect.len()), cause)
}

/// A line that is missing, and what its key has instead.
fn instead(line: &str, text: &str) -> String {
    let other = line
        .split_once('=')
        .and_then(|(key, _)| text.lines().find(|own| own.split_once('=').is_some_and(|(own, _)| own == key)));
    match other {
        Some(other) => format!("{} and not {line}", other.trim_end()),
        None => format!("no line {line}"),
    }
}

/// Rows of fields with `|` between them. LVM warns on the same stream: a warning is no row.
fn rows(text: &str, count: usize) -> Vec<Vec<&str>> {
    let row = |line: &'_ str| line.split('|').count() == count;
    text.lines().filter(|line| row(line)).map(|line| line.split('|').map(str::trim).collect()).collect()
}

/// The group is there.
pub(super) fn judge_group(name: &str, answer: &Answer) -> Seen {
    let groups = rows(&answer.output, 3);
    if answer.code != 0 {
        return Seen::unknown(format!("vgs ended with {}: {}", answer.code, last_line(&answer.output)));
    }
    // A group on several disks has a row for each.
    let own: Vec<_> = groups.iter().filter(|row| row[0] == name).collect();
    match own.first() {
        Some(row) => {
            let disks: Vec<_> = own.iter().map(|row| row[2]).collect();
            Seen::holds(format!("{name}, {}, on {}", row[1], disks.join(", ")))
        }
        None => {
            let others = others(groups.iter().map(|row| row[0].to_owned()));
            Seen::fails(others.clone(), format!("there is no volume group {name}; there are {others}"))
        }
    }
}

/// The volume is there and active.
pub(super) fn judge_volume(group: &str, name: &str, answer: &Answer) -> Seen {
    if answer.code != 0 {
        return Seen::unknown(format!("lvs ended with {}: {}", answer.code, last_line(&answer.output)));
    }
    let volumes = rows(&answer.output, 4);
    match volumes.iter().find(|row| row[0] == group && row[1] == name) {
        // lvs(8): the fifth attribute is the state, `a` for active.
        Some(row) if row[2].chars().nth(4) == Some('a') => Seen::holds(format!("{group}/{name}, {}", row[3])),
        Some(row) => Seen::fails(row[2], format!("the logical volume {group}/{name} is not active ({})", row[2])),
        None => {
            let others = others(volumes.iter().map(|row| format!("{}/{}", row[0], row[1])));
            Seen::fails(others.clone(), format!("there is no logical volume {group}/{name}; there are {others}"))
        }
    }
}

/// The disks have the names.
pub(super) fn judge_disks(expect: &[String], answer: &Answer) -> Seen {
    if answer.code != 0 {
        return Seen::unknown(format!("lsblk ended with {}: {}", answer.code, last_line(&answer.output)));
    }
    let disks: Vec<&str> = answer
        .output
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            (words.next()? == "disk").then_some(name)
        })
        .collect();
    let missing: Vec<_> = expect.iter().filter(|name| !disks.contains(&name.as_str())).map(String::as_str).collect();
    let there = others(disks.iter().map(|name| (*name).to_owned()));
    let cause = (!missing.is_empty()).then(|| format!("there is no disk {}; there are {there}", missing.join(", ")));
    Seen::judged(there, cause)
}

fn others(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
