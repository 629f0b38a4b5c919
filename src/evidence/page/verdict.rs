//! The verdict in words: what the terminal and the page say first.

use crate::page::html::cycle::Highlight;
use crate::page::html::parts::{Mood, StateFinding, Verdict, Weight};
use crate::playbook::checks::Check;
use crate::record::Record;
use crate::verdict::{Kind, Unproved};
use host::failure::Exit;
use vm::reboot::Mode;

/// The verdict in one sentence.
pub fn headline(record: &Record) -> String {
    match &record.on_top {
        None => plain(record),
        Some(on_top) => format!("{}; applied on top of {on_top}", plain(record)),
    }
}

fn plain(record: &Record) -> String {
    let (host, verdict) = (&record.host, record.verdict());
    match verdict.kind() {
        Kind::Passed => format!("PASSED: {host} came back from {}{}", its_restart(record), reported(record)),
        Kind::WithoutReboot => format!("PASSED: {host}, without a reboot (which proves little)"),
        Kind::NotRebooted => {
            let why = verdict.why().map_or("it was never rebooted".into(), ToString::to_string);
            format!("NOT REBOOTED: the checks of {host} hold, but {why}: this proves little")
        }
        Kind::NotApplied => {
            format!("NOT APPLIED: the checks of {host} hold, but its playbooks were not applied to their end")
        }
        Kind::PartlyApplied => {
            let part = record.partial.as_ref().map(|part| format!(" ({part})")).unwrap_or_default();
            let back = if record.reboot.is_some() { "; what came back from the restart is no whole" } else { "" };
            format!(
                "PARTLY APPLIED: the checks of {host} hold, but only a part of its playbooks was applied last{part}{back}"
            )
        }
        Kind::Leaked => format!("LEAKED: {host} passed, but something was left on this host"),
        Kind::Unfinished => unfinished(record),
        Kind::Stopped => format!("STOPPED: {host}, nothing is proved"),
        Kind::Failed => failed(record),
        Kind::NoVerdict => match record.failure.as_ref().map(|failure| failure.exit) {
            Some(Exit::Lost) | None => format!("NO VERDICT: {host}: it could not be looked at, or was lost"),
            Some(other) => format!("NO VERDICT: {host} (exit {}): the harness, not the host", other.code()),
        },
    }
}

/// What a machine has lost is said even where it fails nothing.
fn reported(record: &Record) -> String {
    let findings = record.state.as_ref().map(|state| state.judged.findings.len());
    match (findings, record.findings) {
        (None, _) => "; its state was not compared".into(),
        (Some(0), _) => String::new(),
        (Some(1), _) => "; 1 finding is only reported".into(),
        (Some(n), _) => format!("; {n} findings are only reported"),
    }
}

fn unfinished(record: &Record) -> String {
    let host = &record.host;
    let part = record.partial.as_ref().map(|part| format!("; only a part of its playbooks was applied last ({part})"));
    let part = part.unwrap_or_default();
    match (record.finished, &record.reboot, &record.unproved) {
        (false, ..) => format!("UNFINISHED: {host}, a command has not come to its end: nothing is proved"),
        (_, Some(_), _) => {
            format!("NOT JUDGED: {host} came back from {}, and no check has looked since{part}", its_restart(record))
        }
        (_, None, Some(Unproved::PartlyApplied { .. })) => {
            format!("NOT JUDGED: {host}, no check has looked since{part}")
        }
        (_, None, Some(why)) => format!("NOT JUDGED: {host}, no check has looked since, and {why}{part}"),
        (_, None, None) => format!("NOT JUDGED: no check has looked at {host}"),
    }
}

fn failed(record: &Record) -> String {
    let host = &record.host;
    match record.failure.as_ref().map_or(Exit::Verify, |failure| failure.exit) {
        Exit::Apply => format!("FAILED: the playbooks could not be applied to {host}"),
        Exit::Guest => format!("FAILED: the mirror of {host} panicked or fell into emergency mode"),
        _ if only_repeats(record) => {
            let first = record.repeated().first().map(|told| format!(": {told}")).unwrap_or_default();
            format!("FAILED: the playbooks of {host} change something each time{first}")
        }
        _ if record.reboot.is_none() && !record.phases.iter().any(|phase| phase.name == "reboot") => {
            format!("FAILED: {host} is not right{}", because(record))
        }
        _ => format!("FAILED: {host} did not come back right from {}{}", its_restart(record), because(record)),
    }
}

/// The cause as the end of a sentence: what is wrong first, else the checks that are red, else what ended the run.
fn because(record: &Record) -> String {
    let failure = || record.failure.as_ref().map(|failure| failure.chain.join(": "));
    let cause = first_cause(record).or_else(|| red_checks(record)).or_else(failure);
    cause.map(|cause| format!(": {}", cause.lines().collect::<Vec<_>>().join(" "))).unwrap_or_default()
}

/// The first check that is red, and the hints that have turned so with it: they may say why.
fn red_checks(record: &Record) -> Option<String> {
    let last = record.last_checks()?;
    let told = |check: &Check| format!("{} ({})", check.id, check.detail);
    let first = last.failed().find(|check| check.looked).or_else(|| last.failed().next()).map(told)?;
    let held = |id: &str| record.checks.iter().any(|run| run.checks.iter().any(|check| check.id == id && check.ok));
    let turned = last.checks.iter().filter(|check| check.hint && check.looked && !check.ok && held(&check.id));
    let hints: Vec<_> = turned.map(told).collect();
    Some(if hints.is_empty() { first } else { format!("{first}; with it, {}", hints.join(", ")) })
}

/// What is wrong first, where it is a restart by itself, a unit, or a finding: a sentence.
pub(super) fn first_cause(record: &Record) -> Option<String> {
    if let Some(seen) = record.restarts.first() {
        return Some(format!("it was restarted again, {seen}"));
    }
    let unit = record.state.as_ref().and_then(|state| state.broken.first()).map(|unit| unit.what.clone());
    let checks_hold = record.last_checks().is_none_or(|checks| checks.failed().next().is_none());
    let lost = || record.losses().first().map(|finding| finding.what.clone());
    let undone = || record.undone().first().map(|told| format!("{told} would do its work again"));
    unit.or_else(|| lost().or_else(undone).filter(|_| checks_hold))
}

/// Whether nothing is wrong but that a second run of the playbooks changed something again.
fn only_repeats(record: &Record) -> bool {
    let checks_hold = record.last_checks().is_none_or(|checks| checks.failed().next().is_none());
    let way_is_right = record.way.as_ref().is_none_or(|way| way.wrong().is_none());
    let came_back = record.reboot.is_some() || record.via.is_none();
    let kept = came_back && record.losses().is_empty() && record.undone().is_empty();
    !record.repeated().is_empty() && kept && checks_hold && way_is_right && record.restarts.is_empty()
}

/// The restart by its right name: what is no reboot is not called one.
pub(super) fn its_restart(record: &Record) -> String {
    match record.via {
        None | Some(Mode::Guest | Mode::Acpi) => "its reboot".into(),
        Some(Mode::Kexec) => "a kexec (a new kernel, without a reset of the machine)".into(),
        Some(Mode::SoftReboot) => "a soft reboot (no reboot: the same kernel runs on)".into(),
        Some(mode) => format!("a {mode}"),
    }
}

pub(super) fn of(record: &Record, console: &[Highlight], state: Option<&[StateFinding]>) -> Verdict {
    let failed = record.failure.as_ref();
    let kept = record.phases.last().is_none_or(|phase| phase.name != "down");
    Verdict {
        mood: match record.verdict().kind() {
            Kind::Passed | Kind::WithoutReboot => Mood::Good,
            Kind::Failed => Mood::Bad,
            _ => Mood::Open,
        },
        headline: headline(record),
        failed_in: failed.and_then(|_| failed_in(record)),
        failure: failed.map(|failure| failure.chain.clone()).unwrap_or_default(),
        next: next(record),
        commands: if kept && failed.is_some() { commands(record) } else { Vec::new() },
        symptoms: if failed.is_some() { symptoms(record, console, state) } else { Vec::new() },
    }
}

/// The stage that ended the run: the last that did not do what it is for. Checks that fail before the reboot
/// are not ok either, and end nothing.
fn failed_in(record: &Record) -> Option<String> {
    let red = record.phases.iter().rfind(|phase| !phase.ok && phase.name != "down");
    red.map(|phase| format!("phase {}", phase.name))
}

/// The failure's own advice, then what its exit class asks for (docs/runbook.md).
fn next(record: &Record) -> Vec<String> {
    let own = record.failure.as_ref().and_then(|failure| failure.next.clone());
    let class = match record.verdict().kind() {
        Kind::Passed if record.reboot.as_ref().is_some_and(|restart| restart.reboot().is_none()) => {
            "Run the cycle with a reboot as well: a soft reboot starts no kernel and resets no device."
        }
        Kind::Passed => "Apply the change to the real host, and reboot it while you watch.",
        Kind::WithoutReboot => "Run the cycle with a reboot: without one, this proves little.",
        Kind::NotRebooted => {
            "Run `boma-qemu reboot` and `boma-qemu assert`: what runs now has not shown that it comes back."
        }
        Kind::NotApplied => "Run `boma-qemu apply` to its end, then `reboot` and `assert`.",
        Kind::PartlyApplied => {
            "Run `boma-qemu apply` whole, then `reboot` and `assert`: a part proves nothing of the whole."
        }
        Kind::Unfinished => "Run `boma-qemu assert`, or the whole `cycle`: nothing is proved yet.",
        Kind::Leaked => "Run `boma-qemu prune`, or remove by hand what is named.",
        Kind::Stopped => "Nothing: it was stopped. The VM may still be there.",
        Kind::Failed | Kind::NoVerdict => of_exit(record.failure.as_ref().map_or(Exit::Lost, |failure| failure.exit)),
    };
    own.map(|step| sentence(&step)).into_iter().chain([class.to_owned()]).collect()
}

/// What an exit class asks for.
fn of_exit(exit: Exit) -> &'static str {
    match exit {
        Exit::Bug => "This is a bug in boma-qemu. Keep this folder.",
        Exit::Usage => "Correct the input that is named here.",
        Exit::Host => "Run `boma-qemu doctor`, and do what its \"fix\" says.",
        Exit::Apply => "Repair the playbook; on a kept VM, `boma-qemu apply` tries again.",
        Exit::Verify => {
            "The change does not survive the restart: do not apply it. guest/ has what the guest said of itself."
        }
        Exit::Guest => "Read the console of the last boot; the real host would have needed its break-glass.",
        Exit::Unfaithful => "Trust no green result until this is repaired.",
        Exit::Lost | Exit::Passed | Exit::Leaked | Exit::Interrupted => {
            "There is no verdict on the change: console.log and events.ndjson say what was lost. Run it again; twice the same is a finding."
        }
    }
}

/// An error's advice as a sentence of its own: errors are fragments, which begin small.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with(['.', '!', '?', '`']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// What looks at the VM that was kept.
fn commands(record: &Record) -> Vec<String> {
    let host = &record.host;
    ["ssh", "console", "down"].map(|command| format!("boma-qemu {command} {host}")).to_vec()
}

/// What else was not as it should be, where each kind showed first: the failure's words name what failed, and
/// not always what it came from.
fn symptoms(record: &Record, console: &[Highlight], state: Option<&[StateFinding]>) -> Vec<String> {
    let mut symptoms = Vec::new();
    let serious = |highlight: &&Highlight| highlight.rules.iter().any(|rule| rule.weight >= Weight::Error);
    if let Some(highlight) = console.iter().find(serious) {
        let line = highlight.lines.iter().find(|line| line.matched).map_or("", |line| line.text.trim());
        symptoms.push(format!("The console of {}: {line}", highlight.part));
    }
    if let Some(settled) = record.reboot.as_ref().map(|proof| &proof.settled) {
        let all = [("failed", &settled.failed_units), ("were started again and again", &settled.restarting)];
        for (how, units) in all.iter().filter(|(_, units)| !units.is_empty()) {
            symptoms.push(format!("Units that {how} in the new boot: {}", units.join(", ")));
        }
    }
    let lost: Vec<_> =
        state.into_iter().flatten().filter(|f| f.allowed.is_none() && f.weight >= Weight::Error).collect();
    if let Some(first) = lost.first() {
        let more = if lost.len() > 1 { format!(" (and {} more)", lost.len() - 1) } else { String::new() };
        symptoms.push(format!("Lost across the reboot: {}{more}", first.what));
    }
    symptoms
}
