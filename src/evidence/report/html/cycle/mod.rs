//! The page of one run.

mod boots;
mod console;
mod passes;
mod phases;
mod playbooks;
mod proof;

use super::head::Short;
use super::parts::{CheckRow, Fact, FileLink, Mood, StateFinding, Verdict, Weight};
use super::text::{Told, count};
use super::{checks, findings, head, part};
use maud::{Markup, html};

/// Everything that the page of a run shows. What is missing was not reached, and the page says so.
#[derive(Clone, Debug, Default)]
pub struct CyclePage {
    /// The mirrored host.
    pub host: String,
    /// What was asked for (`cycle askari`).
    pub command: String,
    /// When the run began (UTC).
    pub started: String,
    /// The version of boma-qemu that wrote it.
    pub version: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What the VM was made of, and by which versions.
    pub facts: Vec<Fact>,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// The boots that systemd gave figures of, in order.
    pub boots: Vec<Boot>,
    /// The restart, if it is proved.
    pub proof: Option<Proof>,
    /// When the checks ran: the columns of the matrix.
    pub check_times: Vec<String>,
    /// The first column after the restart, if there is one after it and one before it.
    pub first_after: Option<usize>,
    /// The checks.
    pub checks: Vec<CheckRow>,
    /// The differences of state across the restart; none where it was not observed both times.
    pub state: Option<Vec<StateFinding>>,
    /// What is not known of the state.
    pub state_notes: Vec<String>,
    /// What the console rules matched, the first of it if there is very much.
    pub console: Vec<Highlight>,
    /// Places that are left out of `console`.
    pub console_more: usize,
    /// The playbooks.
    pub playbooks: Vec<Playbook>,
    /// What they did or would do once more; none where they were neither run again nor tried.
    pub passes: Option<Passes>,
    /// What was left on this host: what, and why.
    pub leaks: Vec<(String, String)>,
    /// The evidence.
    pub files: Vec<FileLink>,
}

/// One phase of a run.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Whether it did what it is for.
    pub ok: bool,
    /// What came of it.
    pub outcome: String,
}

/// One boot, by systemd's own figures.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// Which one (`After its reboot`).
    pub when: String,
    /// Its boot id.
    pub boot_id: String,
    /// What it runs (`Linux 6.12.48, systemd 257`).
    pub system: String,
    /// Its stages in order (`kernel`, `initrd`, `userspace`), in seconds.
    pub stages: Vec<(String, f64)>,
    /// The slowest units, in the order in which they began; seconds since the kernel's start.
    pub units: Vec<Unit>,
    /// The chain of units that the boot waited for, the last to become active first.
    pub chain: Vec<Unit>,
    /// Why there are no figures, if so.
    pub missing: Option<String>,
}

/// When a unit was started, and how long that took.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// When it began, in seconds since the kernel's start.
    pub at_s: f64,
    /// How long it took to be active, in seconds.
    pub took_s: f64,
    /// Whether it failed.
    pub failed: bool,
}

/// What proves the restart.
#[derive(Clone, Debug)]
pub struct Proof {
    /// How it was brought about (`guest: systemctl reboot`).
    pub mode: String,
    /// The boot ids before and after.
    pub boot_ids: (String, String),
    /// Who said what, in order.
    pub witnesses: Vec<Witness>,
    /// Milestones in seconds from asking (`down`, `ssh`, `settled`).
    pub milestones: Vec<(String, f64)>,
    /// How the new boot settled (`running`).
    pub settled: String,
    /// Units that failed in the new boot.
    pub failed_units: Vec<String>,
    /// The services that waited for systemd's next attempt to start them.
    pub restarting: Vec<String>,
    /// The services that had still not started.
    pub activating: Vec<String>,
}

/// One witness of the restart.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Seconds from asking, where known.
    pub at_s: Option<f64>,
    /// Who (`QEMU, event 5`).
    pub who: String,
    /// Its words.
    pub said: String,
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

/// One playbook run.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// The playbook.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Ansible's recap, in its order (`ok` 12, `changed` 5, …).
    pub recap: Vec<(String, u32)>,
    /// Whether it was applied.
    pub ok: bool,
    /// The tasks that failed.
    pub failed: Vec<FailedTask>,
    /// What is no failure and has to be known.
    pub reports: Vec<Report>,
}

/// What the playbooks did or would do once more.
#[derive(Clone, Debug, Default)]
pub struct Passes {
    /// What was done and came of it, in short, a sentence for each.
    pub short: Vec<String>,
    /// Whether any task was looked at.
    pub looked: bool,
    /// Tasks of which each is wrong, by what is wrong with them.
    pub wrong: Vec<(String, Vec<PassTask>)>,
    /// Tasks that are only told, by what there is to tell.
    pub told: Vec<(String, Vec<PassTask>)>,
}

/// A task of a pass.
#[derive(Clone, Debug)]
pub struct PassTask {
    /// Its role, its name, and the item of its loop.
    pub name: String,
    /// File and line.
    pub place: String,
    /// The difference, or the reason.
    pub said: String,
}

/// What is no failure of a playbook and has to be known.
#[derive(Clone, Debug)]
pub struct Report {
    /// What kind of thing it is.
    pub kind: String,
    /// The task or the play.
    pub task: String,
    /// File and line.
    pub place: String,
    /// What happened.
    pub message: String,
}

/// A task that failed.
#[derive(Clone, Debug)]
pub struct FailedTask {
    /// The task.
    pub task: String,
    /// File and line.
    pub place: String,
    /// Its words.
    pub message: String,
    /// Whether the playbook went on all the same (it was ignored or rescued).
    pub went_on: bool,
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
fn parts(page: &CyclePage) -> [Part; 8] {
    let part = |id, name, remark, matter| Part { id, name, remark, matter };
    let there =
        |there: bool, matter: &dyn Fn() -> Markup, else_: &'static str| if there { Ok(matter()) } else { Err(else_) };
    let checks = || checks::matrix(&page.check_times, &page.checks, page.first_after);
    [
        part(
            "checks",
            "Checks",
            "Only what held before the restart and fails after it was broken by it.",
            there(!page.checks.is_empty(), &checks, "The run did not get to its checks."),
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
            page.passes
                .as_ref()
                .map(passes::shown)
                .ok_or("The playbooks were neither run a second time nor tried in check mode."),
        ),
        part(
            "proof",
            "The restart",
            "It counts only with all of its witnesses.",
            page.proof.as_ref().map(proof::shown).ok_or("No restart is proved in this run."),
        ),
        part("phases", "Phases", "", Ok(phases::table(&page.phases))),
        part(
            "boots",
            "Boots",
            "By systemd's own figures, on one scale; seconds since the kernel's start.",
            there(
                !page.boots.is_empty(),
                &|| boots::shown(&page.boots),
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
            there(!page.playbooks.is_empty(), &|| playbooks::shown(&page.playbooks), "No playbook was run."),
        ),
    ]
}

/// The page without its frame.
pub(super) fn body(page: &CyclePage) -> Markup {
    let parts = parts(page);
    let missing: Vec<_> = parts.iter().filter_map(|part| Some((part.id, part.matter.as_ref().err()?))).collect();
    html! {
        (head::head(&page.command, &page.started, &page.verdict, &strip(page)))
        @for Part { id, name, remark, matter } in &parts {
            @if let Ok(matter) = matter { (part(id, name, remark, matter)) }
        }
        @if !page.leaks.is_empty() {
            (part("leaks", "Left behind", "What the teardown could not remove from this host.", &head::leaks(&page.leaks)))
        }
        @if !missing.is_empty() {
            (part("missing", "Not reached", "", &html! { @for (id, sentence) in missing { p id=(id) { (sentence) } } }))
        }
        (part("made-of", "Made of", "", &head::facts(&page.facts)))
        (part("evidence", "Evidence", "The files beside this page.", &head::files(&page.files)))
        (head::foot(&page.version))
    }
}

fn strip(page: &CyclePage) -> Vec<Short> {
    let short = |id, name, (says, mood): (String, Option<bool>)| Short { id, name, says, mood };
    let matched = page.console.iter().flat_map(|h| &h.rules).map(|rule| rule.weight).max();
    let console = match matched {
        None => ("nothing found".into(), Some(true)),
        Some(worst) => {
            (count(page.console.len() + page.console_more, "place"), (worst >= Weight::Error).then_some(false))
        }
    };
    let restart = match (&page.proof, page.verdict.mood) {
        (Some(_), _) => ("proved".into(), Some(true)),
        (None, Mood::Good) => ("left out".into(), None),
        (None, _) => ("not proved".into(), Some(false)),
    };
    let red = page.phases.iter().filter(|phase| !phase.ok).count();
    let total = super::text::seconds(page.phases.iter().map(|phase| phase.seconds).sum());
    let phases = match red {
        0 => (total, None),
        _ => (format!("{total}, {red} failed"), Some(false)),
    };
    let again = page.passes.as_ref().map(|passes| short("again", "Once more", passes::short(passes)));
    let mut strip = vec![
        short("checks", "Checks", checks::short(&page.checks, page.first_after)),
        short("state", "State", findings::short(page.state.as_deref())),
        short("proof", "Restart", restart),
        short("phases", "Phases", phases),
        short("console", "Console", console),
    ];
    strip.extend(again);
    if !page.leaks.is_empty() {
        strip.push(short("leaks", "Left behind", (count(page.leaks.len(), "leak"), Some(false))));
    }
    strip.push(short("evidence", "Evidence", (count(page.files.len(), "file"), None)));
    strip
}

fn state_part(page: &CyclePage) -> Option<Markup> {
    let findings = page.state.as_deref()?;
    Some(html! {
        (findings::list(findings))
        @for note in &page.state_notes { p."small soft" { (Told(note)) } }
    })
}

fn console_part(page: &CyclePage) -> Markup {
    match page.console.is_empty() {
        true => html! { p { "No rule matched." } },
        false => html! {
            @for highlight in &page.console { (console::shown(highlight)) }
            @if page.console_more > 0 { p.soft { "And " (count(page.console_more, "place")) " more, in events.ndjson." } }
        },
    }
}
