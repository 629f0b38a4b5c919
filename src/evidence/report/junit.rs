//! JUnit XML, for the systems that draw it.

use camino::Utf8PathBuf;
use host::visible::{block, line};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::collections::HashMap;
use std::time::Duration;

/// One line of the report: a phase or a check.
#[derive(Clone, Debug)]
pub struct Case {
    /// The suite it belongs to (`phases`, `checks before the reboot`, …).
    pub suite: String,
    /// Its name.
    pub name: String,
    /// How long it took, where that is known.
    pub seconds: Option<f64>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// What is to be read although nothing failed: shown as a case that was skipped.
    pub note: Option<String>,
}

/// What is said of a report as a whole.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Its name: the program, and what it was about.
    pub name: String,
    /// What it was made with, by name.
    pub properties: Vec<(&'static str, String)>,
    /// Files to look at where a case failed.
    pub attachments: Vec<Utf8PathBuf>,
}

/// The XML text of a report, or the serialiser's reason.
///
/// Readers of several files keep one case of each `classname` and `name` (GitLab the first, Jenkins the last): each pair is
/// there once, or a check that is red after the reboot would hide behind the same check before it.
pub fn text(about: &About, cases: &[Case]) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new(line(&about.name).into_owned());
    let class = line(&about.name).replace(' ', ".");
    let mut suites: Vec<TestSuite> = Vec::new();
    let mut seen: HashMap<(String, String), usize> = HashMap::new();
    // The library drops what XML cannot hold; here it is seen.
    for case in cases {
        let suite_name = line(&case.suite);
        let status = match (&case.failure, &case.note) {
            (None, None) => TestCaseStatus::success(),
            (Some(why), _) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(block(why).into_owned());
                status
            }
            (None, Some(note)) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(block(note).into_owned());
                status
            }
        };
        let mut case_name = line(&case.name).into_owned();
        let count = seen.entry((suite_name.to_string(), case_name.clone())).or_default();
        *count += 1;
        if *count > 1 {
            case_name = format!("{case_name} ({count})");
        }
        let mut test = TestCase::new(case_name, status);
        test.set_classname(format!("{class}.{suite_name}"));
        if case.failure.is_some() && !about.attachments.is_empty() {
            let attached = about.attachments.iter().map(|path| format!("[[ATTACHMENT|{}]]", line(path.as_str())));
            test.set_system_out(attached.collect::<Vec<_>>().join("\n"));
        }
        if let Some(seconds) = case.seconds {
            test.set_time(Duration::from_secs_f64(seconds.max(0.0)));
        }
        match suites.iter_mut().find(|suite| suite.name.as_str() == suite_name) {
            Some(suite) => {
                suite.add_test_case(test);
            }
            None => {
                let mut suite = TestSuite::new(suite_name.into_owned());
                for (name, value) in &about.properties {
                    suite.add_property((*name, line(value).as_ref()));
                }
                suite.add_test_case(test);
                suites.push(suite);
            }
        }
    }
    report.add_test_suites(suites);
    report.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(name: &str) -> About {
        About { name: name.into(), ..About::default() }
    }

    /// How GitLab reads a report: of each classname and name it keeps the first case.
    fn read_by_gitlab(xml: &str) -> HashMap<(String, String), bool> {
        let attribute = |case: &str, name: &str| {
            let rest = &case[case.find(&format!(" {name}=\"")).unwrap() + name.len() + 3..];
            rest[..rest.find('"').unwrap()].to_owned()
        };
        let mut kept = HashMap::new();
        for case in xml.split("<testcase").skip(1) {
            let key = (attribute(case, "classname"), attribute(case, "name"));
            kept.entry(key).or_insert(case.split("</testcase>").next().unwrap().contains("<failure"));
        }
        kept
    }

    #[test]
    fn a_reader_that_keeps_one_case_of_each_name_loses_nothing_of_a_red_run() {
        let case = |suite: &str, red: bool| Case {
            suite: suite.into(),
            name: "port".into(),
            seconds: None,
            failure: red.then(|| "timed out".to_owned()),
            note: None,
        };
        let all = [case("checks before", false), case("checks after", true), case("checks after", false)];
        let about = About {
            name: "boma-qemu askari".into(),
            properties: vec![("image", "debian-13".into())],
            attachments: vec!["/r/report.html".into()],
        };
        let xml = text(&about, &all).unwrap();
        let kept = read_by_gitlab(&xml);
        assert_eq!((kept.len(), kept.values().filter(|red| **red).count()), (3, 1), "{xml}");
        assert!(kept[&("boma-qemu.askari.checks after".to_owned(), "port".to_owned())]);
        assert!(
            xml.contains("[[ATTACHMENT|/r/report.html]]") && xml.contains(r#"name="image" value="debian-13""#),
            "{xml}"
        );
    }

    #[test]
    fn a_failed_check_is_a_failure_with_its_reason() {
        let case = |name: &str, failure: Option<&str>| Case {
            suite: "checks".into(),
            name: name.into(),
            seconds: None,
            failure: failure.map(str::to_owned),
            note: None,
        };
        let xml = text(&about("askari"), &[case("a", None), case("b", Some("no <answer>"))]).unwrap();
        assert!(xml.contains(r#"tests="2" skipped="0" failures="1""#), "{xml}");
        assert!(xml.contains("no &lt;answer&gt;"), "{xml}");
    }

    #[test]
    fn a_report_hides_nothing_and_drops_nothing() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}\u{7}b".to_owned();
        let failure = Some(hostile.clone());
        let case = Case { suite: hostile.clone(), name: hostile.clone(), seconds: None, failure, note: None };
        let noted = Case { note: case.failure.clone(), failure: None, ..case.clone() };
        let xml = text(&about(&hostile), &[case, noted]).unwrap();
        assert!(!xml.contains(|c| host::visible::is_hidden(c) && c != '\n'), "{xml:?}");
        assert_eq!(xml.matches("a⟨U+001B⟩[2J⟨U+009B⟩31m⟨U+202E⟩⟨U+0007⟩b").count(), 10, "{xml}");
    }
}
