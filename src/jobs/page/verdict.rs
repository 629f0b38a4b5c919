//! The verdict in words: what the terminal and the page say first.

use crate::failure::Exit;
use crate::jobs::record::Record;
use crate::reboot::Mode;
use crate::report::html::cycle::Highlight;
use crate::report::html::parts::{Mood, StateFinding, Verdict, Weight};

/// The verdict in one sentence.
pub fn headline(record: &Record) -> String {
    let host = &record.host;
    match record.exit {
        Exit::Passed if record.reboot.is_some() => format!("PASSED: {host} came back from {}", its_restart(record)),
        Exit::Passed => format!("PASSED: {host}, without a reboot (which proves little)"),
        Exit::Leaked => format!("LEAKED: {host} passed, but something was left on this host"),
        Exit::Verify => match record.phases.iter().any(|phase| phase.name == "reboot") {
            true => format!("FAILED: {host} did not come back right from {}", its_restart(record)),
            false => format!("FAILED: {host} is not right"),
        },
        Exit::Apply => format!("FAILED: the playbooks could not be applied to {host}"),
        Exit::Guest => format!("FAILED: the mirror of {host} panicked or fell into emergency mode"),
        Exit::Interrupted => format!("STOPPED: {host}, nothing is proved"),
        other => format!("NO VERDICT: {host} (exit {}): the harness, not the host", other.code()),
    }
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
        mood: match record.exit {
            Exit::Passed => Mood::Good,
            Exit::Apply | Exit::Verify | Exit::Guest => Mood::Bad,
            _ => Mood::Open,
        },
        headline: headline(record),
        failed_in: failed.and_then(|_| failed_in(record)),
        failure: failed.map(|failure| failure.chain.clone()).unwrap_or_default(),
        next: next(record),
        commands: if kept && failed.is_some() { commands(record) } else { Vec::new() },
        signs: if failed.is_some() { signs(record, console, state) } else { Vec::new() },
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
    let class = match record.exit {
        Exit::Passed if record.reboot.as_ref().is_some_and(|restart| restart.reboot().is_none()) => {
            "Run the cycle with a reboot as well: a soft reboot starts no kernel and resets no device."
        }
        Exit::Passed if record.reboot.is_some() => "Apply the change to the real host, and reboot it while you watch.",
        Exit::Passed => "Run the cycle with a reboot: without one, this proves little.",
        Exit::Bug => "This is a bug in boma-qemu. Keep this folder.",
        Exit::Usage => "Correct the input that is named here.",
        Exit::Host => "Run `boma-qemu doctor`, and do what its \"fix\" says.",
        Exit::Lost => {
            "There is no verdict on the change: console.log and events.ndjson say what was lost. Run it again; twice the same is a finding."
        }
        Exit::Apply => "Mend the playbook; on a kept VM, `boma-qemu apply` tries again.",
        Exit::Verify => {
            "The change does not survive the restart: do not apply it. guest/ has what the guest said of itself."
        }
        Exit::Leaked => "Run `boma-qemu prune`, or remove by hand what is named.",
        Exit::Guest => "Read the console of the last boot; the real host would have needed its break-glass.",
        Exit::Unfaithful => "Trust no green result until this is mended.",
        Exit::Interrupted => "Nothing: it was stopped. The VM may still be there.",
    };
    own.map(|step| sentence(&step)).into_iter().chain([class.to_owned()]).collect()
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
fn signs(record: &Record, console: &[Highlight], state: Option<&[StateFinding]>) -> Vec<String> {
    let mut signs = Vec::new();
    let serious = |highlight: &&Highlight| highlight.rules.iter().any(|rule| rule.weight >= Weight::Error);
    if let Some(highlight) = console.iter().find(serious) {
        let line = highlight.lines.iter().find(|line| line.matched).map_or("", |line| line.text.trim());
        signs.push(format!("The console of {}: {line}", highlight.part));
    }
    if let Some(units) = record.reboot.as_ref().map(|proof| &proof.settled.failed_units).filter(|u| !u.is_empty()) {
        signs.push(format!("Units that failed in the new boot: {}", units.join(", ")));
    }
    let lost: Vec<_> =
        state.into_iter().flatten().filter(|f| f.allowed.is_none() && f.weight >= Weight::Error).collect();
    if let Some(first) = lost.first() {
        let more = if lost.len() > 1 { format!(" (and {} more)", lost.len() - 1) } else { String::new() };
        signs.push(format!("Lost across the reboot: {}{more}", first.what));
    }
    signs
}
