//! What was found in the states: which files were durable, whether the file system was sound, whether the controls were seen.

use super::guest::{Place, Sums, control_sums};
use host::failure::Exit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use vm::crash::{Examined, Fsck, State};

/// What became of a file in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is as it was when the workload had ended.
    Kept,
    /// It is as it was before the workload: it holds the old content, or is not there.
    Old,
    /// It is not there, and was before.
    Gone,
    /// It is neither as it was before nor as it was after: empty, cut off, or a mixture.
    Torn,
    /// The same, while the workload was running: it may have been so for a while.
    Between,
    /// It could not be read.
    Unread,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "kept",
            Self::Old => "as before the workload",
            Self::Gone => "gone",
            Self::Torn => "torn",
            Self::Between => "in between",
            Self::Unread => "not readable",
        })
    }
}

/// A file over all states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFate {
    /// Its path in the guest.
    pub path: String,
    /// In how many states it was what.
    pub states: BTreeMap<Fate, usize>,
    /// The number of the first state in which it was not as it must be.
    pub first: Option<usize>,
}

impl FileFate {
    fn new(path: &str) -> Self {
        Self { path: path.to_owned(), states: BTreeMap::new(), first: None }
    }

    fn add(&mut self, n: usize, fate: Fate, bad: bool) {
        *self.states.entry(fate).or_default() += 1;
        if bad {
            self.first.get_or_insert(n);
        }
    }

    fn count(&self, fate: Fate) -> usize {
        self.states.get(&fate).copied().unwrap_or(0)
    }
}

/// A control over all states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Whether it must stay clean; the other one must break.
    pub clean: bool,
    /// What became of it.
    pub file: FileFate,
}

impl Control {
    /// Whether it did what it must.
    pub fn holds(&self) -> bool {
        self.clean == self.file.first.is_none()
    }
}

/// What was found in one state that is not sound, or could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFound {
    /// Its number, from 0.
    pub state: usize,
    /// What the file system check said, or why it could not be looked at.
    pub said: String,
}

/// All of it; a part of `experiment.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrashStates {
    /// How many states were examined.
    pub states: usize,
    /// How many of them were different ones.
    pub different: usize,
    /// What decides them.
    pub seed: u64,
    /// The file system that was looked at.
    pub place: Place,
    /// How many flushes the window has, and how many of them came before the power loss.
    pub flushes: [usize; 2],
    /// How much changed in it, in bytes.
    pub changed_bytes: u64,
    /// How often the drive's log was full: what came before the last time is in all states.
    pub overruns: u32,
    /// Seconds per different state.
    pub seconds_per_state: f64,
    /// How many files were followed.
    pub files: usize,
    /// The files that were not durable.
    pub not_durable: Vec<FileFate>,
    /// Files that were something in between while the workload was running, and durable in the end.
    pub between: Vec<FileFate>,
    /// The two controls.
    pub controls: Vec<Control>,
    /// States in which the file system was damaged.
    pub damaged: Vec<StateFound>,
    /// States that could not be looked at.
    pub unchecked: Vec<StateFound>,
    /// What of the confinement of the file system check was not in force on this host.
    pub missing: Vec<String>,
}

impl CrashStates {
    /// What it comes to. Where a control did not do what it must, or a state could not be looked at, nothing is clean.
    pub fn exit(&self) -> Exit {
        let found = !self.damaged.is_empty() || !self.not_durable.is_empty();
        match (self.controls.iter().all(Control::holds), found, self.unchecked.is_empty()) {
            (false, ..) => Exit::Lost,
            (_, true, _) => Exit::Verify,
            (_, _, false) => Exit::Lost,
            _ => Exit::Passed,
        }
    }

    /// What is not as it must be, one sentence each.
    pub fn wrong(&self) -> Vec<String> {
        let control = |control: &Control| {
            let FileFate { path, first, .. } = &control.file;
            match (control.clean, first) {
                (true, Some(first)) => format!(
                    "the control {path} was written as it should be and was not durable (state {first}): nothing else here counts; \
                     is the file system mounted with nobarrier, or is a flush ignored in the guest?"
                ),
                _ => format!(
                    "the control {path} was renamed without fsync and survived every state: nothing else here counts; take more states"
                ),
            }
        };
        let of = |what: &str, found: &StateFound| format!("{what} in state {}: {}", found.state, found.said);
        let controls = self.controls.iter().filter(|one| !one.holds()).map(control);
        let files = self.not_durable.iter().map(|file| format!("not durable: {}", self.in_words(file)));
        let damaged = self.damaged.iter().map(|found| of("the file system was damaged", found));
        let unchecked = self.unchecked.iter().map(|found| of("no answer", found));
        controls.chain(files).chain(damaged).chain(unchecked).collect()
    }

    /// A file in one line: `/srv/state: torn in 3, as before the workload in 12 of 200 states, first in state 4`.
    fn in_words(&self, file: &FileFate) -> String {
        let bad = [Fate::Old, Fate::Gone, Fate::Torn, Fate::Unread];
        let said = bad.into_iter().filter(|fate| file.count(*fate) > 0);
        let said: Vec<_> = said.map(|fate| format!("{fate} in {}", file.count(fate))).collect();
        let first = file.first.map(|first| format!(", first in state {first}")).unwrap_or_default();
        format!("{}: {} of {} states{first}", file.path, said.join(", "), self.states)
    }

    /// The whole in one line.
    pub fn headline(&self) -> String {
        let word = match self.exit() {
            Exit::Passed => "DURABLE",
            Exit::Verify => "NOT DURABLE",
            _ => "NO VERDICT",
        };
        format!(
            "{word}: {} crash states ({} different, {:.1} s each) of {} flushes and {} KiB in {}; {} of {} files were durable",
            self.states,
            self.different,
            self.seconds_per_state,
            self.flushes[0],
            self.changed_bytes.div_ceil(1024),
            self.place.mount,
            self.files - self.not_durable.len(),
            self.files,
        )
    }
}

/// What a file was before the workload and after it, and what it is in the states.
type Watched<T> = (Option<String>, Option<String>, T);

/// Takes what was found in one state after the other.
#[derive(Debug)]
pub struct Judge {
    promised: usize,
    states: usize,
    files: Vec<Watched<FileFate>>,
    controls: [Watched<Control>; 2],
    damaged: Vec<StateFound>,
    unchecked: Vec<StateFound>,
}

/// The most states of which the check's words are kept: beyond it they are alike.
const MOST_REPORTED: usize = 20;

impl Judge {
    /// For these files, as they were before and after the workload; `promised` flushes came before the power loss.
    pub fn new(place: &Place, before: &Sums, after: &Sums, promised: usize) -> Self {
        let paths: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let file = |path: &String| (before.get(path).cloned(), after.get(path).cloned(), FileFate::new(path));
        let control = |name: &str| {
            let (was, is) = control_sums(name);
            (was, is, Control { clean: name == "clean", file: FileFate::new(&place.control(name)) })
        };
        Self {
            promised,
            states: 0,
            files: paths.into_iter().map(file).collect(),
            controls: ["clean", "unsynced"].map(control),
            damaged: Vec::new(),
            unchecked: Vec::new(),
        }
    }

    /// The files to be read in each state, in order.
    pub fn paths(&self, place: &Place) -> Vec<String> {
        let files = self.files.iter().map(|(.., file)| &file.path);
        files
            .chain(self.controls.iter().map(|(.., control)| &control.file.path))
            .map(|path| place.inside(path))
            .collect()
    }

    /// Take what was found in state number `n`.
    pub fn take(&mut self, n: usize, state: &State, found: &Examined) {
        self.states += 1;
        let late = state.after >= self.promised;
        let found_in = |said: &str| StateFound { state: n, said: said.lines().collect::<Vec<_>>().join("; ") };
        match found.fsck {
            Fsck::Sound => {}
            Fsck::Damaged => self.damaged.push(found_in(&found.said)),
            Fsck::Unchecked => self.unchecked.push(found_in(&found.said)),
        }
        if found.files.len() != self.files.len() + self.controls.len() {
            self.unchecked.push(found_in("not all files were looked at"));
            return;
        }
        let (files, controls) = found.files.split_at(self.files.len());
        let mut unread = None;
        for ((was, is, file), seen) in self.files.iter_mut().zip(files) {
            let fate = fate(was.as_ref(), is.as_ref(), seen, late);
            file.add(n, fate, is_bad(fate, was == is, late));
            if let Err(why) = seen {
                unread.get_or_insert(format!("{}: {why}", file.path));
            }
        }
        for ((was, is, control), seen) in self.controls.iter_mut().zip(controls) {
            let fate = fate(was.as_ref(), is.as_ref(), seen, late);
            // The clean one is written once: it is never anything in between.
            let bad = is_bad(fate, false, late) || control.clean && fate == Fate::Between;
            control.file.add(n, fate, bad);
            if let Err(why) = seen {
                unread.get_or_insert(format!("{}: {why}", control.file.path));
            }
        }
        if let Some(why) = unread
            && found.fsck == Fsck::Sound
        {
            self.unchecked.push(found_in(&why));
        }
    }

    /// What it all comes to; what is not of the states themselves is left for the caller.
    pub fn finish(self, place: Place, seed: u64) -> CrashStates {
        let files = self.files.len();
        let fates: Vec<FileFate> = self.files.into_iter().map(|(.., file)| file).collect();
        let (not_durable, others): (Vec<_>, Vec<_>) = fates.into_iter().partition(|file| file.first.is_some());
        let (mut damaged, mut unchecked) = (self.damaged, self.unchecked);
        damaged.truncate(MOST_REPORTED);
        unchecked.truncate(MOST_REPORTED);
        CrashStates {
            states: self.states,
            different: 0,
            seed,
            place,
            flushes: [0, self.promised],
            changed_bytes: 0,
            overruns: 0,
            seconds_per_state: 0.0,
            files,
            not_durable,
            between: others.into_iter().filter(|file| file.count(Fate::Between) > 0).collect(),
            controls: self.controls.into_iter().map(|(.., control)| control).collect(),
            damaged,
            unchecked,
            missing: Vec::new(),
        }
    }
}

/// What a file is, which was one thing before and another after. `late` is at the power loss or later.
fn fate(was: Option<&String>, is: Option<&String>, seen: &Result<Option<String>, String>, late: bool) -> Fate {
    match seen {
        Err(_) => Fate::Unread,
        Ok(seen) if seen.as_ref() == is => Fate::Kept,
        Ok(seen) if seen.as_ref() == was => Fate::Old,
        // What the workload never changed has nothing in between.
        Ok(_) if !late && was != is => Fate::Between,
        Ok(None) => Fate::Gone,
        Ok(Some(_)) => Fate::Torn,
    }
}

fn is_bad(fate: Fate, same: bool, late: bool) -> bool {
    match fate {
        Fate::Kept => false,
        Fate::Old | Fate::Between => late || same,
        Fate::Gone | Fate::Torn => true,
        // It is reported as a state without an answer.
        Fate::Unread => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { mount: "/".into(), start: 0, length: 1 << 20 }
    }

    fn sum(letter: &str) -> String {
        letter.repeat(64)
    }

    type Seen = Result<Option<String>, String>;

    /// States of one file that was `a` and became `b`, with the controls as they must be.
    fn judged(found: &[(usize, Fsck, Seen)]) -> CrashStates {
        let [before, after] = ["a", "b"].map(|letter| Sums::from([("/srv/state".to_owned(), sum(letter))]));
        let mut judge = Judge::new(&place(), &before, &after, 1);
        assert_eq!(judge.paths(&place()), ["/srv/state", "/boma-qemu-crash/clean", "/boma-qemu-crash/unsynced"]);
        for (n, (after, fsck, seen)) in found.iter().enumerate() {
            let files = vec![seen.clone(), Ok(control_sums("clean").1), Ok(None)];
            let examined = Examined { fsck: *fsck, said: "words".into(), files, seconds: 0.1 };
            judge.take(n, &State { after: *after, kept: Vec::new() }, &examined);
        }
        judge.finish(place(), 7)
    }

    #[test]
    fn a_file_that_is_the_new_one_in_every_state_of_the_loss_and_the_old_or_the_new_one_before_is_durable() {
        let b = || Ok(Some(sum("b")));
        let all = judged(&[(1, Fsck::Sound, b()), (0, Fsck::Sound, Ok(Some(sum("a")))), (2, Fsck::Sound, b())]);
        assert_eq!((all.exit(), all.wrong()), (Exit::Passed, vec![]));
    }

    #[rstest::rstest]
    #[case(Ok(Some(sum("a"))), "as before the workload in 1 of 2")]
    #[case(Ok(Some(sum("c"))), "torn in 1 of 2")]
    #[case(Ok(None), "gone in 1 of 2")]
    fn a_file_that_is_anything_else_at_the_loss_is_named_with_the_state(#[case] seen: Seen, #[case] words: &str) {
        let all = judged(&[(1, Fsck::Sound, Ok(Some(sum("b")))), (1, Fsck::Sound, seen)]);
        assert_eq!(all.exit(), Exit::Verify);
        let wrong = all.wrong();
        assert_eq!(wrong.len(), 1);
        assert!(
            wrong[0].contains("/srv/state") && wrong[0].contains(words) && wrong[0].contains("state 1"),
            "{wrong:?}"
        );
    }

    #[test]
    fn something_in_between_while_the_workload_runs_is_told_and_is_no_fault() {
        let all = judged(&[(0, Fsck::Sound, Ok(Some(sum("c")))), (1, Fsck::Sound, Ok(Some(sum("b"))))]);
        assert_eq!((all.exit(), all.between.len()), (Exit::Passed, 1));
    }

    #[test]
    fn what_the_workload_did_not_touch_must_be_the_same_in_every_state() {
        let same = Sums::from([("/etc/fstab".to_owned(), sum("a"))]);
        let mut judge = Judge::new(&place(), &same, &same, 5);
        let files = vec![Ok(None), Ok(control_sums("clean").0), Ok(None)];
        let examined = Examined { fsck: Fsck::Sound, said: String::new(), files, seconds: 0.1 };
        judge.take(0, &State { after: 0, kept: Vec::new() }, &examined);
        assert_eq!(judge.finish(place(), 1).not_durable[0].count(Fate::Gone), 1);
    }

    #[test]
    fn a_damaged_file_system_is_a_fault_and_one_that_could_not_be_checked_is_never_clean() {
        let b = || Ok(Some(sum("b")));
        let all = judged(&[(1, Fsck::Damaged, b())]);
        assert_eq!(all.exit(), Exit::Verify);
        let all = judged(&[(1, Fsck::Unchecked, b())]);
        assert_eq!(all.exit(), Exit::Lost);
        let all = judged(&[(1, Fsck::Sound, Err("a bad checksum".into()))]);
        assert_eq!(all.exit(), Exit::Lost);
        assert!(all.wrong()[0].contains("a bad checksum"), "{:?}", all.wrong());
    }

    #[test]
    fn without_its_controls_it_has_no_verdict() {
        let found = |clean: Seen, unsynced: Seen| {
            let mut judge = Judge::new(&place(), &Sums::new(), &Sums::new(), 0);
            let examined =
                Examined { fsck: Fsck::Sound, said: String::new(), files: vec![clean, unsynced], seconds: 0.1 };
            judge.take(0, &State { after: 0, kept: Vec::new() }, &examined);
            let all = judge.finish(place(), 1);
            (all.exit(), all.wrong().len())
        };
        let ((old, new), (_, renamed)) = (control_sums("clean"), control_sums("unsynced"));
        assert_eq!(found(Ok(new.clone()), Ok(None)), (Exit::Passed, 0));
        assert_eq!(found(Ok(new.clone()), Ok(Some(sum("e")))), (Exit::Passed, 0), "an empty one is broken, too");
        assert_eq!(found(Ok(old), Ok(None)), (Exit::Lost, 1), "the clean one was not durable");
        assert_eq!(found(Ok(new), Ok(renamed)), (Exit::Lost, 1), "the other one was");
    }
}
