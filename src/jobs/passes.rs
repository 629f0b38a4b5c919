//! The passes over the playbooks after the one that applied them: a second run, which should have nothing to do, and
//! passes in check mode before and after the reboot, which say whose work did not survive it.

use super::apply::{Say, ansible};
use super::run::{Run, Said};
use crate::ansible::run::{Applied, Runner};
use evidence::observe::Policy;
use evidence::playbook::events::TaskResult;
use evidence::playbook::tried::{self, Pass, Told, summary};
use evidence::record::{CheckMode, Idempotence, Record, Step};
use host::failure::{Exit, Failure, with_causes};
use std::time::SystemTime;

/// Whether the passes in check mode are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Where they cost little.
    #[default]
    Auto,
    /// In any case.
    Always,
    /// Not at all.
    Never,
}

/// What is known before the reboot: what the passes after it are held against.
#[derive(Debug)]
pub struct Baseline {
    /// One for each playbook; none where the passes are left out.
    passes: Option<Vec<Pass>>,
}

/// The passes in check mode are made where both together take less than this part of the run so far.
const MOST: f64 = 0.1;

/// How many tasks a failure names; all of them are in `result.json`.
const NAMED: usize = 5;

impl Run<'_> {
    /// Run the profile's playbooks once more. What they change now they will change each time; one that fails now is a
    /// failed playbook.
    pub async fn second_run(&mut self) -> Result<(), Failure> {
        // Until it has come to its end, how much of it was done is unknown.
        self.keep(Step::Applied(false));
        let mut tasks = Vec::new();
        let done = self.phase("idempotence", async |run| {
            let second = second_run(run, &mut tasks).await?;
            let text = format!("{} tasks on the VM, {} changed again", second.tasks, second.changed.len());
            let ok = second.changed.is_empty();
            Ok((second, Said { text, ok }))
        });
        let done = done.await;
        self.keep(Step::Tasks(tasks));
        match done {
            Ok(second) => self.keep(Step::Idempotence(second)),
            Err(failure) => return Err(self.with_its_way(failure).await),
        }
        self.keep(Step::Applied(true));
        self.way_in().await
    }

    /// Try the playbooks before the reboot, if that is wanted.
    pub async fn baseline(&mut self, wanted: Wanted) -> Result<Baseline, Failure> {
        let so_far = self.record().phases.iter().map(|phase| phase.seconds).sum();
        let cost = estimate(self.record(), self.plan().profile.applies.len());
        match (wanted, left_out(cost, so_far)) {
            (Wanted::Always, _) | (Wanted::Auto, None) => {}
            (Wanted::Never, _) => return Ok(Baseline { passes: None }),
            (Wanted::Auto, Some(why)) => {
                self.keep(Step::CheckMode(CheckMode::LeftOut { why }));
                return Ok(Baseline { passes: None });
            }
        }
        let passes = self.phase("baseline", async |run| {
            let passes = tried(run).await?;
            let lost: Vec<_> = passes.iter().filter_map(|pass| pass.as_ref().err()).cloned().collect();
            // What could not be looked at is reported, and fails nothing.
            let said = match lost.is_empty() {
                true => format!("{} playbooks tried", passes.len()),
                false => format!("could not look: {}", lost.join("; ")),
            };
            Ok((passes, said))
        });
        Ok(Baseline { passes: Some(passes.await?) })
    }

    /// Try them again after it, and keep what that says.
    pub async fn try_again(&mut self, baseline: Baseline) -> Result<(), Failure> {
        let Some(before) = baseline.passes else { return Ok(()) };
        let passes = self.phase("check-mode", async |run| {
            let after = tried(run).await?;
            let mut compared = tried::compare(&before, &after, run.record().repeated());
            compared.allow(&run.plan().profile.state.allow, SystemTime::now());
            let made = before.iter().chain(&after).filter_map(|pass| pass.as_ref().ok());
            let seconds = made.map(|tried| tried.seconds).sum();
            let unseen = compared.unseen.iter().map(|why| format!("; could not look: {why}"));
            let text = format!("{}{}", summary(&compared), unseen.collect::<String>());
            let ok = compared.undone.is_empty() || run.record().findings == Policy::Report;
            Ok((CheckMode::Compared { seconds, compared }, Said { text, ok }))
        });
        let passes = passes.await?;
        self.keep(Step::CheckMode(passes));
        Ok(())
    }

    /// A task whose work did not survive the reboot fails the run, unless findings are only reported.
    pub fn judge_check_mode(&self) -> Result<(), Failure> {
        judge_undone(self.record())
    }

    /// What the second run of the playbooks changed fails the run.
    pub fn judge_idempotence(&self) -> Result<(), Failure> {
        judge_repeated(self.record())
    }
}

/// Run each playbook once more. What the tasks did is in `tasks`, also where one of them failed.
async fn second_run(run: &Run<'_>, tasks: &mut Vec<TaskResult>) -> Result<Idempotence, Failure> {
    let mut second = Idempotence { seconds: 0.0, tasks: 0, changed: Vec::new() };
    for apply in &run.plan().profile.applies {
        let work = async |runner: &Runner<'_>, say: Say<'_>| Ok(runner.apply(apply, say).await?);
        let Applied { outcome, judged, .. } = ansible(run, &apply.playbook, work).await?;
        let again = tried::changed(&outcome.results);
        tasks.extend(outcome.results);
        judged.map_err(|error| Failure::from(error).during(format!("{} on its second run", apply.playbook)))?;
        second.seconds += outcome.seconds;
        second.tasks += outcome.tasks;
        second.changed.extend(again);
    }
    Ok(second)
}

/// One pass over each playbook. A pass that could not be made is reported and ends nothing; a machine that is lost does.
async fn tried(run: &Run<'_>) -> Result<Vec<Pass>, Failure> {
    let mut passes = Vec::new();
    for apply in &run.plan().profile.applies {
        let work = async |runner: &Runner<'_>, say: Say<'_>| Ok(runner.check_mode(apply, say).await);
        let tried = ansible(run, &apply.playbook, work).await?;
        passes.push(tried.map_err(|error| with_causes(&error)));
    }
    Ok(passes)
}

/// How long both passes in check mode will take, in seconds; none where that is not known.
fn estimate(record: &Record, playbooks: usize) -> Option<f64> {
    let last = &record.playbooks[record.playbooks.len().saturating_sub(playbooks)..];
    let once = match &record.idempotence {
        Some(second) => Some(second.seconds),
        None => last.iter().map(|playbook| playbook.if_done_s).sum(),
    };
    once.map(|seconds| 2.0 * seconds)
}

/// Why the passes are left out where no option says otherwise, if they are.
fn left_out(cost: Option<f64>, so_far: f64) -> Option<String> {
    let Some(cost) = cost else {
        return Some("left out: how long it would take is not known; `--check-mode` has it done".into());
    };
    (cost >= MOST * so_far).then(|| {
        format!(
            "left out: two passes would take about {cost:.0} s, which is not under a tenth of the {so_far:.0} s so far; \
             `--check-mode` has them done"
        )
    })
}

fn judge_undone(record: &Record) -> Result<(), Failure> {
    let undone = record.undone();
    let Some(first) = undone.first() else { return Ok(()) };
    let what = format!("after the reboot, {} would do their work again: {}", count(undone.len()), named(undone));
    let next = format!(
        "look at {first} and its difference in result.json (`check_mode.undone`): what it sets has to be where the boot \
         finds it; if it is meant to be so, allow {:?} in the profile (state.allow), with the reason; `--findings report` only \
         reports",
        first.id()
    );
    Err(Failure::new(Exit::Verify, what).next(next))
}

fn judge_repeated(record: &Record) -> Result<(), Failure> {
    let changed = record.repeated();
    let Some(first) = changed.first() else { return Ok(()) };
    let what = format!(
        "the playbooks are not idempotent, {} changed something again: {}",
        count(changed.len()),
        named(changed)
    );
    let next = format!(
        "look at {first}: let it change only what is not yet as it should be (a command needs `creates` or `changed_when`)"
    );
    Err(Failure::new(Exit::Verify, what).next(next))
}

fn count(n: usize) -> String {
    if n == 1 { "1 task".to_owned() } else { format!("{n} tasks") }
}

/// The first tasks by their names; the rest is counted.
fn named(told: &[Told]) -> String {
    let mut names: Vec<_> = told.iter().take(NAMED).map(ToString::to_string).collect();
    names.extend((told.len() > NAMED).then(|| format!("and {} more", told.len() - NAMED)));
    names.join("; ")
}

#[cfg(test)]
fn told_for_tests(task: &str) -> Told {
    Told {
        role: "base".into(),
        task: task.into(),
        place: "/r/main.yml:3".into(),
        item: String::new(),
        said: "+x".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::observe::Policy;
    use evidence::playbook::tried::Compared;
    use evidence::record::Playbook;
    use evidence::verdict::Kind;

    fn record(undone: usize, policy: Policy) -> Record {
        let text = include_str!("../../tests/fixtures/record.json");
        let mut record: Record = serde_json::from_str(text).unwrap();
        let undone = (0..undone).map(|n| told_for_tests(&format!("t{n}"))).collect();
        let compared = Compared { judged: 9, undone, ..Compared::default() };
        record.check_mode = Some(CheckMode::Compared { seconds: 3.0, compared });
        record.findings = policy;
        record
    }

    fn playbook(if_done_s: f64) -> Playbook {
        serde_json::from_value(serde_json::json!({
            "playbook": "site.yml", "ok": true, "seconds": 60.0, "if_done_s": if_done_s, "tasks": 3, "changed": 3,
            "recap": {"ok": 3, "changed": 3, "unreachable": 0, "failures": 0, "skipped": 0, "rescued": 0, "ignored": 0},
            "failed": []
        }))
        .unwrap()
    }

    #[test]
    fn a_task_whose_work_is_gone_fails_the_run_unless_findings_are_only_reported() {
        for (policy, red) in [(Policy::Report, false), (Policy::Fail, true), (Policy::Strict, true)] {
            let judged = judge_undone(&record(1, policy));
            assert_eq!(judged.is_err(), red, "{policy}");
            if let Err(failure) = judged {
                assert_eq!(failure.exit, Exit::Verify);
                assert!(failure.chain[0].contains("base: t0 (/r/main.yml:3)"), "{failure}");
            }
        }
        judge_undone(&record(0, Policy::Strict)).unwrap();
        let many = judge_undone(&record(7, Policy::Fail)).unwrap_err().to_string();
        assert!(many.contains("7 tasks") && many.contains("t4") && many.contains("and 2 more"), "{many}");
    }

    #[test]
    fn what_could_not_be_looked_at_is_neither_green_nor_red() {
        let mut record = record(0, Policy::Strict);
        let compared = Compared { unseen: vec!["after the reboot: lost".into()], ..Compared::default() };
        assert_eq!(summary(&compared), "no task could be judged");
        let again = |n| Compared { judged: 3, again: vec![told_for_tests("t"); n], ..Compared::default() };
        assert_eq!(summary(&again(1)), "nothing is undone, 3 tasks judged, 1 changes each time");
        assert_eq!(summary(&again(2)), "nothing is undone, 3 tasks judged, 2 change each time");
        record.check_mode = Some(CheckMode::Compared { seconds: 3.0, compared });
        judge_undone(&record).unwrap();
        assert_eq!(record.undone().len(), 0);
    }

    #[test]
    fn a_task_that_changes_something_again_fails_the_run_whatever_findings_do() {
        let mut record = record(0, Policy::Report);
        record.idempotence = Some(Idempotence { seconds: 1.0, tasks: 3, changed: vec![told_for_tests("again")] });
        let failure = judge_repeated(&record).unwrap_err();
        assert_eq!(failure.exit, Exit::Verify);
        assert!(
            failure.to_string().contains("not idempotent, 1 task changed something again: base: again ("),
            "{failure}"
        );
        record.idempotence = Some(Idempotence { seconds: 1.0, tasks: 3, changed: Vec::new() });
        judge_repeated(&record).unwrap();
    }

    #[test]
    fn the_passes_are_made_where_they_cost_less_than_a_tenth_and_what_is_left_out_says_how_to_have_it() {
        assert_eq!(left_out(Some(9.0), 100.0), None);
        let why = left_out(Some(10.0), 100.0).unwrap();
        assert!(why.contains("about 10 s") && why.contains("100 s so far") && why.contains("--check-mode"), "{why}");
        assert!(left_out(None, 100.0).is_some(), "what is not known is not taken for little");
    }

    #[test]
    fn the_estimate_is_of_the_last_apply_and_of_its_second_run_where_there_is_one() {
        let mut record = record(0, Policy::Fail);
        record.playbooks = [50.0, 2.0, 3.0].map(playbook).to_vec();
        assert_eq!(estimate(&record, 2), Some(10.0));
        record.playbooks[2].if_done_s = None;
        assert_eq!(estimate(&record, 2), None);
        record.idempotence = Some(Idempotence { seconds: 4.0, tasks: 3, changed: Vec::new() });
        assert_eq!(estimate(&record, 2), Some(8.0));
    }

    #[test]
    fn an_apply_ends_what_the_passes_said_and_a_restart_what_they_said_of_the_last() {
        use evidence::verdict::Unproved;
        let mut record = record(1, Policy::Fail);
        record.idempotence = Some(Idempotence { seconds: 1.0, tasks: 3, changed: vec![told_for_tests("again")] });
        assert_eq!((record.undone().len(), record.repeated().len()), (1, 1));
        record.changed(Unproved::Restarting);
        assert_eq!((record.undone().len(), record.repeated().len()), (0, 1));
        record.check_mode = Some(CheckMode::LeftOut { why: "w".into() });
        record.changed(Unproved::Restarting);
        assert!(record.check_mode.is_some(), "why it was left out is told after the restart");
        record.changed(Unproved::Applied);
        assert_eq!((record.check_mode.is_none(), record.repeated().len()), (true, 0));
        assert_ne!(record.verdict().kind(), Kind::Passed);
    }

    #[test]
    fn a_record_without_passes_is_read_and_one_with_them_comes_back_the_same() {
        let old: Record = serde_json::from_str(include_str!("../../tests/fixtures/record.json")).unwrap();
        assert!(old.check_mode.is_none() && old.idempotence.is_none());
        let written = serde_json::to_value(record(2, Policy::Fail)).unwrap();
        assert_eq!(written["check_mode"]["looked"], "compared");
        assert_eq!(written["check_mode"]["undone"][0]["role"], "base");
        let back: Record = serde_json::from_value(written).unwrap();
        assert_eq!(back.undone().len(), 2);
    }
}
