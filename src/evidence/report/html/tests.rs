use super::cycle::*;
use super::experiment::tests::that_says;
use super::parts::*;
use super::*;

/// A page of a run in which every text is this one.
fn run_that_says(text: &str) -> CyclePage {
    let t = || text.to_owned();
    let unit = || Unit { name: t(), at_s: 1.5, took_s: 2.5, failed: true };
    let finding = |weight, allowed| StateFinding {
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
    CyclePage {
        host: t(),
        command: t(),
        started: t(),
        version: t(),
        verdict: Verdict {
            mood: Mood::Bad,
            headline: t(),
            failed_in: Some(t()),
            failure: vec![t()],
            next: vec![t()],
            commands: vec![t()],
            symptoms: vec![format!("{text}!")],
        },
        facts: vec![Fact { label: t(), value: t() }],
        phases: vec![Phase { name: t(), seconds: 3.0, ok: false, outcome: t() }],
        boots: vec![
            Boot {
                when: t(),
                boot_id: t(),
                system: t(),
                stages: vec![(t(), 2.0)],
                units: vec![unit()],
                chain: vec![unit()],
                missing: None,
            },
            Boot { missing: Some(t()), ..Boot::default() },
        ],
        proof: Some(Proof {
            mode: t(),
            boot_ids: (t(), t()),
            witnesses: vec![Witness { at_s: Some(1.0), who: t(), said: t() }],
            milestones: vec![(t(), 1.0)],
            settled: t(),
            failed_units: vec![t()],
            restarting: vec![t()],
            activating: vec![t()],
        }),
        check_times: vec![t(), t()],
        first_after: Some(1),
        checks: vec![CheckRow {
            id: t(),
            hint: false,
            answers: vec![
                Some(Answer { ok: true, said: t(), looked: true }),
                Some(Answer { ok: false, said: t(), looked: true }),
            ],
        }],
        state: Some(vec![
            finding(Weight::Error, None),
            finding(Weight::Warning, Some(t())),
            finding(Weight::Note, None),
        ]),
        state_notes: vec![t()],
        console: vec![Highlight {
            part: t(),
            rules: vec![RuleMatch { id: t(), weight: Weight::Critical, means: t() }],
            lines: vec![ConsoleLine { text: t(), matched: true }],
        }],
        console_more: 1,
        playbooks: vec![Playbook {
            name: t(),
            seconds: 1.0,
            recap: vec![(t(), 1)],
            ok: false,
            failed: vec![FailedTask { task: t(), place: t(), message: t(), went_on: false }],
            reports: vec![Report { kind: t(), task: t(), place: t(), message: t() }],
        }],
        passes: Some(Passes {
            short: vec![t()],
            looked: true,
            wrong: vec![(t(), vec![PassTask { name: t(), place: t(), said: t() }])],
            told: vec![(t(), vec![PassTask { name: t(), place: t(), said: String::new() }])],
        }),
        leaks: vec![(t(), t())],
        files: vec![
            FileLink { path: t(), tells: t(), bytes: Some(1) },
            FileLink { path: t(), tells: String::new(), bytes: None },
        ],
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
    let pages = |text: &str| [cycle(&run_that_says(text)), experiment(&that_says(text))];
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
    for page in [cycle(&run_that_says("calm")), experiment(&that_says("calm"))] {
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
    let page = cycle(&run_that_says(&"x".repeat(100_000)));
    assert!(page.contains("more characters"));
    let shown = page.len();
    // Labels and names of our own are shown whole: what others say is not.
    let mut console = run_that_says("calm");
    console.console[0].lines[0].text = "y".repeat(100_000);
    console.verdict.failure = vec!["y".repeat(100_000)];
    assert!(cycle(&console).len() < 60_000, "{shown}");
}

#[test]
fn a_run_that_came_to_nothing_has_a_page_that_says_so() {
    let verdict = Verdict {
        headline: "NO VERDICT: askari (exit 3): the harness, not the host".into(),
        failure: vec!["/dev/net/tun cannot be opened".into()],
        next: vec!["Run `boma-qemu doctor`.".into()],
        ..Verdict::default()
    };
    let page = cycle(&CyclePage { host: "askari".into(), verdict, ..CyclePage::default() });
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
    let page = cycle(&run_that_says("calm"));
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
    let answer = |looked| Some(Answer { ok: looked, said: "why".into(), looked });
    let row = |id: &str, hint| CheckRow { id: id.into(), hint, answers: vec![answer(true), answer(false)] };
    let page = CyclePage {
        check_times: vec!["before the reboot".into(), "after the reboot".into()],
        first_after: Some(1),
        checks: vec![row("port", false), row("chain", true)],
        ..CyclePage::default()
    };
    let body = cycle::body(&page).into_string();
    assert_eq!(body.matches("? </span>did not look").count(), 2, "{body}");
    assert!(body.contains("pill bad\">did not look") && body.contains("pill warn\">did not look"));
    assert!(!body.contains("all hold") && !body.contains("broken by the restart"));
}

#[test]
fn a_check_says_what_the_reboot_did_to_it() {
    let row = |id: &str, before: Option<bool>, after: bool| {
        let answer = |ok| Answer { ok, said: String::new(), looked: true };
        CheckRow { id: id.into(), hint: false, answers: vec![before.map(answer), Some(answer(after))] }
    };
    let page = CyclePage {
        check_times: vec!["before the reboot".into(), "after the reboot".into()],
        first_after: Some(1),
        checks: vec![
            row("port", Some(true), false),
            row("disk", Some(false), true),
            row("mail", Some(false), false),
            row("new", None, false),
            row("docker", Some(true), true),
        ],
        ..CyclePage::default()
    };
    let body = cycle::body(&page).into_string();
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
