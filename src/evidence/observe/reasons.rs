//! Why something is not as it was, asked of the guest once it is known what: systemd says why it did not start a unit, and
//! a file when it was written.

use super::answers::{Answer, answers, text};
use super::read::blocks;
use super::state::{Reason, Section, State};
use super::{Change, Diff, ObserveError};
use host::shell::quoted;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use vm::ssh::Session;

/// How long the guest may take to answer.
const LIMIT: Duration = Duration::from_secs(120);
/// Of how many units and files it is asked at most: a command line is no place for more.
const MOST: usize = 100;

/// What systemd starts at a first boot, or after an update only, by its own conditions (systemd.unit(5)).
const ONCE: [&str; 2] = ["ConditionFirstBoot", "ConditionNeedsUpdate"];
/// The same, for units of systemd's own whose conditions say it in other words: the machine id is written once, and the
/// root is checked here only where the initramfs has not done it.
const ONCE_UNITS: [&str; 2] = ["systemd-machine-id-commit.service", "systemd-fsck-root.service"];

/// Ask the guest about all that is lost, and note in the state what it says.
pub(super) async fn note(session: &Session, before: &State, after: &mut State) -> Result<(), ObserveError> {
    let diff = Diff::between(before, after);
    let asked = Asked::about(&diff);
    let Some(script) = asked.script() else { return Ok(()) };
    let answer = session.root_script(&script, LIMIT).await.map_err(ObserveError::Ask)?;
    after.known.reasons = reasons(&answers(&answer.stdout));
    Ok(())
}

/// What the guest is asked about.
#[derive(Default)]
struct Asked {
    units: Vec<String>,
    files: Vec<String>,
}

impl Asked {
    fn about(diff: &Diff) -> Self {
        let lost = || diff.changes.iter().filter(|change| change.loss.is_some());
        let unit = |change: &Change| {
            let own = change.section == Section::Units && !change.key.starts_with("user ");
            change.key.strip_suffix("/active").filter(|_| own).map(str::to_owned)
        };
        let file =
            |change: &Change| (change.section == Section::Etc && change.after.is_some()).then(|| change.key.clone());
        Self {
            units: lost().filter_map(unit).take(MOST).collect(),
            files: lost().filter_map(file).take(MOST).collect(),
        }
    }

    fn script(&self) -> Option<String> {
        let words = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(" ");
        let mut script = include_str!("why.sh").to_owned();
        for (call, names) in [("units", &self.units), ("files", &self.files)] {
            if !names.is_empty() {
                script += &format!("{call} {}\n", words(names));
            }
        }
        let nothing = self.units.is_empty() && self.files.is_empty();
        (!nothing).then_some(script)
    }
}

/// What the guest's answers say, by the ids of the differences.
pub(super) fn reasons(answers: &BTreeMap<String, Answer>) -> BTreeMap<String, Reason> {
    let text = |name: &str| text(answers, name);
    let mut found = BTreeMap::new();
    let messages = messages(text("journal"));
    for block in blocks(text("units")) {
        let unit = block.get("Id").copied().unwrap_or_default();
        let said: Vec<_> = messages.iter().filter(|(of, _)| of == unit).map(|(_, what)| what.as_str()).collect();
        let reason = unit_reason(unit, &block, &said, text("cycles"), text("targets"));
        found.extend(reason.map(|reason| (format!("{}/{unit}/active", Section::Units), reason)));
    }
    for line in text("files").lines() {
        let Some((at, path)) = line.split_once(' ') else { continue };
        let Ok(at) = at.parse() else { continue };
        let why = writer(at, path, text("cloud-init"), &runs(text("runs")), booted(text("boot")));
        found.insert(format!("{}/{path}", Section::Etc), Reason { why, excuses: false });
    }
    found
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "UNIT", default)]
    unit: String,
    #[serde(rename = "MESSAGE", default)]
    message: serde_json::Value,
}

/// What systemd said of each unit, in order. A message that is no text is none of systemd's.
fn messages(journal: &str) -> Vec<(String, String)> {
    let lines = journal.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    lines.filter_map(|line| Some((line.unit, line.message.as_str()?.to_owned()))).collect()
}

/// Why a unit does not run.
fn unit_reason(unit: &str, block: &BTreeMap<&str, &str>, said: &[&str], cycles: &str, targets: &str) -> Option<Reason> {
    let word = |key: &str| block.get(key).copied().unwrap_or_default();
    let because = |why: String| Some(Reason { why, excuses: false });
    if unit.ends_with(".timer") {
        return timer_reason(&format!("{} {}", word("TimersMonotonic"), word("TimersCalendar")));
    }
    match word("LoadState") {
        "masked" => return because("it is masked".into()),
        "not-found" => return because("there is no file of it any more".into()),
        _ => {}
    }
    if let Some(line) = cycles.lines().find(|line| line.contains(&format!("{unit}/start deleted"))) {
        let in_cycle = cycle_of(cycles, unit);
        let start = line.find("Job ").map_or(line, |at| &line[at..]);
        return because(format!("systemd left it out to break an ordering cycle{in_cycle} (\"{start}\")"));
    }
    if let Some(condition) = said.iter().rev().find_map(|line| unmet(line)) {
        let excuses = ONCE.iter().any(|once| condition.starts_with(once)) || ONCE_UNITS.contains(&unit);
        return Some(Reason { why: format!("its own condition left it out: {condition}"), excuses });
    }
    if word("ConditionResult") == "no" && !matches!(word("ConditionTimestampMonotonic"), "" | "0") {
        return Some(Reason { why: "its own conditions left it out".into(), excuses: ONCE_UNITS.contains(&unit) });
    }
    if said.iter().any(|line| line.starts_with("Dependency failed for")) || word("Result") == "dependency" {
        return because("a unit that it needs could not be started".into());
    }
    if said.iter().any(|line| line.starts_with("Started") || line.contains("Deactivated successfully")) {
        return because(format!(
            "it was started at boot and has ended: \"{}\"",
            said.iter().rfind(|line| !line.contains(": Consumed ")).unwrap_or(&"")
        ));
    }
    let wanted: Vec<_> = [word("WantedBy"), word("RequiredBy")].into_iter().flat_map(str::split_whitespace).collect();
    let active = |target: &&str| targets.lines().any(|row| row.split_whitespace().next() == Some(target));
    match !wanted.is_empty() && wanted.iter().all(|name| name.ends_with(".target")) && !wanted.iter().any(active) {
        true => because(format!("only {} wants it, and nothing starts that at boot", wanted.join(" and "))),
        false => None,
    }
}

/// The condition that left a unit out, in systemd's words: "… skipped, unmet condition check X=y" since 256, "… was skipped
/// because of an unmet condition check (X=y)." before.
fn unmet(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("skipped")?;
    match rest.split_once("condition check ") {
        Some((_, condition)) => Some(condition.trim_start_matches('(').trim_end_matches(['.', ')'])),
        None => rest.contains("condition check").then(|| rest.trim_start_matches(", ").trim_end_matches('.')),
    }
}

/// The units of the ordering cycle that a unit was left out for.
fn cycle_of(cycles: &str, unit: &str) -> String {
    let named = cycles.lines().filter(|line| line.contains("Found"));
    let names: Vec<_> = named
        .flat_map(|line| line.split([' ', ',']))
        .filter_map(|word| word.strip_suffix("/start"))
        .filter(|name| *name != unit)
        .collect();
    let mut unique: Vec<&str> = Vec::new();
    names.into_iter().for_each(|name| {
        if !unique.contains(&name) {
            unique.push(name);
        }
    });
    if unique.is_empty() { String::new() } else { format!(" with {}", unique.join(", ")) }
}

/// A timer without a next time: one that elapses once has done so; one that counts from a run of its service has none to
/// count from.
fn timer_reason(timers: &str) -> Option<Reason> {
    let repeats = ["OnUnitActiveUSec", "OnUnitInactiveUSec", "OnCalendar"].iter().find(|word| timers.contains(**word));
    Some(match repeats {
        None => Reason { why: "it elapses once, and has".into(), excuses: true },
        Some(word) => Reason {
            why: format!(
                "{} counts from a run of its service, and there was none since the boot",
                word.replace("USec", "Sec")
            ),
            excuses: false,
        },
    })
}

/// When the machine was booted, in seconds since 1970.
fn booted(stat: &str) -> f64 {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|at| at.trim().parse().ok()).unwrap_or(f64::INFINITY)
}

/// The time that a unit took to start, in seconds since 1970: what runs once does its work in it.
struct Start {
    unit: String,
    from: f64,
    to: f64,
}

/// systemd's own words for "Starting …".
const STARTING: &str = "7d4958e842da4a758f6c1cdc7b36dcc5";

#[derive(Deserialize)]
struct Step {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    time: String,
    #[serde(rename = "UNIT")]
    unit: String,
    #[serde(rename = "MESSAGE_ID")]
    id: String,
}

/// Each start of a unit, from the journal.
fn runs(journal: &str) -> Vec<Start> {
    let mut runs: Vec<Start> = Vec::new();
    for step in journal.lines().filter_map(|line| serde_json::from_str::<Step>(line).ok()) {
        let Ok(time) = step.time.parse::<f64>() else { continue };
        let at = time / 1e6;
        match step.id == STARTING {
            true => runs.push(Start { unit: step.unit, from: at, to: f64::INFINITY }),
            false => {
                let open = runs.iter_mut().rev().find(|run| run.unit == step.unit && run.to.is_infinite());
                open.into_iter().for_each(|run| run.to = at);
            }
        }
    }
    // What did not come to its end in the journal may have ended long ago.
    runs.retain(|run| run.to.is_finite());
    runs
}

/// Who wrote a file: cloud-init, by its own log, or what was being started at that moment.
fn writer(at: f64, path: &str, cloud_init: &str, runs: &[Start], booted: f64) -> String {
    if at < booted {
        return "it was written before this boot, after the look before the reboot".into();
    }
    if cloud_init.lines().any(|line| wrote(line, path).is_some_and(|then| (then - at).abs() <= SAME)) {
        return "cloud-init wrote it at this boot, as its log says".into();
    }
    let running = runs.iter().filter(|run| run.from <= at && at <= run.to).map(|run| run.unit.as_str());
    let running: Vec<_> = running.collect();
    match running[..] {
        [one] => format!("it was written at this boot while {one} ran"),
        [_, _, ..] if running.len() <= NAMED => {
            format!("it was written at this boot while these ran: {}", running.join(", "))
        }
        _ => "it was written at this boot".into(),
    }
}

/// Of more units than that none is named: a longer list explains nothing.
const NAMED: usize = 8;

/// How far a line of a log may be from the file's own time, in seconds.
const SAME: f64 = 2.0;

/// When cloud-init wrote that file, in seconds since 1970, by a line of its log:
/// `2026-11-29 09:49:02,323 - util.py[DEBUG]: Writing to /etc/hosts - wb: [644] 93 bytes`.
fn wrote(line: &str, path: &str) -> Option<f64> {
    let (time, rest) = line.split_once(',')?;
    rest.contains(&format!("Writing to {path} ")).then_some(())?;
    let time = humantime::parse_rfc3339_weak(time).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(block: &str, said: &[&str], cycles: &str) -> Option<Reason> {
        let block = blocks(block).next().unwrap();
        let unit = block["Id"].to_owned();
        unit_reason(&unit, &block, said, cycles, "multi-user.target loaded active active Multi-User\n")
    }

    #[test]
    fn a_condition_excuses_only_what_is_for_a_first_boot_or_after_an_update() {
        let said =
            |condition: &str| format!("x.service - X was skipped because of an unmet condition check ({condition}).");
        let of = |condition: &str| reason("Id=x.service\nConditionResult=no\n", &[&said(condition)], "").unwrap();
        for line in [
            said("ConditionPathExists=/a"),
            "x.service - X skipped, unmet condition check ConditionPathExists=/a".into(),
        ] {
            assert_eq!(unmet(&line), Some("ConditionPathExists=/a"));
        }
        assert_eq!(
            unmet("x.service - X skipped, no trigger condition checks were met."),
            Some("no trigger condition checks were met")
        );
        assert!(of("ConditionFirstBoot=yes").excuses && of("ConditionNeedsUpdate=/etc").excuses);
        let lost = of("ConditionPathExists=/run/ready");
        assert!(!lost.excuses && lost.why.contains("ConditionPathExists=/run/ready"), "{}", lost.why);
    }

    #[test]
    fn a_unit_that_was_not_started_says_why() {
        let cycle = "multi-user.target: Found ordering cycle on a.service/start\n\
                     multi-user.target: Found dependency on b.service/start\n\
                     multi-user.target: Job a.service/start deleted to break ordering cycle starting with b.service/start\n";
        for (block, said, cycles, why) in [
            ("Id=a.service\nLoadState=masked\n", &[][..], "", "it is masked"),
            ("Id=a.service\nLoadState=loaded\n", &[], cycle, "to break an ordering cycle with b.service"),
            ("Id=a.service\n", &["Dependency failed for a.service - A."], "", "a unit that it needs"),
            ("Id=a.service\nWantedBy=late.target\n", &[], "", "only late.target wants it"),
            ("Id=a.service\n", &["Started a.service - A.", "a.service: Deactivated successfully."], "", "has ended"),
        ] {
            let found = reason(block, said, cycles).unwrap();
            assert!(found.why.contains(why) && !found.excuses, "{}", found.why);
        }
        assert_eq!(reason("Id=a.service\nWantedBy=multi-user.target\n", &[], ""), None);
    }

    #[test]
    fn a_timer_that_elapses_once_is_excused_and_one_that_repeats_is_not() {
        assert!(timer_reason("{ OnBootUSec=1min ; next_elapse=0 }").unwrap().excuses);
        let lost = timer_reason("{ OnUnitActiveUSec=15min ; next_elapse=0 }").unwrap();
        assert!(!lost.excuses && lost.why.starts_with("OnUnitActiveSec counts from a run"), "{}", lost.why);
    }

    #[test]
    fn a_file_is_written_by_what_was_being_started_at_that_moment() {
        let step = |unit: &str, at: u32, id: &str| {
            format!("{{\"__REALTIME_TIMESTAMP\":\"{at}000000\",\"UNIT\":\"{unit}\",\"MESSAGE_ID\":\"{id}\"}}\n")
        };
        let journal = [
            ("a.service", 100, STARTING),
            ("a.service", 105, "39"),
            ("b.service", 106, STARTING),
            ("c.service", 107, STARTING),
            ("b.service", 110, "39"),
            ("simple.service", 103, "39"),
            ("c.service", 200, "39"),
        ];
        let runs = runs(&journal.map(|(unit, at, id)| step(unit, at, id)).concat());
        let at = |at| writer(at, "/etc/x", "", &runs, 90.0);
        assert!(at(103.5).contains("while a.service ran"));
        assert!(at(108.0).contains("while these ran: b.service, c.service"));
        assert!(at(50.0).contains("before this boot"));
        assert_eq!(at(300.0), "it was written at this boot");
        let log = "2026-11-29 09:49:02,323 - util.py[DEBUG]: Writing to /etc/hosts - wb: [644] 93 bytes\n";
        let moment = 1_795_945_742.3;
        assert!(writer(moment, "/etc/hosts", log, &runs, 90.0).starts_with("cloud-init wrote it"));
        assert_eq!(writer(moment, "/etc/hostname", log, &runs, 90.0), "it was written at this boot");
        assert_eq!(writer(moment + 60.0, "/etc/hosts", log, &runs, 90.0), "it was written at this boot");
    }

    #[test]
    fn the_script_is_one_the_shell_can_read_whatever_a_unit_is_called() {
        let asked = Asked { units: vec!["it's-$HOME.service".into()], files: vec!["/etc/a b".into()] };
        host::cmd::Cmd::new("sh").args(["-n", "-c", &asked.script().unwrap()]).run().unwrap();
        assert_eq!(Asked::default().script(), None);
    }
}
