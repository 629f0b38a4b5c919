//! JUnit XML, for the systems that draw it.

use host::visible::{block, line};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
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

/// The XML text of a report, or the serialiser's reason.
pub fn text(name: &str, cases: &[Case]) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new(line(name).into_owned());
    let mut suites: Vec<TestSuite> = Vec::new();
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
        let mut test = TestCase::new(line(&case.name).into_owned(), status);
        if let Some(seconds) = case.seconds {
            test.set_time(Duration::from_secs_f64(seconds.max(0.0)));
        }
        match suites.iter_mut().find(|suite| suite.name.as_str() == suite_name) {
            Some(suite) => {
                suite.add_test_case(test);
            }
            None => {
                let mut suite = TestSuite::new(suite_name.into_owned());
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

    #[test]
    fn a_failed_check_is_a_failure_with_its_reason() {
        let case = |name: &str, failure: Option<&str>| Case {
            suite: "checks".into(),
            name: name.into(),
            seconds: None,
            failure: failure.map(str::to_owned),
            note: None,
        };
        let xml = text("askari", &[case("a", None), case("b", Some("no <answer>"))]).unwrap();
        assert!(xml.contains(r#"tests="2" skipped="0" failures="1""#), "{xml}");
        assert!(xml.contains("no &lt;answer&gt;"), "{xml}");
    }

    #[test]
    fn a_report_hides_nothing_and_drops_nothing() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}\u{7}b".to_owned();
        let failure = Some(hostile.clone());
        let case = Case { suite: hostile.clone(), name: hostile.clone(), seconds: None, failure, note: None };
        let noted = Case { note: case.failure.clone(), failure: None, ..case.clone() };
        let xml = text(&hostile, &[case, noted]).unwrap();
        assert!(!xml.contains(|c| host::visible::is_hidden(c) && c != '\n'), "{xml:?}");
        assert_eq!(xml.matches("a⟨U+001B⟩[2J⟨U+009B⟩31m⟨U+202E⟩⟨U+0007⟩b").count(), 6, "{xml}");
    }
}
