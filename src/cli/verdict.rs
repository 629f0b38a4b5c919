//! The verdict: one screen that says what happened, on what evidence, and where the rest is.

mod ends;
mod passes;

use crate::doctor::wrap;
use evidence::observe::Finding;
use evidence::page::headline;
use evidence::playbook::checks::Check;
use evidence::playbook::reports::Report;
use evidence::record::{Checks, Phase, Playbook, Record};
use host::names::{BootId, HostName};
use host::presence::{IN_MEMORY, ignore};
use host::visible::line;
use std::fmt::Write;
use vm::reboot::{Proof, Restart};
use vm::snapshot::Restore;

/// The verdict as text, without colours: it is read in logs as often as on a terminal.
pub(crate) fn text(record: &Record) -> String {
    let mut out = String::new();
    ignore(write(record, &mut out), IN_MEMORY);
    out
}

/// What a restore was proved by.
pub(crate) fn restore(host: &HostName, restore: &Restore) -> String {
    let Restore { snapshot, clock_before_s: before, clock_after_s: after, .. } = restore;
    format!(
        "RESTORED: {host} is as it was at {}\n  \
         memory     the nonce {} is back in a new QEMU (pid {}, event {})\n  \
         boot id    {}, unchanged: no boot, no reset\n  \
         clock      was off by {before:.1} s, is off by {after:.2} s\n  \
         took       {:.1} s, ssh after {:.1} s",
        snapshot.at, restore.nonce, restore.qemu_pid, restore.seq, restore.boot_id, restore.total_s, restore.ssh_s
    )
}

fn write(record: &Record, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n{}", line(&headline(record)))?;
    write_first(record, out)?;
    let made = &record.made_of;
    writeln!(out, "  vm         {}, {}", record.vm, made.accel)?;
    writeln!(out, "  image      {}", made.image)?;
    if let Some(began) = &made.began {
        writeln!(out, "  began      {}", line(&began.to_string()))?;
    }
    if let Some(on_top) = &record.on_top {
        writeln!(out, "  applied    {}", line(&on_top.line()))?;
    }
    writeln!(out, "  network    {}, egress {}, certs {}", made.net, made.egress, made.certs)?;
    if !made.packages.is_empty() {
        writeln!(out, "  prepared   packages: {}", line(&made.packages.join(", ")))?;
    }
    for Playbook { playbook, tasks, changed, .. } in &record.prepared {
        writeln!(out, "  prepared   {}: {tasks} tasks, {changed} changed", line(playbook.as_str()))?;
    }
    for (n, changed) in record.changed.iter().enumerate() {
        writeln!(out, "  {:<10} {}", if n == 0 { "since up" } else { "" }, line(&changed.to_string()))?;
    }
    write_phases(&record.phases, out)?;
    if let Some(restart) = &record.reboot {
        write_restart(restart, out)?;
    }
    if let Some(way) = record.way.as_ref().filter(|way| !way.is_plain()) {
        writeln!(out, "  way in     {}", line(&way.line()))?;
        for change in way.changes() {
            writeln!(out, "             {}", line(&change.what))?;
        }
    }
    write_reports(&record.playbooks, out)?;
    write_checks(&record.checks, out)?;
    if let Some(shown) = &record.certificate {
        writeln!(out, "  cert       {}", line(&shown.to_string()))?;
    }
    write_state(record, out)?;
    passes::write(record, out)?;
    ends::write(record, out)?;
    for leak in &record.leaks {
        writeln!(out, "  LEAKED     {}: {}", line(&leak.what), line(&leak.why))?;
    }
    writeln!(out, "  evidence   {}", record.run)
}

/// What is wrong first, in its own words: a unit that broke explains most of what comes below.
fn write_first(record: &Record, out: &mut String) -> std::fmt::Result {
    let Some(unit) = record.state.as_ref().and_then(|state| state.broken.first()) else { return Ok(()) };
    writeln!(out, "  {:<10} {}", "first", line(&unit.what))?;
    unit.words.iter().try_for_each(|said| writeln!(out, "             {}: {}", line(&unit.unit), line(said)))
}

/// The newest phases only: a VM on which somebody works all day has hundreds.
fn write_phases(phases: &[Phase], out: &mut String) -> std::fmt::Result {
    let hidden = phases.len().saturating_sub(SHOWN_PHASES);
    let seconds = |phase: &Phase| match phase.ok {
        true => format!("{} {:.1} s", phase.name, phase.seconds),
        false => format!("{} {:.1} s (FAILED)", phase.name, phase.seconds),
    };
    let earlier = (hidden > 0).then(|| format!("{hidden} earlier"));
    let mut words: Vec<_> = earlier.into_iter().chain(phases[hidden..].iter().map(seconds)).collect();
    words.iter_mut().rev().skip(1).for_each(|word| word.push(','));
    writeln!(out, "  {:<10} {}", "phases", wrap(words.iter().map(String::as_str), 13, ""))
}

fn write_restart(restart: &Restart, out: &mut String) -> std::fmt::Result {
    let short = |id: &BootId| id.as_str()[..8].to_owned();
    write!(out, "  {:<10} ", if restart.reboot().is_some() { "reboot" } else { "restart" })?;
    match &restart.proof {
        Proof::Reboot(proof) => {
            writeln!(out, "{}, boot id {} -> {}", restart.mode, short(proof.before()), short(proof.after()))?;
        }
        Proof::SoftReboot(proof) => {
            let (id, count) = (short(proof.boot_id()), proof.count());
            writeln!(out, "{}, no reboot: boot id still {id}, soft reboots {} -> {count}", restart.mode, count - 1)?;
        }
    }
    let mut more = |said: String| writeln!(out, "             {}", line(&said));
    for step in &restart.prepared {
        more(format!("before: {step}"))?;
    }
    if let Some(triggered) = &restart.triggered {
        more(triggered.to_string())?;
    }
    for seen in restart.evidence.iter().filter(|seen| !seen.firmware) {
        more(format!("{seen} {:.1} s after asking", seen.mono - restart.asked_mono))?;
    }
    if restart.evidence.is_empty() {
        more("no RESET".into())?;
    }
    match restart.last_words.any() {
        Some(words) => more(format!("the old boot's last words: {words:?}"))?,
        None => more("the old boot had no time for last words, and left none".into())?,
    }
    let units = restart.settled.units();
    let what = if restart.reboot().is_some() { "new boot" } else { "new userspace" };
    more(format!(
        "{what}: ssh after {:.1} s, settled after {:.1} s ({}, {units})",
        restart.ssh_s, restart.settled_s, restart.settled.system
    ))
}

/// What is no failure of a playbook and has to be known.
fn write_reports(playbooks: &[Playbook], out: &mut String) -> std::fmt::Result {
    let reports: Vec<_> = playbooks.iter().flat_map(|playbook| &playbook.reports).collect();
    for (n, report) in reports.iter().take(SHOWN).enumerate() {
        let first = report.message.lines().next().unwrap_or_default();
        let said = Report { message: first.to_owned(), ..(*report).clone() }.to_string();
        writeln!(out, "  {:<10} {}", if n == 0 { "to know" } else { "" }, line(&said))?;
    }
    match reports.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "             and {more} more in result.json"),
    }
}

/// One line per check, one column per time that the checks ran.
fn write_checks(runs: &[Checks], out: &mut String) -> std::fmt::Result {
    let Some(last) = runs.last() else { return Ok(()) };
    let width = last.checks.iter().map(|c| c.id.len()).max().unwrap_or(0);
    for (n, check) in last.checks.iter().enumerate() {
        let label = if n == 0 { "checks" } else { "" };
        write!(out, "  {label:<10} {:width$}", line(&check.id))?;
        for run in runs {
            let found = run.checks.iter().find(|c| c.id == check.id);
            write!(out, "  {}: {}", line(short(&run.when)), found.map_or("-", word))?;
        }
        match check.ok {
            true => writeln!(out)?,
            false => writeln!(out, "  ({})", line(&check.detail))?,
        }
    }
    Ok(())
}

fn short(when: &str) -> &str {
    when.split(' ').next().unwrap_or(when)
}

fn word(check: &Check) -> &'static str {
    match (check.ok, check.hint) {
        _ if !check.looked => "did not look",
        (true, _) => "ok",
        (false, true) => "no (hint)",
        (false, false) => "FAILED",
    }
}

/// How many phases the verdict shows; all of them are in `result.json`.
const SHOWN_PHASES: usize = 16;
/// How many findings the verdict shows; the rest is in `result.json`.
const SHOWN: usize = 10;

/// The state across the last reboot as text, as the verdict has it.
pub(crate) fn state(record: &Record) -> String {
    let mut out = String::new();
    ignore(write_state(record, &mut out), IN_MEMORY);
    out.trim_end().to_owned()
}

/// How many of what came of a finding are named.
const NAMED: usize = 3;

/// What came of a finding, in a line.
fn consequences(finding: &Finding) -> Option<String> {
    let ids: Vec<_> = finding.consequences.iter().map(|one| one.id.as_str()).collect();
    let more = ids.len().saturating_sub(NAMED);
    let named = ids.get(..NAMED.min(ids.len()))?.join(", ");
    match (ids.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("with it: {named}")),
        (false, more) => Some(format!("with it: {named} and {more} more")),
    }
}

fn write_state(record: &Record, out: &mut String) -> std::fmt::Result {
    let Some(state) = &record.state else { return Ok(()) };
    let judged = &state.judged;
    let news = state.diff.changes.len() - judged.losses();
    let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    write!(out, "  state      ")?;
    match judged.findings.len() {
        0 => write!(out, "nothing is lost")?,
        n => write!(out, "{}", count(n, "finding", "findings"))?,
    }
    write!(out, ", {} (guest/state-*.json)", count(news, "other difference", "other differences"))?;
    writeln!(
        out,
        "{}",
        if judged.allowed.is_empty() { String::new() } else { format!(", {} allowed", judged.allowed.len()) }
    )?;
    for finding in judged.findings.iter().take(SHOWN) {
        writeln!(out, "             {}\n               {}", line(&finding.id), line(&finding.what))?;
        if let Some(more) = consequences(finding) {
            writeln!(out, "               {}", line(&more))?;
        }
        if let Some(task) = &finding.set_by {
            writeln!(out, "               {}", line(&task.to_string()))?;
        }
    }
    for (finding, why) in judged.allowed.iter().take(SHOWN) {
        writeln!(out, "             {}\n               allowed: {}", line(&finding.id), line(why))?;
    }
    if judged.findings.len() > SHOWN {
        writeln!(out, "             and {} more in result.json", judged.findings.len() - SHOWN)?;
    }
    for ill in state.standing.iter().take(SHOWN) {
        writeln!(out, "             {}", line(&ill.what))?;
    }
    for (_, what) in judged.took_effect.iter().take(SHOWN) {
        writeln!(out, "             took effect at the boot: {}", line(what))?;
    }
    if !state.foretold.is_empty() {
        let came = state.foretold.iter().filter(|one| one.came_true == Some(true)).count();
        writeln!(out, "             {came} of {} that the look before it foretold came true", state.foretold.len())?;
    }
    for (section, why) in &state.unseen {
        writeln!(out, "             {section} could not be seen: {}", line(why))?;
    }
    for (when, look) in [("before", &state.before), ("after", &state.after)] {
        if !look.moving.is_empty() {
            writeln!(
                out,
                "             never at rest {when} the reboot: {} still changed",
                line(&look.moving.join(", "))
            )?;
        }
    }
    for glob in &judged.unused {
        writeln!(out, "             state.allow: {glob:?} matched no difference")?;
    }
    Ok(())
}
