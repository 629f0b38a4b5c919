use super::super::parts::Weight;
use super::*;

const MILESTONES: [&str; 9] =
    ["down", "firmware", "loader", "kernel", "userspace", "lease", "sshd", "settled", "verified"];

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

fn seen(said: &str, must: &str) -> Seen {
    Seen { said: said.into(), must: must.into(), ok: Some(said == must || must.is_empty()) }
}

fn run(mode: &str, number: usize, place: usize) -> RunResult {
    let cut = !matches!(mode, "guest" | "acpi" | "kexec" | "soft-reboot");
    let survived = |yes: bool| if yes { "survived" } else { "lost" };
    let lost = mode == "power-loss";
    let finding = StateFinding {
        id: "sysctl/vm.swappiness".into(),
        section: "sysctl".into(),
        what: "vm.swappiness was set at run time only".into(),
        before: Some("10".into()),
        after: Some("60".into()),
        weight: Weight::Error,
        allowed: None,
        consequences: Vec::new(),
        set_by: None,
    };
    RunResult {
        number,
        place,
        seconds: 80.0 + place as f64,
        evidence: Answer { ok: true, said: format!("{mode}: as its row says"), looked: true },
        at_s: at(mode, 1.0 + 0.03 * number as f64),
        markers: vec![
            seen("survived", "survived"),
            seen(survived(!cut), survived(!cut)),
            seen(survived(!lost), survived(!lost)),
        ],
        unclean: seen(if cut { "journal replayed" } else { "none" }, ""),
        findings: Some(if mode == "soft-reboot" { Vec::new() } else { vec![finding] }),
        checks: vec![CheckRow {
            id: "docker_active".into(),
            hint: false,
            answers: vec![Some(Answer { ok: true, said: "active".into(), looked: true })],
        }],
        wrong: Vec::new(),
        folder: Some(format!("run-{place:02}-{mode}")),
    }
}

/// An experiment whose texts are all this one.
pub(in crate::report::html) fn that_says(text: &str) -> ExperimentPage {
    let t = || text.to_owned();
    let seen = || Seen { said: t(), must: t(), ok: Some(false) };
    let mut page = sample();
    page.modes.truncate(1);
    page.milestones = vec![t()];
    page.markers = vec![t()];
    page.files = vec![FileLink { path: t(), tells: t(), bytes: None }];
    page.leaks = vec![(t(), t())];
    page.facts = vec![Fact { label: t(), value: t() }];
    (page.host, page.command, page.started, page.version) = (t(), t(), t(), t());
    for mode in &mut page.modes {
        (mode.name, mode.how, mode.expected) = (t(), t(), t());
        mode.summary.truncate(1);
        mode.runs.truncate(1);
        for run in &mut mode.runs {
            run.evidence = Answer { ok: false, said: t(), looked: true };
            run.at_s.truncate(1);
            run.markers = vec![seen()];
            run.unclean = seen();
            run.wrong = vec![t()];
            run.folder = Some(t());
            for finding in run.findings.iter_mut().flatten() {
                (finding.id, finding.what, finding.before, finding.after) = (t(), t(), Some(t()), Some(t()));
            }
            for check in &mut run.checks {
                (check.id, check.answers) = (t(), vec![Some(Answer { ok: false, said: t(), looked: true })]);
            }
        }
    }
    page
}

pub(in crate::report::html) fn sample() -> ExperimentPage {
    let names = ["guest", "acpi", "reset", "power-cycle", "power-loss", "panic", "watchdog", "kexec", "soft-reboot"];
    let mode = |(n, name): (usize, &&str)| {
        let runs = vec![run(name, 1, n + 1), run(name, 2, 18 - n)];
        let spread = |m: usize| {
            let (a, b) = (runs[0].at_s[m]?, runs[1].at_s[m]?);
            Some(Spread { n: 2, median_s: f64::midpoint(a, b), min_s: a, max_s: b })
        };
        let summary = (0..MILESTONES.len()).map(spread).collect();
        ModeResult {
            name: (*name).into(),
            how: "how it is done".into(),
            expected: "RESET guest-reset, new boot id".into(),
            runs,
            summary,
        }
    };
    let mut page = ExperimentPage {
        host: "askari".into(),
        command: "experiment askari --runs 2".into(),
        started: "2026-06-17T06:00:00Z".into(),
        version: "0.1.0".into(),
        verdict: Verdict { headline: "PASSED: every mode did what its row says".into(), ..Verdict::default() },
        facts: vec![Fact { label: "seed".into(), value: "42".into() }],
        milestones: MILESTONES.map(str::to_owned).to_vec(),
        markers: ["fsynced", "page cache", "direct"].map(str::to_owned).to_vec(),
        modes: names.iter().enumerate().map(mode).collect(),
        leaks: Vec::new(),
        files: vec![FileLink { path: "experiment.json".into(), tells: "all".into(), bytes: Some(4096) }],
    };
    let bad = &mut page.modes[4].runs[1];
    bad.markers[2] = seen("survived", "lost");
    bad.wrong = vec!["marker/direct: must be lost, is survived".into()];
    bad.at_s[8] = None;
    page
}

fn body_of(page: &ExperimentPage) -> String {
    body(page).into_string()
}

/// The part of the page with this id.
fn only(id: &str, page: &ExperimentPage) -> String {
    let body = body_of(page);
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
    let mut page = sample();
    page.modes[4].summary[8] = Some(Spread { n: 1, median_s: 58.31, min_s: 58.31, max_s: 58.31 });
    let figures = only("figures", &page);
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
    let mut page = ExperimentPage { host: "askari".into(), ..ExperimentPage::default() };
    assert!(body_of(&page).contains("No run was made.") && body_of(&page).contains("The state was not observed."));
    page = sample();
    let clear = |mode: &mut ModeResult| {
        mode.runs.clear();
        mode.summary = vec![None; MILESTONES.len()];
    };
    clear(&mut page.modes[0]);
    assert!(body_of(&page).contains("guest: no milestone was reached"));
    page.modes.iter_mut().for_each(clear);
    assert!(body_of(&page).contains("No run reached a milestone."));
}
