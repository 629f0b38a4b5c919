//! The console rules over a VM's log, or over any file.

use super::say::Say;
use crate::profile::Profile;
use camino::Utf8Path;
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::presence::{IN_MEMORY, ignore};
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use vm::console::allow::Allowed;
use vm::console::check::{Check, Report, Tally, Verdict, degree, rules};
use vm::machine::VmDir;
use vm::monitor::events::{console_cuts, read_all};

/// `console H --check`: what the VM has said so far, cut where the machine was restarted.
pub(super) fn console(dirs: &Dirs, host: &HostName, say: &Say) -> Result<u8, Failure> {
    let vm = VmDir::of(dirs, host);
    let none = |source: std::io::Error| {
        Failure::new(Exit::Usage, format!("there is no console of {host}: {source}")).next(format!(
            "start a VM with `boma-qemu up {host}`; for the consoles of past runs: `boma-qemu check-console FILE`"
        ))
    };
    let mut file = File::open(vm.console()).map_err(none)?;
    let allowed = Allowed::read(&vm.console_allowed()).map_err(none)?;
    let mut check = Check::new(allowed);
    let mut at = 0;
    // The log first: a cut that is journalled later than what is read here is of no use.
    for cut in console_cuts(&read_all(&vm.events())?) {
        at += feed(&mut check, (&mut file).take(cut.offset.saturating_sub(at))).map_err(none)?;
        check.cut();
    }
    feed(&mut check, &mut file).map_err(none)?;
    Ok(tell(&check.end(), vm.console().as_str(), say))
}

/// `check-console FILE`: any log; `-` is standard input. `profile` is whose allow-list counts.
pub(super) fn file(path: &Utf8Path, profile: Option<&Profile>, say: &Say) -> Result<u8, Failure> {
    let mut check = Check::new(profile.map(|profile| profile.console.allow.clone()).unwrap_or_default());
    let unread = |error: std::io::Error| {
        Failure::new(Exit::Usage, format!("cannot read {path}: {error}"))
            .next("name the log of a serial console, or - for standard input")
    };
    match path.as_str() {
        "-" => feed(&mut check, std::io::stdin().lock()),
        _ => File::open(path).and_then(|file| feed(&mut check, file)),
    }
    .map_err(unread)?;
    Ok(tell(&check.end(), path.as_str(), say))
}

/// `check-console --rules`.
pub(super) fn list(say: &Say) -> u8 {
    for rule in rules() {
        let word = degree(rule.severity, rule.fatal);
        say.result(format!("{word:<9} {:<18} {}", rule.id, rule.means));
        say.object(&serde_json::json!({
            "event": "console-rule", "id": rule.id, "severity": rule.severity, "fatal": rule.fatal, "means": rule.means,
            "pattern": rule.pattern,
        }));
    }
    0
}

/// Everything that a reader has; how many bytes that were.
fn feed(check: &mut Check, mut from: impl Read) -> std::io::Result<u64> {
    let (mut buffer, mut all) = (vec![0; 64 * 1024], 0);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(all),
            Ok(n) => {
                check.feed(&buffer[..n]);
                all += n as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The findings, and the exit code that they come to.
fn tell(report: &Report, what: &str, say: &Say) -> u8 {
    let (word, exit) = match report.verdict() {
        Verdict::Well => ("well", Exit::Passed),
        Verdict::Broken => ("broken", Exit::Verify),
        Verdict::Fatal => ("fatal", Exit::Guest),
    };
    for tally in &report.found {
        say.text(text(tally));
        say.object(&serde_json::json!({"event": "console-finding", "finding": tally}));
    }
    let Report { bytes, lines, found } = report;
    let of = match found.len() {
        0 => "no rule matched".to_owned(),
        1 => "1 rule matched".to_owned(),
        n => format!("{n} rules matched"),
    };
    say.result(format!("{word}: {of} in {lines} lines ({bytes} bytes) of {what}"));
    say.object(&serde_json::json!({
        "event": "console-checked", "file": what, "bytes": bytes, "lines": lines, "rules": found.len(), "verdict": word,
        "code": exit.code(),
    }));
    exit.code()
}

fn text(tally: &Tally) -> String {
    let word = if tally.allowed.is_some() { "allowed" } else { degree(tally.severity, tally.fatal) };
    let mut text = format!("{word:<9} {}: {}", tally.id, tally.means);
    if let Some(why) = &tally.allowed {
        ignore(write!(text, " (the profile: {why})"), IN_MEMORY);
    }
    for finding in &tally.first {
        ignore(write!(text, "\n          line {}, byte {}: {}", finding.row, finding.offset, finding.line), IN_MEMORY);
    }
    match tally.count - tally.first.len() as u64 {
        0 => {}
        more => {
            ignore(write!(text, "\n          and {more} more"), IN_MEMORY);
        }
    }
    text
}
