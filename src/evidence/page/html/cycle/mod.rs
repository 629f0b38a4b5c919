//! The page of one run.

pub(in crate::page) mod boots;
mod console;
mod passes;
mod phases;
mod playbooks;
mod proof;

use super::head::Short;
use super::parts::{FileLink, Mood, StateFinding, Verdict, Weight};
use super::text::{Told, count};
use super::{checks, findings, head, part};
use crate::record::{OnTop, Record};
use maud::{Markup, html};
use vm::timeline::Timeline;

/// The page of a run: its record, and what is read from the evidence beside it. What is missing was not reached, and the
/// page says so.
#[derive(Clone, Debug)]
pub struct CyclePage<'a> {
    /// The record.
    pub record: &'a Record,
    /// What was asked for (`cycle askari`).
    pub command: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The figures of each boot that settled; none where there are none.
    pub timelines: Vec<Option<Timeline>>,
    /// The differences of state across the restart; none where it was not observed both times.
    pub state: Option<Vec<StateFinding>>,
    /// What the console rules matched, the first of it if there is very much.
    pub console: Vec<Highlight>,
    /// Places that are left out of `console`.
    pub console_more: usize,
    /// The evidence.
    pub files: Vec<FileLink>,
}

/// A place in the console log that the rules matched.
#[derive(Clone, Debug)]
pub struct Highlight {
    /// Which part of the console it is in (`boot 2`).
    pub part: String,
    /// The rules that matched here.
    pub rules: Vec<RuleMatch>,
    /// The lines around, in order.
    pub lines: Vec<ConsoleLine>,
}

/// A rule that matched.
#[derive(Clone, Debug)]
pub struct RuleMatch {
    /// The rule.
    pub id: String,
    /// How bad it is.
    pub weight: Weight,
    /// What it means.
    pub means: String,
}

/// One line of the console.
#[derive(Clone, Debug)]
pub struct ConsoleLine {
    /// Its text.
    pub text: String,
    /// Whether a rule matched it.
    pub matched: bool,
}

/// A part of the page; what the run did not get to has a sentence instead of its matter.
struct Part {
    id: &'static str,
    name: &'static str,
    remark: &'static str,
    matter: Result<Markup, &'static str>,
}

/// The parts in the order of the questions: what broke, what else is different, was it a restart, where did the
/// time go, what did the machine say.
fn parts(page: &CyclePage<'_>) -> [Part; 8] {
    let record = page.record;
    let part = |id, name, remark, matter| Part { id, name, remark, matter };
    let there =
        |there: bool, matter: &dyn Fn() -> Markup, else_: &'static str| if there { Ok(matter()) } else { Err(else_) };
    [
        part(
            "checks",
            "Checks",
            "Only what held before the restart and fails after it was broken by it.",
            there(has_checks(record), &|| checks::matrix(&record.checks), "The run did not get to its checks."),
        ),
        part(
            "state",
            "State",
            "What was there before the restart and is not as it was after it, whether a check asks for it or not.",
            state_part(page).ok_or("The state was not observed on both sides of a restart."),
        ),
        part(
            "again",
            "Playbooks once more",
            "What has nothing to do when it is run again, and would have something to do after the restart, did not survive it.",
            passes::shown(record).ok_or("The playbooks were neither run a second time nor tried in check mode."),
        ),
        part(
            "proof",
            "The restart",
            "It counts only with all of its witnesses.",
            record.reboot.as_ref().map(proof::shown).ok_or("No restart is proved in this run."),
        ),
        part("phases", "Phases", "", Ok(phases::table(&record.phases))),
        part(
            "boots",
            "Boots",
            "By systemd's own figures, on one scale; seconds since the kernel's start.",
            there(
                !record.boots.is_empty(),
                &|| boots::shown(record, &page.timelines),
                "No boot came far enough to be asked for its figures.",
            ),
        ),
        part(
            "console",
            "Console",
            "What the rules found on the serial console, with the lines around.",
            Ok(console_part(page)),
        ),
        part(
            "playbooks",
            "Playbooks",
            "",
            there(!record.playbooks.is_empty(), &|| playbooks::shown(&record.playbooks), "No playbook was run."),
        ),
    ]
}

fn has_checks(record: &Record) -> bool {
    record.checks.iter().any(|run| !run.checks.is_empty())
}

fn facts(record: &Record, timeline: Option<&Timeline>) -> [(&'static str, String); 13] {
    let made_of = &record.made_of;
    let image = match &made_of.image_sha512 {
        Some(sum) => format!("{}, SHA-512 {}…", made_of.image, sum.get(..16).unwrap_or(sum)),
        None => made_of.image.clone(),
    };
    let guest = timeline.map(|t| format!("{}, Linux {}, systemd {}", t.os, t.kernel, t.systemd));
    let ansible = if made_of.ansible.is_empty() { "" } else { "ansible-core " };
    [
        ("VM", record.vm.to_string()),
        ("image", image),
        ("guest", guest.unwrap_or_default()),
        ("began", made_of.began.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("applied", record.on_top.as_ref().map(OnTop::line).unwrap_or_default()),
        ("accelerator", made_of.accel.clone()),
        ("QEMU", made_of.qemu.clone()),
        ("network", format!("{}, egress {}", made_of.net, made_of.egress)),
        ("certificates", made_of.certs.clone()),
        ("extra variables", made_of.extra_vars.join(", ")),
        ("changed since up", record.changed.iter().map(|one| one.key.as_str()).collect::<Vec<_>>().join(", ")),
        ("Ansible", format!("{ansible}{}", made_of.ansible)),
        ("boma-qemu", record.version.clone()),
    ]
}

/// The page without its frame.
pub(super) fn body(page: &CyclePage<'_>) -> Markup {
    let (record, parts) = (page.record, parts(page));
    let missing: Vec<_> = parts.iter().filter_map(|part| Some((part.id, part.matter.as_ref().err()?))).collect();
    html! {
        (head::head(&page.command, &record.started, &page.verdict, &strip(page)))
        @for Part { id, name, remark, matter } in &parts {
            @if let Ok(matter) = matter { (part(id, name, remark, matter)) }
        }
        @if !record.leaks.is_empty() {
            (part("leaks", "Left behind", "What the teardown could not remove from this host.", &head::leaks(&record.leaks)))
        }
        @if !missing.is_empty() {
            (part("missing", "Not reached", "", &html! { @for (id, sentence) in missing { p id=(id) { (sentence) } } }))
        }
        (part("made-of", "Made of", "", &head::facts(&facts(record, page.timelines.last().and_then(Option::as_ref)))))
        (part("evidence", "Evidence", "The files beside this page.", &head::files(&page.files)))
        (head::foot(&record.version))
    }
}

fn strip(page: &CyclePage<'_>) -> Vec<Short> {
    let record = page.record;
    let short = |id, name, (says, mood): (String, Option<bool>)| Short { id, name, says, mood };
    let matched = page.console.iter().flat_map(|h| &h.rules).map(|rule| rule.weight).max();
    let console = match matched {
        None => ("nothing found".into(), Some(true)),
        Some(worst) => {
            (count(page.console.len() + page.console_more, "place"), (worst >= Weight::Error).then_some(false))
        }
    };
    let restart = match (&record.reboot, page.verdict.mood) {
        (Some(_), _) => ("proved".into(), Some(true)),
        (None, Mood::Good) => ("left out".into(), None),
        (None, _) => ("not proved".into(), Some(false)),
    };
    let red = record.phases.iter().filter(|phase| !phase.ok).count();
    let total = super::text::seconds(record.phases.iter().map(|phase| phase.seconds).sum());
    let phases = match red {
        0 => (total, None),
        _ => (format!("{total}, {red} failed"), Some(false)),
    };
    let again = passes::short(record).map(|says| short("again", "Once more", says));
    let mut strip = vec![
        short("checks", "Checks", checks::short(&record.checks)),
        short("state", "State", findings::short(page.state.as_deref())),
        short("proof", "Restart", restart),
        short("phases", "Phases", phases),
        short("console", "Console", console),
    ];
    strip.extend(again);
    if !record.leaks.is_empty() {
        strip.push(short("leaks", "Left behind", (count(record.leaks.len(), "leak"), Some(false))));
    }
    strip.push(short("evidence", "Evidence", (count(page.files.len(), "file"), None)));
    strip
}

fn state_part(page: &CyclePage<'_>) -> Option<Markup> {
    let findings = page.state.as_deref()?;
    Some(html! {
        (findings::list(findings))
        @for note in page.record.state.iter().flat_map(findings::notes) { p."small soft" { (Told(&note)) } }
    })
}

fn console_part(page: &CyclePage<'_>) -> Markup {
    match page.console.is_empty() {
        true => html! { p { "No rule matched." } },
        false => html! {
            @for highlight in &page.console { (console::shown(highlight)) }
            @if page.console_more > 0 { p.soft { "And " (count(page.console_more, "place")) " more, in events.ndjson." } }
        },
    }
}
