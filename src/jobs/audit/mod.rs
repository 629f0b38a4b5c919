//! The audit of a boot image: its conditions, one after the other, on this host, on the image and on a machine that is
//! booted from it. What was seen is kept, whatever happens; the machine is removed, unless it is to be kept.

mod aside;
mod machine;
mod markdown;
pub mod page;
#[cfg(test)]
pub(crate) mod sample;
mod world;

use super::{Context, guards, stop};
use crate::audit::outcome::{Audit, Judged, MOST_TEXT, Outcome};
use crate::audit::schedule::{self, Told};
use crate::audit::scope::Scope;
use crate::audit::{AuditProfile, Condition, Phase};
use camino::Utf8PathBuf;
use evidence::report::RunFolder;
use evidence::report::junit::{self, About, Case};
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::visible;
use std::time::{Duration, Instant};
use world::Real;

/// What is to be audited, and how.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The profile's name.
    pub name: HostName,
    /// The profile.
    pub profile: AuditProfile,
    /// The image, as a path or a glob; none if the profile names none.
    pub image: Option<Utf8PathBuf>,
    /// Which conditions.
    pub scope: Scope,
    /// Whether the machine stays.
    pub keep: bool,
    /// How long all of it may take.
    pub limit: Duration,
}

/// Run an audit. The error is for what went wrong before the first condition; all else is in the audit.
pub async fn audit(
    ctx: Context<'_>,
    wanted: &Wanted,
    command: &str,
    mut told: impl FnMut(&Judged),
) -> Result<Audit, Failure> {
    let boots = |one: &Condition| one.phase == Phase::Runtime && wanted.scope.leaves_out(one).is_none();
    if wanted.profile.conditions.iter().any(boots) {
        guards::no_other_vm(&ctx)?;
    }
    let folder = RunFolder::create(ctx.dirs, &wanted.name, command)?;
    let mut audit = Audit::begin(&wanted.name, folder.path().to_owned());
    let start = Instant::now();
    let mut world = Real::new(ctx, wanted, &folder)?;
    let done = stop::or_stopped(async {
        let scope = |condition: &Condition| wanted.scope.leaves_out(condition);
        let all =
            schedule::run(&wanted.profile.conditions, scope, &mut world, &mut audit.conditions, |step| match step {
                Told::Begins(condition) => ctx.progress.begin(condition.id.as_str()),
                Told::Ended(judged, _) => ended(&ctx, &folder, judged, &mut told),
            });
        tokio::time::timeout(wanted.limit, all).await.map_err(|_| too_slow(wanted))?;
        Ok(world.boot_paths().await)
    });
    match done.await {
        Ok(paths) => audit.boot_paths = paths,
        Err(failure) => {
            leave_out_the_rest(&mut audit, wanted, &failure);
            audit.fail(failure);
        }
    }
    audit.image = world.image();
    audit.machine = world.machine();
    if let Err(failure) = audit.judge() {
        audit.fail(failure);
    }
    match world.end(wanted.keep).await {
        Ok(ended) => {
            audit.kept = ended.kept;
            audit.leaked(&ended.leaks);
        }
        Err(failure) => audit.fail(failure),
    }
    audit.conclude();
    audit.seconds = start.elapsed().as_secs_f64();
    publish(&audit, &folder)?;
    Ok(audit)
}

fn too_slow(wanted: &Wanted) -> Failure {
    Failure::new(Exit::Lost, format!("the audit did not end within {} s", wanted.limit.as_secs()))
        .next("give it more time with --timeout, or look at less with --only")
}

/// Keep what a result was seen in, and tell it.
fn ended(ctx: &Context<'_>, folder: &RunFolder, judged: &mut Judged, told: &mut impl FnMut(&Judged)) {
    if judged.evidence.len() > MOST_TEXT {
        let file = format!("conditions/{}.txt", judged.id);
        match folder.write(&file, &judged.evidence) {
            Ok(()) => judged.file = Some(file),
            Err(error) => ctx.progress.note(&Failure::from(error).to_string()),
        }
        judged.evidence = end_of(&judged.evidence).to_owned();
    }
    if matches!(judged.outcome, Outcome::Passed | Outcome::Failed { .. }) {
        ctx.progress.end(judged.id.as_str(), judged.seconds, &judged.line(), !judged.failed());
    }
    told(judged);
}

/// The last lines of a text.
fn end_of(text: &str) -> &str {
    let mut from = text.len() - MOST_TEXT.min(text.len());
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let end = &text[from..];
    end.split_once('\n').map_or(end, |(_, whole)| whole)
}

/// What was not come to says so.
fn leave_out_the_rest(audit: &mut Audit, wanted: &Wanted, why: &Failure) {
    let reason = format!("not come to: {}", why.chain.join(": "));
    for condition in schedule::in_order(&wanted.profile.conditions) {
        if !audit.conditions.iter().any(|one| one.id == condition.id) {
            let reason = wanted.scope.leaves_out(condition).map_or_else(|| reason.clone(), |left| left.to_string());
            audit.conditions.push(Judged::without_looking(condition, Outcome::Skipped { reason }));
        }
    }
}

/// The verdict in one line, with its cause.
pub fn verdict(audit: &Audit) -> String {
    let name = &audit.profile;
    match audit.exit {
        None => format!("UNFINISHED: the audit {name} did not come to its end"),
        Some(Exit::Passed) => format!("PASSED: all that {name} must have holds"),
        Some(Exit::Leaked) => format!("PASSED, but something was left on this host: {name}"),
        Some(Exit::Interrupted) => format!("STOPPED: the audit {name} did not come to its end"),
        _ => match audit.conditions.iter().find(|one| one.counts() && one.failed()) {
            Some(first) => format!("FAILED: {name}: {}: {}", first.id, first.line()),
            None => format!("FAILED: {name}"),
        },
    }
}

/// Write `junit.xml`, `report.md`, `report.html` and, last of all, `audit.json`.
fn publish(audit: &Audit, folder: &RunFolder) -> Result<(), Failure> {
    let cases: Vec<_> = audit.conditions.iter().map(case).chain(audit.leaks.iter().map(leak)).collect();
    let name = format!("boma-qemu audit {}", audit.profile);
    let about = About { name, attachments: vec![folder.path().join(evidence::page::PAGE)], ..About::default() };
    folder.write("junit.xml", junit::text(&about, &cases).unwrap_or_default())?;
    folder.write("report.md", visible::block(&markdown::text(audit)).as_ref())?;
    folder.write(evidence::page::PAGE, page::text(audit, folder.path()))?;
    // Plain data with string keys: serialising it cannot fail.
    Ok(folder.write("audit.json", visible::json_pretty(audit).unwrap_or_default())?)
}

/// What does not apply or is blocked is skipped there, with the reason; so is what only should hold.
fn case(one: &Judged) -> Case {
    let failure = match &one.outcome {
        Outcome::Failed { cause, next, .. } if one.counts() => Some(format!("{cause}\nnext: {next}")),
        _ => None,
    };
    let is_note = failure.is_none() && one.outcome != Outcome::Passed;
    let was_seen = matches!(one.outcome, Outcome::Passed | Outcome::Failed { .. });
    Case {
        suite: one.phase.to_string(),
        name: one.id.to_string(),
        seconds: was_seen.then_some(one.seconds),
        failure,
        note: is_note.then(|| one.line()),
    }
}

fn leak(leak: &host::ledger::Leak) -> Case {
    let (suite, name, failure) = ("leaks".into(), leak.what.clone(), Some(leak.why.clone()));
    Case { suite, name, seconds: None, failure, note: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_condition_is_no_failure_of_its_own() {
        let cases: Vec<_> = sample::audit().conditions.iter().map(case).collect();
        let xml = junit::text(&About::default(), &cases).unwrap();
        assert!(xml.contains(r#"tests="6""#) && xml.contains(r#"failures="1""#), "{xml}");
        assert!(xml.contains("blocked by storage-service") && xml.contains("vgcreate: no disk"), "{xml}");
        assert!(!xml.contains("<failure message=\"/ has 12 MiB free"), "a should is no failure: {xml}");
    }

    #[test]
    fn long_evidence_keeps_its_end_in_whole_lines() {
        let text = format!("{}\nüend\n", "ä".repeat(MOST_TEXT));
        assert_eq!(end_of(&text), "üend\n");
        assert_eq!(end_of("short"), "short");
    }

    #[test]
    fn the_first_failed_must_decides_and_names_itself() {
        let audit = sample::audit();
        let failure = audit.failure.unwrap();
        assert_eq!(failure.exit, Exit::Verify);
        assert!(failure.chain[0].starts_with("storage-service: pre-nixos.service failed"), "{failure}");
        assert!(
            failure.chain[1].contains("1 does not hold, and 1 is blocked by what failed: storage-service"),
            "{failure}"
        );
    }

    #[test]
    fn what_nobody_could_look_at_is_no_verdict_on_the_image() {
        let mut audit = sample::audit();
        if let Outcome::Failed { looked, .. } = &mut audit.conditions[4].outcome {
            *looked = false;
        }
        assert_eq!(audit.judge().unwrap_err().exit, Exit::Lost);
        audit.conditions.truncate(4);
        assert!(audit.judge().is_ok(), "what should hold and does not fails nothing");
        for one in &mut audit.conditions {
            one.outcome = Outcome::Skipped { reason: "left out".into() };
        }
        assert_eq!(audit.judge().unwrap_err().exit, Exit::Lost, "an audit that skipped everything is no green one");
        audit.failure = None;
        audit.conclude();
        assert_eq!(audit.exit, Some(Exit::Lost));
    }
}
