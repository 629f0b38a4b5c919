//! `observe`, and what begins with a state: `checks suggest`.

use super::say::Say;
use crate::checks::Question;
use crate::checks::suggest::{SECTIONS, Suggestion, suggest};
use crate::jobs::Context;
use crate::jobs::observe::{state_at_a_glance, state_now};
use crate::jobs::target::Target;
use crate::jobs::verify::ask;
use camino::Utf8Path;
use evidence::observe::{Diff, Section, State};
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::print;
use host::visible::line;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The option that names what was seen of a real host.
pub(super) const FROM_LIVE: &str = "--from-live";

/// How long what is suggested may take to come true, in seconds: it was seen to be so a moment ago.
const AGAIN: u64 = 5;

/// `observe`: the guest's state, or what differs from an earlier one.
pub(super) async fn observe(
    ctx: Context<'_>,
    host: &HostName,
    against: Option<&Utf8Path>,
    say: &Say,
) -> Result<u8, Failure> {
    let earlier = against.map(|path| state_in("--against", path)).transpose()?;
    let Target { vm, plan, .. } = Target::open(ctx.dirs, host)?;
    let now = state_now(&vm, earlier.as_ref()).await?.state;
    let Some(earlier) = earlier else {
        match say.is_json() {
            true => say.object(&json!({"event": "state", "state": now})),
            false => print::object_pretty(&now),
        }
        return Ok(0);
    };
    let diff = Diff::between(&earlier, &now);
    say.object(&json!({"event": "state-diff", "diff": diff, "judged": diff.judge(&plan.profile.state.allow)}));
    for change in &diff.changes {
        let mark = if change.loss.is_some() { "LOST" } else { "    " };
        let words = |side: &Option<String>| side.as_deref().unwrap_or("-").replace('\n', " | ");
        let text = format!("{mark} {}: {} -> {}", change.id(), words(&change.before), words(&change.after));
        say.result(line(&text));
    }
    Ok(0)
}

/// `observe --foretell`.
pub(super) async fn foretell(ctx: Context<'_>, host: &HostName, say: &Say) -> Result<u8, Failure> {
    let state = state_at_a_glance(&Target::open(ctx.dirs, host)?.vm).await?;
    let foretold = evidence::observe::foretell(&state);
    for one in &foretold {
        say.text(format!("{}\n    {}", line(&one.id), line(&one.what)));
    }
    if foretold.is_empty() {
        say.result("Nothing shows that a reboot would take away or bring back. Only a reboot proves it.");
    }
    for (section, why) in state.failed() {
        say.result(format!("{section} could not be seen: {}", line(why)));
    }
    let unseen: BTreeMap<_, _> = state.failed().collect();
    say.object(&json!({"event": "foretold", "foretold": foretold, "unseen": unseen}));
    Ok(0)
}

/// `observe --script`: what asks a host for its state, for a person to run on the real one.
pub(super) fn script(say: &Say) -> u8 {
    let script = evidence::observe::whole_script();
    match say.is_json() {
        true => say.object(&json!({"event": "script", "script": script})),
        false => print::out(script.trim_end()),
    }
    0
}

/// `checks suggest --from-live`: probes that held on the host when it was looked at.
pub(super) fn suggest_from(path: &Utf8Path, say: &Say) -> Result<u8, Failure> {
    let state = state_in(FROM_LIVE, path)?;
    show(&suggest(&state), &[], &unseen(&state), say);
    Ok(0)
}

/// `checks suggest`: probes that hold on the VM now. Each is asked once before it is suggested.
pub(super) async fn suggest_now(ctx: Context<'_>, host: &HostName, say: &Say) -> Result<u8, Failure> {
    let vm = Target::open(ctx.dirs, host)?.vm;
    let state = state_at_a_glance(&vm).await?;
    let mut all = suggest(&state);
    let now: Vec<_> = all.iter().map(|one| Question { within: AGAIN, ..one.question.clone() }).collect();
    let checks = ask::ask(&vm, &now.iter().collect::<Vec<_>>()).await?;
    let red: BTreeMap<_, _> =
        checks.into_iter().filter(|check| check.is_red()).map(|check| (check.id, check.detail)).collect();
    all.retain(|one| !red.contains_key(&one.question.name));
    show(&all, &red.into_iter().collect::<Vec<_>>(), &unseen(&state), say);
    Ok(0)
}

/// The sections that suggest nothing because they could not be seen, and why.
pub(super) fn unseen(state: &State) -> BTreeMap<Section, String> {
    state
        .failed()
        .filter(|(section, _)| SECTIONS.contains(section))
        .map(|(section, why)| (section, why.into()))
        .collect()
}

fn show(all: &[Suggestion], left_out: &[(String, String)], unseen: &BTreeMap<Section, String>, say: &Say) {
    let entries: Vec<Value> = all.iter().map(|one| one.entry("")).collect();
    let out: Vec<_> = left_out.iter().map(|(name, why)| json!({"name": name, "why": why})).collect();
    match say.is_json() {
        true => say.object(&json!({"event": "suggested", "verify": entries, "left_out": out, "unseen": unseen})),
        false => print::object_pretty(&entries),
    }
    for (name, why) in left_out {
        print::err(&line(&format!("left out, it does not hold: {name}: {why}")));
    }
    for (section, why) in unseen {
        print::err(&line(&format!("{section} could not be seen, and suggests nothing: {why}")));
    }
}

/// A state in a file: as `observe` printed it, with or without `--json`; as a run kept it; or the answers of
/// `observe --script`. `option` names the file in errors.
pub(super) fn state_in(option: &str, path: &Utf8Path) -> Result<State, Failure> {
    let wrong = |why: String| {
        Failure::new(Exit::Usage, format!("{option} {path}: {why}")).next(
            "give what `boma-qemu observe` printed, guest/state-before.json of a run, or what the script of \
             `boma-qemu observe --script` printed on a host, run by root",
        )
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    if text.contains(evidence::observe::ANSWER) {
        let state = evidence::observe::read(&text);
        return match Section::ALL.iter().any(|section| state.facts(*section).is_some()) {
            true => Ok(state),
            false => Err(wrong("not one of its answers is whole".into())),
        };
    }
    let mut value: Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let inner = value.get_mut("state").map(Value::take).unwrap_or(value);
    serde_json::from_value(inner).map_err(|e| wrong(e.to_string()))
}
