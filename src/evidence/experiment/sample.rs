//! A small experiment, for tests of what is shown of one.

use super::crash::guest::{Place, Sums, control_sums};
use super::crash::{CrashStates, Judge};
use super::expect::{Deviation, of_markers, of_marks};
use super::record::{Experiment, Fates, OneRun};
use super::wanted::Wanted;
use crate::experiment::marks::Kind;
use crate::experiment::{Fate, Mark, Marker, Milestone, Planted};
use crate::observe::Policy;
use crate::verdict::ALIVE;
use host::names::SnapshotName;
use vm::crash::{Examined, Fsck, State};
use vm::reboot::Mode;

fn run(number: usize, mode: Mode, settled: f64, fates: [Fate; 3], marks: Vec<Mark>) -> OneRun {
    let planted = Planted {
        uptime_s: 1.0,
        open_s: 0.04,
        attempts: 1,
        file_system: "ext2/ext3".into(),
        dirty_expire_s: 30.0,
        flushes: Some(7),
    };
    let fates: Vec<_> = Marker::ALL.into_iter().zip(fates).collect();
    let mut run = OneRun::begin(number, 1, mode);
    run.seconds = 2.0 * settled;
    run.milestones.pass(Milestone::Settled, settled);
    run.deviations = of_markers(mode, &fates, "written 0.05 s before asking");
    run.deviations.extend(of_marks(mode, &marks));
    run.markers = Some(Fates { planted, before_asking_s: 0.01, fates });
    run.marks = Some(marks);
    run.checks = Some(Vec::new());
    run
}

/// These modes from the snapshot of `apply`; what the state loses is only reported.
pub fn wanted(modes: &[Mode], runs: usize) -> Wanted {
    Wanted {
        modes: modes.to_vec(),
        runs,
        seed: 1,
        from: SnapshotName::applied(),
        findings: Policy::Report,
        timeout_s: None,
        watch_for: ALIVE,
        crash: None,
    }
}

/// Three of four runs: a good reset, a power-loss that lost nothing, and a reset after which a check failed.
#[allow(clippy::unwrap_used, reason = "literals, and a fixture")]
pub fn experiment() -> Experiment {
    use Fate::{Lost, Survived};
    let record = serde_json::from_str(include_str!("../../../tests/fixtures/record.json")).unwrap();
    let mut all = Experiment::begin(&wanted(&[Mode::Reset, Mode::PowerLoss], 2), &record);
    let replayed = || vec![Mark { kind: Kind::JournalReplayed, line: "EXT4-fs (vda2): recovery complete".into() }];
    all.add(run(1, Mode::Reset, 41.0, [Survived, Lost, Survived], replayed()));
    all.add(run(2, Mode::PowerLoss, 50.0, [Survived, Lost, Survived], Vec::new()));
    let mut bad = run(3, Mode::Reset, 43.0, [Survived, Lost, Survived], replayed());
    bad.deviations.push(Deviation { id: "check/docker".into(), expected: "ok".into(), saw: "dead".into() });
    all.add(bad);
    all
}

/// Twelve crash states, of which one file was durable in none.
pub fn crash() -> CrashStates {
    let place = Place { mount: "/".into(), start: 1 << 20, length: 1 << 30 };
    let sums = |letter: &str| Sums::from([("/srv/app/state".to_owned(), letter.repeat(64))]);
    let mut judge = Judge::new(&place, &sums("a"), &sums("b"), 4);
    for n in 0..12 {
        let seen = if n < 3 { "c" } else { "a" };
        let files = vec![Ok(Some(seen.repeat(64))), Ok(control_sums("clean").1), Ok(None)];
        let found = Examined { fsck: Fsck::Sound, said: "recovering journal".into(), files, seconds: 0.5 };
        judge.take(n, &State { after: 4, kept: vec![(0, 0..n + 1)] }, &found);
    }
    CrashStates {
        different: 12,
        flushes: [5, 4],
        changed_bytes: 1 << 20,
        seconds_per_state: 0.5,
        ..judge.finish(place, 7)
    }
}
