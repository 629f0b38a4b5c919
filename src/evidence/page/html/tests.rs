use super::cycle::*;
use super::experiment::tests::that_says;
use super::parts::*;
use super::*;
use crate::observe::{Across, Diff, Finding, Judged, Look, Section, Severity};
use crate::playbook::checks::Check;
use crate::playbook::events::Recap;
use crate::playbook::reports::{Kind, Report};
use crate::playbook::tried::{Compared, Told};
use crate::record::{BootSeen, CheckMode, Checks, FailedTask, Idempotence, MadeOf, Phase, Playbook, Record};
use host::ledger::Leak;
use vm::timeline::{Timeline, Unit};

/// The record of a run that came to nothing.
fn nothing() -> Record {
    serde_json::from_str(include_str!("../../../../tests/fixtures/record.json")).unwrap()
}

fn check(id: &str, ok: bool, detail: &str) -> Check {
    Check { id: id.into(), ok, hint: false, detail: detail.into(), looked: true }
}

/// A record in which every text that others can write is this one.
fn record_that_says(text: &str) -> Record {
    let t = || text.to_owned();
    let told = || Told { role: t(), task: t(), place: t(), item: t(), said: t() };
    let mut record = nothing();
    (record.started, record.version) = (t(), t());
    let MadeOf { image, accel, qemu, ansible, net, egress, certs, .. } = &mut record.made_of;
    for made in [image, accel, qemu, ansible, net, egress, certs] {
        *made = t();
    }
    record.made_of.extra_vars = vec![t()];
    record.phases = vec![Phase { name: t(), seconds: 3.0, ok: false, outcome: t() }];
    let seen = || BootSeen { console: t(), stages: None, file: None, why: Some(t()) };
    record.boots = vec![seen(), seen()];
    let mut restart = crate::testing::restart();
    (restart.prepared, restart.last_words.journal) = (restart.prepared.into_iter().chain([t()]).collect(), Some(t()));
    restart.settled.system = t();
    (restart.settled.failed_units, restart.settled.restarting) = (vec![t()], vec![t()]);
    restart.settled.activating = vec![t()];
    record.reboot = Some(restart);
    let checks = |when: &str, ok| Checks { when: format!("{when} {text}"), checks: vec![check(text, ok, text)] };
    record.checks = vec![checks("before", true), checks("after", false)];
    record.state = Some(across_that_says(text));
    record.playbooks = vec![Playbook {
        playbook: t().into(),
        ok: false,
        seconds: 1.0,
        if_done_s: None,
        tasks: 1,
        changed: 1,
        recap: Recap { ok: 1, ..Recap::default() },
        failed: vec![FailedTask { task: t(), place: t(), message: t(), went_on: false }],
        reports: vec![Report { kind: Kind::Ended, task: t(), place: t(), message: t() }],
    }];
    record.idempotence = Some(Idempotence { seconds: 1.0, tasks: 1, changed: vec![told()] });
    let compared = Compared { judged: 1, again: vec![told()], unseen: vec![t()], ..Compared::default() };
    record.check_mode = Some(CheckMode::Compared { seconds: 1.0, compared });
    record.leaks = vec![Leak { what: t(), why: t() }];
    record
}

fn across_that_says(text: &str) -> Across {
    let t = || text.to_owned();
    let finding = |severity, consequences| Finding {
        id: t(),
        section: Section::Units,
        what: t(),
        before: Some(t()),
        after: Some(t()),
        severity,
        consequences,
        set_by: None,
    };
    let look = || Look { file: t(), passes: 2, seconds: 9.0, moving: vec![t()] };
    let serious = finding(Severity::Serious, vec![finding(Severity::Minor, Vec::new())]);
    let allowed = vec![(finding(Severity::Minor, Vec::new()), t())];
    Across {
        before: look(),
        after: look(),
        diff: Diff::default(),
        judged: Judged { findings: vec![serious], allowed, unused: vec![t()], ..Judged::default() },
        unseen: [(Section::Units, t())].into(),
        strict: false,
        broken: Vec::new(),
        standing: Vec::new(),
        foretold: Vec::new(),
    }
}

/// The figures of a boot in which every text is this one.
fn timeline_that_says(text: &str) -> Timeline {
    let t = || text.to_owned();
    Timeline {
        boot_id: "6f1e2b1c-8f0e-4f0e-9d59-3a4b5c6d7e8f".parse().unwrap(),
        kernel: t(),
        systemd: t(),
        os: t(),
        stages: vm::timeline::Stages { kernel_s: Some(2.0), ..Default::default() },
        units: vec![Unit { name: t(), at_s: 1.5, took_s: Some(2.5), failed: true }],
        chain: vec![t()],
    }
}

/// The page of a run in which every text is this one, with a change to it.
fn run_with(text: &str, change: impl FnOnce(&mut CyclePage<'_>)) -> String {
    let t = || text.to_owned();
    let record = record_that_says(text);
    let told = |weight, allowed| StateFinding {
        id: t(),
        section: t(),
        what: t(),
        before: Some(t()),
        after: Some(t()),
        weight,
        allowed,
        consequences: Vec::new(),
        set_by: Some(t()),
    };
    let mut state = findings::of(&across_that_says(text));
    state.extend([told(Weight::Error, None), told(Weight::Warning, Some(t())), told(Weight::Note, None)]);
    let mut page = CyclePage {
        record: &record,
        command: t(),
        verdict: Verdict {
            mood: Mood::Bad,
            headline: t(),
            failed_in: Some(t()),
            failure: vec![t()],
            next: vec![t()],
            commands: vec![t()],
            symptoms: vec![format!("{text}!")],
        },
        timelines: vec![Some(timeline_that_says(text)), None],
        state: Some(state),
        console: vec![Highlight {
            part: t(),
            rules: vec![RuleMatch { id: t(), weight: Weight::Critical, means: t() }],
            lines: vec![ConsoleLine { text: t(), matched: true }],
        }],
        console_more: 1,
        files: vec![
            FileLink { path: t(), tells: t(), bytes: Some(1) },
            FileLink { path: t(), tells: String::new(), bytes: None },
        ],
    };
    change(&mut page);
    cycle(&page)
}

fn run_that_says(text: &str) -> String {
    run_with(text, |_| {})
}

/// The page of a record that has nothing beside it.
fn alone(record: &Record, verdict: Verdict) -> CyclePage<'_> {
    CyclePage {
        record,
        command: record.host.to_string(),
        verdict,
        timelines: Vec::new(),
        state: None,
        console: Vec::new(),
        console_more: 0,
        files: Vec::new(),
    }
}

/// What is left of a page when the texts of others are taken out: the tags.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|piece| piece.split('>').next().unwrap()).collect()
}

/// The tags without what stands in quotes.
fn skeleton(page: &str) -> Vec<String> {
    let value = |(n, piece): (usize, &str)| if n % 2 == 0 { piece.to_owned() } else { String::new() };
    tags(page).into_iter().map(|tag| tag.split('"').enumerate().map(value).collect()).collect()
}

#[test]
fn no_text_of_others_becomes_markup_or_leaves_the_page() {
    let pages = |text: &str| [run_that_says(text), that_says(text)];
    let calm = pages("calm");
    for hostile in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</style><script>x</script><!--",
        "&lt;b&gt; &#60;b&#62;",
        "javascript:alert(1)",
        "\u{1b}[31mred\u{1b}]8;;file:///etc/passwd\u{7}",
        "\u{202e}moor\u{202c}\u{200f}\u{feff}",
        "\u{fffd}\u{0}\u{8}",
    ] {
        for (page, calm) in pages(hostile).iter().zip(&calm) {
            // The very same elements with the very same attributes.
            assert!(skeleton(page) == skeleton(calm), "{hostile:?}");
            assert!(!page.contains("<script") && !page.contains("<img"), "{hostile:?}");
            let reorders = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{200f}' | '\u{feff}');
            assert!(!page.contains(|c: char| (c.is_control() && c != '\n') || reorders(c)), "{hostile:?}");
        }
    }
}

#[test]
fn a_page_needs_no_other_file_and_no_network() {
    for page in [run_that_says("calm"), that_says("calm")] {
        for bad in ["http://", "https://", "src=", "url(", "@import", "<link", "<script", "<iframe", "srcset", "//"] {
            assert!(!page.contains(bad), "{bad} is in the page");
        }
        for tag in tags(&page).iter().filter(|tag| tag.contains("href=")) {
            let target = tag.split("href=\"").nth(1).unwrap();
            assert!(target.starts_with("#") || target.starts_with("./"), "{tag}");
        }
        assert!(page.contains("default-src 'none'"));
    }
}

#[test]
fn a_very_long_line_is_cut_and_says_so() {
    let page = run_that_says(&"x".repeat(100_000));
    assert!(page.contains("more characters"));
    let shown = page.len();
    // Labels and names of our own are shown whole: what others say is not.
    let console = run_with("calm", |page| {
        page.console[0].lines[0].text = "y".repeat(100_000);
        page.verdict.failure = vec!["y".repeat(100_000)];
    });
    assert!(console.len() < 60_000, "{shown}");
}

#[test]
fn a_run_that_came_to_nothing_has_a_page_that_says_so() {
    let verdict = Verdict {
        headline: "NO VERDICT: askari (exit 3): the harness, not the host".into(),
        failure: vec!["/dev/net/tun cannot be opened".into()],
        next: vec!["Run `boma-qemu doctor`.".into()],
        ..Verdict::default()
    };
    let page = cycle(&alone(&nothing(), verdict));
    for words in [
        "NO VERDICT",
        "/dev/net/tun cannot be opened",
        "<code>boma-qemu doctor</code>",
        "The run did not get to its checks.",
        "No restart is proved in this run.",
        "No boot came far enough to be asked for its figures.",
        "No playbook was run.",
    ] {
        assert!(page.contains(words), "{words:?} is not in\n{page}");
    }
}

#[test]
fn what_is_drawn_is_said_in_words_too() {
    let page = run_that_says("calm");
    let tags = tags(&page);
    for tag in &tags {
        if tag.starts_with("svg") {
            assert!(tag.contains("aria-hidden") || tag.contains("aria-label"), "{tag}");
        }
        if *tag == "th" || tag.starts_with("th ") {
            assert!(tag.contains("scope=") || tag.contains("class=\"bar\""), "{tag}");
        }
    }
    assert_eq!(tags.iter().filter(|tag| tag.starts_with("h1")).count(), 1);
    // Each colour has its word.
    for word in ["failed", "broken by the restart", "critical", "error", "warning"] {
        assert!(page.contains(word), "{word}");
    }
}

#[test]
fn a_check_that_did_not_look_is_shown_as_such_and_all_do_not_hold() {
    let look = |looked, hint| Check { hint, looked, ..check(if hint { "chain" } else { "port" }, looked, "why") };
    let checks =
        |when: &str, looked| Checks { when: when.into(), checks: vec![look(looked, false), look(looked, true)] };
    let mut record = nothing();
    record.checks = vec![checks("before the reboot", true), checks("after the reboot", false)];
    let body = cycle::body(&alone(&record, Verdict::default())).into_string();
    assert_eq!(body.matches("? </span>did not look").count(), 2, "{body}");
    assert!(body.contains("pill bad\">did not look") && body.contains("pill warn\">did not look"));
    assert!(!body.contains("all hold") && !body.contains("broken by the restart"));
}

#[test]
fn a_check_says_what_the_reboot_did_to_it() {
    let all = [
        ("port", Some(true), false),
        ("disk", Some(false), true),
        ("mail", Some(false), false),
        ("new", None, false),
        ("docker", Some(true), true),
    ];
    let before = all.iter().filter_map(|(id, before, _)| Some(check(id, (*before)?, "")));
    let after = all.iter().map(|(id, _, after)| check(id, *after, ""));
    let checks = |when: &str, checks| Checks { when: when.into(), checks };
    let mut record = nothing();
    record.checks = vec![checks("before the reboot", before.collect()), checks("after the reboot", after.collect())];
    let body = cycle::body(&alone(&record, Verdict::default())).into_string();
    let after = |id: &str| {
        let from = body.split(&format!("<code>{id}</code>")).nth(1).unwrap();
        from.split("</tr>").next().unwrap().to_owned()
    };
    assert!(after("port").contains("broken by the restart"));
    assert!(after("disk").contains("mended by the restart"));
    assert!(after("mail").contains("failed already"));
    assert!(after("new").contains("not run") && after("new").contains("fails"));
    assert!(after("docker").contains("holds"));
    assert!(body.contains("1 of 5 broken by the restart"));
}
