//! The stage of the real playbooks.

use super::part;
use super::run::Run;
use super::target::Target;
use crate::ansible::command::Invocation;
use crate::ansible::run::{Applied, Outcome, Runner};
use crate::ansible::{AnsibleError, Selection, guard};
use crate::profile::Apply;
use camino::Utf8Path;
use evidence::playbook::tried;
use evidence::record::{FailedTask, Partial, Playbook, Step};
use evidence::verdict::Unproved;
use host::failure::Failure;
use std::time::Duration;

/// The longest that one playbook may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// What hears each line that Ansible prints.
pub(super) type Say<'a> = &'a mut dyn FnMut(&str);

impl Run<'_> {
    /// Run the profile's playbooks; from now on it is another state.
    pub async fn apply(&mut self) -> Result<(), Failure> {
        self.begin_apply(None)?;
        self.playbooks(None).await
    }

    /// From now on the state is another one: no proof of an earlier one holds, and nothing is applied as a whole.
    pub(super) fn begin_apply(&mut self, part: Option<&Partial>) -> Result<(), Failure> {
        self.keep(Step::Applied(false));
        self.keep(Step::Partial(part.cloned()));
        self.changes(match part {
            None => Unproved::Applied,
            Some(part) => Unproved::PartlyApplied { part: part.to_string() },
        })
    }

    /// Run the playbooks, or a part of them.
    pub(super) async fn playbooks(&mut self, part: Option<&Partial>) -> Result<(), Failure> {
        self.keep(Step::ExtraVars(self.plan().extra_vars(self.target().dirs)));
        let (applies, by) = (part::applies(self.plan(), part), part::selection(part));
        self.certificates().await?;
        // The last look at where they would go.
        self.phase("guard", async |run| guard(run.target(), &applies, &by)).await?;
        let mut seen = Selected::new(&by);
        for apply in &applies {
            let name = apply.playbook.file_stem().unwrap_or("apply").to_owned();
            let mut ran = None;
            let done = self.phase(&name, async |run| {
                let work = async |runner: &Runner<'_>, say: Say<'_>| Ok(runner.narrowed(apply, &by, say).await?);
                let Applied { outcome, judged, unknown } = ansible(run, &apply.playbook, work).await?;
                let selected = seen.add(&apply.playbook, &outcome, unknown, judged);
                let said = match &selected {
                    Ok(false) => "nothing of it is selected".to_owned(),
                    _ => told(&outcome),
                };
                if !matches!(selected, Ok(false)) {
                    ran = Some((playbook(&outcome, selected.is_ok()), outcome.results));
                }
                selected?;
                Ok(((), said))
            });
            let done = done.await;
            let is_there = ran.is_some();
            if let Some((playbook, tasks)) = ran {
                self.keep(Step::Tasks(tasks));
                self.keep(Step::Playbook(playbook));
            }
            if let Err(failure) = done {
                return Err(self.with_its_way(failure).await);
            }
            // It may have moved the way in: the next one goes on over the new one.
            if is_there {
                self.way_in().await?;
            }
        }
        seen.judge()?;
        self.keep(Step::Applied(true));
        Ok(())
    }
}

/// A playbook that ran, in one line.
pub(super) fn told(outcome: &Outcome) -> String {
    let more = match outcome.reports.len() {
        0 => String::new(),
        n => format!(", {n} to know of"),
    };
    format!("{} tasks on the VM, {} changed{more}", outcome.tasks, outcome.changed)
}

/// What a selection by tags has come to in all playbooks. One in which it selects nothing is none that failed, if it selects
/// something in another.
struct Selected<'a> {
    by: &'a Selection,
    playbooks: Vec<&'a Utf8Path>,
    /// The tags that have selected no task in any playbook yet; none before the first.
    unknown: Option<Vec<String>>,
    ran: usize,
    /// The first playbook in which nothing ran.
    nothing: Option<AnsibleError>,
}

impl<'a> Selected<'a> {
    fn new(by: &'a Selection) -> Self {
        Self { by, playbooks: Vec::new(), unknown: None, ran: 0, nothing: None }
    }

    /// Add a playbook; whether anything of it was selected.
    fn add(
        &mut self,
        playbook: &'a Utf8Path,
        outcome: &Outcome,
        unknown: Vec<String>,
        judged: Result<(), AnsibleError>,
    ) -> Result<bool, AnsibleError> {
        self.playbooks.push(playbook);
        self.ran += outcome.tasks;
        match &mut self.unknown {
            None => self.unknown = Some(unknown),
            Some(all) => all.retain(|tag| unknown.contains(tag)),
        }
        let by_tags = !(self.by.tags.is_empty() && self.by.skip_tags.is_empty());
        match judged {
            Err(nothing @ AnsibleError::NothingRan { .. }) if by_tags && outcome.tasks == 0 => {
                self.nothing.get_or_insert(nothing);
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    /// A tag that selects no task at all is a mistake, and a selection of nothing is nothing that was applied.
    fn judge(self) -> Result<(), AnsibleError> {
        let playbooks = self.playbooks.iter().map(|playbook| playbook.as_str()).collect::<Vec<_>>().join(" and of ");
        match (self.unknown.filter(|tags| !tags.is_empty()), self.nothing) {
            (Some(tags), _) => {
                let (tags, ran) = (tags.join(", "), self.ran);
                Err(AnsibleError::UnknownSelection { playbooks, tags, ran })
            }
            (None, Some(nothing)) if self.ran == 0 => Err(nothing),
            (None, _) => Ok(()),
        }
    }
}

/// Assert that the playbooks would run on the VM and on nothing else: those that are to be applied as they will be, and those
/// of checks, which come later.
fn guard(target: &Target<'_>, applies: &[Apply], by: &Selection) -> Result<((), String), Failure> {
    let controller = target.plan.controller(target.dirs);
    let verify = target.plan.profile.verify.playbooks().map(|path| controller.verify(&target.dirs.root.join(path)));
    let more: Vec<_> = verify.collect();
    guarded_as(target, applies, by, &more)
}

/// The same of other playbooks than those of the change.
pub(super) fn guarded(target: &Target<'_>, applies: &[Apply]) -> Result<((), String), Failure> {
    guarded_as(target, applies, &Selection::default(), &[])
}

fn guarded_as(
    target: &Target<'_>,
    applies: &[Apply],
    by: &Selection,
    more: &[Invocation],
) -> Result<((), String), Failure> {
    let (controller, prefix) = target.controller()?;
    let connection = target.plan.connection(target.dirs);
    let applied = applies.iter().map(|apply| controller.narrowed(apply, by));
    guard::check(&controller, &connection, &applied.chain(more.iter().cloned()).collect::<Vec<_>>(), &prefix)?;
    Ok(((), format!("only {} at {}", target.plan.host, connection.address)))
}

/// Run Ansible on a playbook, unless the machine is lost meanwhile.
pub(super) async fn ansible<T>(
    run: &Run<'_>,
    playbook: &Utf8Path,
    work: impl AsyncFnOnce(&Runner<'_>, Say<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (controller, prefix) = run.target().controller()?;
    let log = run.folder().path().join("ansible.log");
    let address = run.vm().end().ip;
    let runner = Runner { controller: &controller, address, prefix: &prefix, log: &log, limit: LIMIT };
    let mut say = |line: &str| run.progress().output(line);
    run.vm().watch()?.unless_lost(playbook.as_str(), work(&runner, &mut say)).await
}

/// What is kept of a playbook run. In one that failed, the last task that failed is the one that ended it;
/// those before it were ignored or rescued, as all of them were in one that passed.
pub(super) fn playbook(outcome: &Outcome, ok: bool) -> Playbook {
    let failed = outcome.results.iter().filter(|result| result.is_bad()).map(|result| FailedTask {
        task: result.task.clone(),
        place: result.place.clone(),
        message: result.why(),
        went_on: ok || result.ignored,
    });
    let mut failed: Vec<_> = failed.collect();
    let last = failed.iter().rposition(|task| !task.went_on);
    for (n, task) in failed.iter_mut().enumerate() {
        task.went_on |= Some(n) != last;
    }
    let if_done_s = ok.then(|| tried::seconds_if_done(outcome.seconds, &outcome.results));
    let Outcome { seconds, tasks, changed, recap, .. } = *outcome;
    let (playbook, reports) = (outcome.playbook.clone(), outcome.reports.clone());
    Playbook { playbook, ok, seconds, if_done_s, tasks, changed, recap, failed, reports }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::playbook::events::parse;

    fn outcome(tasks: &[(&str, &str, bool)]) -> Outcome {
        let line = |(task, status, ignored): &(&str, &str, bool)| {
            let result = serde_json::json!({
                "event": "result", "play": "p", "task": task, "where": "/r/x.yml:3", "action": "command", "host": "askari",
                "delegated": null, "on_host": true, "status": status, "ignored": ignored, "changed": false,
                "check_mode": false, "broke": false, "held": false, "tags": [], "jobs": [], "rebooted": false, "seconds": 0.1, "message": "m", "items": [], "resolved": null
            });
            format!("{result}\n")
        };
        let events = parse(&tasks.iter().map(line).collect::<String>()).unwrap();
        let results = evidence::playbook::events::results(&events).cloned().collect();
        let recap = evidence::playbook::events::Recap::default();
        Outcome { playbook: "x.yml".into(), seconds: 1.0, tasks: 3, changed: 0, recap, results, reports: Vec::new() }
    }

    #[test]
    fn only_the_last_task_that_failed_ended_a_playbook_and_none_if_it_passed() {
        let tasks = [
            ("rescued", "failed", false),
            ("fine", "ok", false),
            ("ignored", "failed", true),
            ("last", "failed", false),
        ];
        let told = |ok| {
            let kept = playbook(&outcome(&tasks), ok);
            kept.failed.into_iter().map(|task| (task.task, task.went_on)).collect::<Vec<_>>()
        };
        let named = |last: bool| [("rescued", true), ("ignored", true), ("last", last)].map(|(t, w)| (t.to_owned(), w));
        assert_eq!(told(false), named(false));
        assert_eq!(told(true), named(true));
    }

    /// What a selection by the tags `a` and `b` comes to in playbooks, of each: how many tasks ran, and the tags that no task
    /// has.
    fn selected(by: &Selection, playbooks: &[(usize, &[&str])]) -> Result<Vec<bool>, AnsibleError> {
        let mut seen = Selected::new(by);
        let mut done = Vec::new();
        for (tasks, unknown) in playbooks {
            let outcome = Outcome { tasks: *tasks, ..outcome(&[]) };
            let nothing = || AnsibleError::NothingRan {
                playbook: "x.yml".into(),
                why: "none".into(),
                stage: crate::ansible::Stage::Apply,
            };
            let judged = if *tasks == 0 { Err(nothing()) } else { Ok(()) };
            let unknown = unknown.iter().map(|tag| (*tag).to_owned()).collect();
            done.push(seen.add(Utf8Path::new("x.yml"), &outcome, unknown, judged)?);
        }
        seen.judge().map(|()| done)
    }

    #[test]
    fn a_tag_may_select_nothing_in_one_playbook_and_not_in_all() {
        let by = Selection { tags: vec!["a".into(), "b".into()], ..Selection::default() };
        let none: &[&str] = &[];
        assert_eq!(selected(&by, &[(0, &["a", "b"]), (2, none)]).unwrap(), [false, true]);
        assert_eq!(selected(&by, &[(1, &["b"]), (1, &["a"])]).unwrap(), [true, true]);
        let error = selected(&by, &[(1, &["b"]), (0, &["a", "b"])]).unwrap_err();
        assert!(matches!(&error, AnsibleError::UnknownSelection { tags, ran: 1, .. } if tags == "b"), "{error}");
        assert!(matches!(selected(&by, &[(0, none)]), Err(AnsibleError::NothingRan { .. })));
        assert!(matches!(
            selected(&Selection::default(), &[(0, none), (2, none)]),
            Err(AnsibleError::NothingRan { .. })
        ));
        let from = Selection { start_at_task: Some("t".into()), ..Selection::default() };
        assert!(selected(&from, &[(0, none)]).is_err(), "without tags a playbook is not passed over");
    }
}
