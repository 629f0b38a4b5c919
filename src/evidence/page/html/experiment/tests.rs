use super::*;
use crate::experiment::expect::Deviation;
use crate::experiment::marks::Kind;
use crate::experiment::record::Fates;
use crate::experiment::sample::wanted;
use crate::experiment::{Fate, Mark, Marker, Milestone, Planted, Wanted};
use crate::observe::{Across, Diff, Finding, Judged, Look, Section, Severity};
use crate::playbook::checks::Check;
use host::failure::Failure;
use host::ledger::Leak;
use vm::reboot::Mode;

/// What the modes of a real machine did, about; seconds from asking.
fn at(mode: &str, slower: f64) -> Vec<Option<f64>> {
    let times: [f64; 9] = match mode {
        "guest" => [3.4, 3.5, 5.2, 6.1, 9.8, 22.4, 41.0, 52.7, 58.3],
        "acpi" => [4.1, 4.2, 5.9, 6.8, 10.4, 23.0, 42.2, 54.0, 59.1],
        "reset" => [0.1, 0.2, 1.9, 2.8, 6.6, 19.7, 38.5, 50.1, 56.0],
        "panic" => [0.4, 10.6, 12.4, 13.3, 17.0, 30.2, 49.5, 61.0, 66.8],
        "kexec" => [3.9, -1.0, -1.0, 4.6, 8.3, 20.7, 39.6, 51.2, 57.0],
        "soft-reboot" => [3.1, -1.0, -1.0, -1.0, 3.3, 9.9, 14.4, 22.0, 27.5],
        _ => [0.5, 0.6, 2.4, 3.3, 7.1, 20.3, 39.1, 50.9, 56.6],
    };
    times.into_iter().map(|t| (t >= 0.0).then_some(t * slower)).collect()
}

fn check(id: &str, ok: bool, detail: &str) -> Check {
    Check { id: id.into(), ok, hint: false, detail: detail.into(), looked: true }
}

/// What a restart cost, with one text for all that is said of it.
fn lost(findings: &[(&str, &str)]) -> Across {
    let look = || Look { file: "f".into(), passes: 2, seconds: 9.0, moving: Vec::new() };
    let finding = |(id, what): &(&str, &str)| Finding {
        id: (*id).into(),
        section: Section::Sysctl,
        what: (*what).into(),
        before: Some("10".into()),
        after: Some("60".into()),
        severity: Severity::Serious,
        consequences: Vec::new(),
        set_by: None,
    };
    Across {
        before: look(),
        after: look(),
        diff: Diff::default(),
        judged: Judged { findings: findings.iter().map(finding).collect(), ..Judged::default() },
        unseen: [].into(),
        strict: false,
        broken: Vec::new(),
        standing: Vec::new(),
        foretold: Vec::new(),
    }
}

fn planted() -> Planted {
    let file_system = "ext2/ext3".into();
    Planted { uptime_s: 1.0, open_s: 0.04, attempts: 1, file_system, dirty_expire_s: 30.0, flushes: Some(7) }
}

fn run(mode: Mode, number: usize, place: usize) -> OneRun {
    let cut = !matches!(mode, Mode::Guest | Mode::Acpi | Mode::Kexec | Mode::SoftReboot);
    let survived = |yes: bool| if yes { Fate::Survived } else { Fate::Lost };
    let fates = [survived(true), survived(!cut), survived(mode != Mode::PowerLoss)];
    let mut run = OneRun::begin(place, number, mode);
    run.seconds = 80.0 + place as f64;
    run.restart = Some(crate::testing::restart());
    for (milestone, at) in Milestone::ALL.into_iter().zip(at(mode.name(), 1.0 + 0.03 * number as f64)) {
        at.into_iter().for_each(|at| run.milestones.pass(milestone, at));
    }
    let fates = Marker::ALL.into_iter().zip(fates).collect();
    run.markers = Some(Fates { planted: planted(), before_asking_s: 0.01, fates });
    let mark = Mark { kind: Kind::JournalReplayed, line: "recovery complete".into() };
    run.marks = Some(if cut { vec![mark] } else { Vec::new() });
    let finding = ("sysctl/vm.swappiness", "vm.swappiness was set at run time only");
    run.state = Some(lost(if mode == Mode::SoftReboot { &[] } else { std::slice::from_ref(&finding) }));
    run.checks = Some(vec![check("docker_active", true, "active")]);
    run
}

/// The page of an experiment with one run in which every text that others can write is this one.
pub(in crate::page::html) fn that_says(text: &str) -> String {
    let t = || text.to_owned();
    let mut one = run(Mode::Guest, 1, 1);
    one.folder = t();
    one.state = Some(lost(&[(text, text)]));
    one.checks = Some(vec![check(text, false, text)]);
    one.deviations = vec![Deviation { id: t(), expected: t(), saw: t() }];
    let mut all = begin(vec![Mode::Guest]);
    (all.started, all.version) = (t(), t());
    (all.made_of.image, all.made_of.accel, all.made_of.qemu, all.made_of.net) = (t(), t(), t(), t());
    all.add(one);
    all.leaks = vec![Leak { what: t(), why: t() }];
    all.fail(Failure::new(Exit::Guest, t()).next(t()));
    let files = vec![FileLink { path: t(), tells: t(), bytes: None }];
    super::super::experiment(&ExperimentPage { all: &all, command: t(), files })
}

fn begin(modes: Vec<Mode>) -> Experiment {
    let record = serde_json::from_str(include_str!("../../../../../tests/fixtures/record.json")).unwrap();
    Experiment::begin(&Wanted { seed: 42, ..wanted(&modes, 2) }, &record)
}

fn sample() -> Experiment {
    let mut all = begin(Mode::ALL.to_vec());
    let of = |(n, mode): (usize, Mode)| [run(mode, 1, n + 1), run(mode, 2, 18 - n)];
    let mut runs: Vec<_> = Mode::ALL.into_iter().enumerate().flat_map(of).collect();
    runs.sort_by_key(|run| run.number);
    let bad = runs.iter_mut().find(|run| run.mode == Mode::PowerLoss && run.round == 2).unwrap();
    bad.markers.as_mut().unwrap().fates[2].1 = Fate::Survived;
    bad.deviations = vec![Deviation { id: "marker/direct".into(), expected: "lost".into(), saw: "survived".into() }];
    bad.milestones = Default::default();
    for (milestone, at) in Milestone::ALL.into_iter().zip(at("power-loss", 1.06)).take(8) {
        at.into_iter().for_each(|at| bad.milestones.pass(milestone, at));
    }
    runs.into_iter().for_each(|run| all.add(run));
    all
}

fn body_of(all: &Experiment) -> String {
    body(&ExperimentPage { all, command: "experiment askari --runs 2".into(), files: Vec::new() }).into_string()
}

/// The part of the page with this id.
fn only(id: &str, all: &Experiment) -> String {
    let body = body_of(all);
    let from = body.split(&format!("id=\"{id}\"")).nth(1).unwrap();
    from.split("</section>").next().unwrap().to_owned()
}

#[test]
fn runs_that_agree_are_told_once_and_runs_that_differ_each() {
    let matrix = only("findings", &sample());
    let row = |mode: &str| {
        let from = matrix.split(&format!("<th scope=\"row\">{mode}</th>")).nth(1).unwrap();
        from.split("</tr>").next().unwrap().to_owned()
    };
    assert!(row("reset").contains("lost") && !row("reset").contains("of 2"));
    assert!(row("power-loss").contains("survived, must be lost") && row("power-loss").contains("1 of 2"));
    assert!(row("soft-reboot").contains("nothing lost"));
}

#[test]
fn every_lane_is_said_in_words_and_a_milestone_that_a_mode_has_not_is_left_out() {
    let time = only("time", &sample());
    assert!(time.contains("aria-label=\"guest, medians of 2 runs: down after 3.55 s, firmware after"), "{time}");
    let soft = time.split("aria-label=\"soft-reboot").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(soft.contains("userspace after") && !soft.contains("firmware") && !soft.contains("kernel"), "{soft}");
    assert_eq!(time.matches("✗").count(), 1, "the run that was not as it must be has its cross");
}

#[test]
fn figures_tell_the_median_the_spread_and_of_how_many_runs() {
    let figures = only("figures", &sample());
    assert!(figures.contains("3.6<div class=\"small soft\">3.5–3.6</div>"), "{figures}");
    assert!(figures.contains("58.3<div class=\"small warn\">1 of 2</div>"), "{figures}");
    let soft = figures.split("soft-reboot").nth(1).unwrap();
    assert_eq!(soft.matches("–</span>").count(), 3, "firmware, loader and kernel");
}

#[test]
fn a_finding_is_told_once_with_the_modes_that_showed_it() {
    let state = only("state", &sample());
    assert_eq!(state.matches("sysctl/vm.swappiness").count(), 1);
    assert!(state.contains("in guest 2 of 2, acpi 2 of 2") && !state.contains("soft-reboot"));
}

#[test]
fn runs_are_told_in_the_order_in_which_they_were_made() {
    let runs = only("runs", &sample());
    let places: Vec<_> = ["./run-01-guest", "./run-02-acpi", "./run-17-acpi", "./run-18-guest"]
        .map(|folder| runs.find(folder).unwrap())
        .to_vec();
    assert!(places.is_sorted(), "{places:?}");
    assert!(runs.contains("marker/direct: must be lost, is survived"));
}

#[test]
fn an_experiment_without_a_single_run_has_a_page_that_says_so() {
    let nothing = body_of(&begin(vec![Mode::Guest]));
    assert!(nothing.contains("No run was made.") && nothing.contains("The state was not observed."));
    let mut all = sample();
    all.runs.retain(|run| run.mode != Mode::Guest);
    all.figures[0].milestones.clear();
    assert!(body_of(&all).contains("guest: no milestone was reached"));
    all.runs.clear();
    all.figures.iter_mut().for_each(|figures| figures.milestones.clear());
    assert!(body_of(&all).contains("No run reached a milestone."));
}

#[test]
fn what_is_not_as_it_must_be_is_shown_beside_what_it_must_be() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(dir.path()).unwrap();
    std::fs::write(folder.join("started"), "2026-11-21T10:00:00Z\nexperiment askari --modes reset\n").unwrap();
    let all = crate::experiment::sample::experiment();
    let page = of(&all, folder);
    assert_eq!(page.command, "experiment askari --modes reset");
    let verdict = verdict(&all);
    assert_eq!((verdict.mood, verdict.failed_in.as_deref()), (Mood::Bad, Some("run 2 (power-loss)")));
    let modes = modes(&all);
    let (reset, loss) = (&modes[0].runs, &modes[1].runs);
    let told = |seen: matrix::Seen| (seen.said, seen.must, seen.ok);
    let written = |run, n: usize| told(matrix::written(run, Marker::ALL[n]));
    assert_eq!(written(reset[0].run, 1), ("lost".into(), "lost".into(), Some(true)));
    assert_eq!(written(loss[0].run, 2), ("survived".into(), "lost".into(), Some(false)));
    let unclean = |run| told(matrix::unclean(run));
    assert_eq!(unclean(reset[0].run), ("journal replayed".into(), "journal replayed".into(), Some(true)));
    assert_eq!(unclean(loss[0].run), ("none".into(), "journal replayed".into(), Some(false)));
    assert_eq!((reset[1].number, reset[1].run.number), (2, 3));
    assert_eq!(reset[1].run.wrong(), ["check/docker: must be ok, is dead"]);
    let settled = modes[0].figures.milestones[&Milestone::Settled];
    let spread = settled.spread.unwrap();
    assert_eq!((settled.n, settled.median, spread.min, spread.max), (2, 42.0, 41.0, 43.0));
    assert!(super::super::experiment(&page).contains("power-loss"));
}

#[test]
fn the_files_that_were_not_durable_are_on_the_page_and_in_the_verdict() {
    let mut all = sample();
    assert!(!body_of(&all).contains("Crash states"));
    all.add_crash(crate::experiment::sample::crash());
    let told = only("crash", &all);
    assert!(told.contains("/srv/app/state") && told.contains("torn 3") && told.contains("(control)"), "{told}");
    assert!(
        crate::experiment::why(&all)
            .unwrap()
            .to_string()
            .contains("/srv/app/state: as before the workload in 9, torn in 3")
    );
    let cases = crate::page::cases::of_experiment(&all);
    assert!(cases.iter().any(|case| case.suite == "crash states" && case.failure.is_some()));
}
