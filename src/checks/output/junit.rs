//! JUnit's XML as many programs write it (pytest, bats, surefire, nextest): there is no standard, so what is read is what they
//! have in common. A test that ended with an error has not come to an answer; one with a failure has.

use super::{looked, skipped};
use evidence::playbook::checks::Check;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// How deep elements may lie in each other.
const DEEPEST: usize = 64;

/// What a suite says of itself, and what was seen of it.
#[derive(Default)]
struct Suite {
    says: [usize; 3],
    seen: [usize; 3],
}

/// What a test's element has in it.
enum End {
    Failure(String),
    Error(String),
    Skipped(String),
    /// It was expected to fail, and did.
    Expected(String),
}

#[derive(Default)]
struct Open {
    /// The elements that are open.
    path: Vec<String>,
    suites: Vec<Suite>,
    test: Option<(String, Option<End>)>,
    checks: Vec<Check>,
    /// Whether there was a root.
    root: bool,
}

/// The tests; the error is for a text that is not whole or says of itself what is not in it.
pub(super) fn read(text: &str) -> Result<Vec<Check>, String> {
    let text = text.trim();
    let said = |error: &dyn std::fmt::Display| format!("its XML cannot be read: {error}");
    let mut reader = Reader::from_str(text);
    let mut open = Open::default();
    loop {
        match reader.read_event().map_err(|error| said(&error))? {
            Event::Start(element) => open.begin(&element)?,
            Event::Empty(element) => {
                open.begin(&element)?;
                open.end()?;
            }
            Event::End(_) => open.end()?,
            Event::Text(text) => open.said(&text.decode().map_err(|error| said(&error))?),
            Event::CData(text) => open.said(&text.decode().map_err(|error| said(&error))?),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::GeneralRef(_) => {}
        }
    }
    match (open.path.last(), open.root) {
        (Some(element), _) => Err(format!("its XML breaks off inside of <{element}>")),
        (None, false) => Err("its XML has no <testsuites> or <testsuite>".into()),
        (None, true) => Ok(open.checks),
    }
}

impl Open {
    fn begin(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        let name = String::from_utf8_lossy(element.local_name().as_ref()).into_owned();
        if self.path.len() == DEEPEST {
            return Err(format!("its XML is deeper than {DEEPEST} elements"));
        }
        let has = |key: &str| attribute(element, key);
        match name.as_str() {
            "testsuites" | "testsuite" if self.test.is_none() => {
                if self.path.is_empty() && std::mem::replace(&mut self.root, true) {
                    return Err("there are two documents in its XML".into());
                }
                let number = |key| has(key).map(|text| text.and_then(|text| text.trim().parse().ok()).unwrap_or(0));
                let says = [number("tests")?, number("failures")?, number("errors")?];
                self.suites.push(Suite { says, ..Suite::default() });
            }
            "testcase" if self.test.is_none() => {
                let own = has("name")?.filter(|name| !name.trim().is_empty()).ok_or("a test in its XML has no name")?;
                let class = has("classname")?.filter(|class| !class.trim().is_empty());
                self.test = Some((class.map_or_else(|| own.clone(), |class| format!("{class}.{own}")), None));
            }
            "testsuites" | "testsuite" | "testcase" => return Err(format!("its XML has a <{name}> inside of a test")),
            kind if self.path.last().is_some_and(|above| above == "testcase") => {
                let said = has("message")?.unwrap_or_default();
                let end = match (kind, has("type")?.as_deref()) {
                    ("failure", _) => Some(End::Failure(said)),
                    ("error", _) => Some(End::Error(said)),
                    ("skipped", Some("pytest.xfail")) => Some(End::Expected(said)),
                    ("skipped", _) => Some(End::Skipped(said)),
                    _ => None,
                };
                if let (Some(end), Some((_, known))) = (end, &mut self.test) {
                    // A test can fail and then break in its teardown: the worst that is known counts.
                    let worse =
                        !matches!((&known, &end), (Some(End::Failure(_)), _) | (Some(End::Error(_)), End::Skipped(_)));
                    if worse {
                        *known = Some(end);
                    }
                }
            }
            _ => {}
        }
        self.path.push(name);
        Ok(())
    }

    /// Text inside of a failure is its reason where it has no message.
    fn said(&mut self, text: &str) {
        let inside = self.path.last().is_some_and(|own| ["failure", "error", "skipped"].contains(&own.as_str()));
        if let (true, Some((_, Some(End::Failure(said) | End::Error(said) | End::Skipped(said))))) =
            (inside, &mut self.test)
            && said.is_empty()
        {
            text.trim().clone_into(said);
        }
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(name) = self.path.pop() else { return Err("its XML ends an element that did not begin".into()) };
        match name.as_str() {
            "testcase" => {
                let Some((id, end)) = self.test.take() else { return Ok(()) };
                if let Some(suite) = self.suites.last_mut() {
                    suite.seen[0] += 1;
                    suite.seen[1] += usize::from(matches!(end, Some(End::Failure(_))));
                    suite.seen[2] += usize::from(matches!(end, Some(End::Error(_))));
                }
                self.checks.push(match end {
                    None => looked(id, true, ""),
                    Some(End::Failure(said)) => looked(id, false, if said.is_empty() { "it failed" } else { &said }),
                    Some(End::Error(said)) => Check::did_not_look(id, format!("it broke: {}", super::shown(&said))),
                    Some(End::Skipped(said)) => skipped(id, &said),
                    Some(End::Expected(said)) => {
                        Check { hint: true, ..looked(id, false, &format!("expected to fail: {said}")) }
                    }
                });
            }
            "testsuites" | "testsuite" => {
                let Some(suite) = self.suites.pop() else { return Ok(()) };
                let Suite { says, seen } = suite;
                if says[0] > seen[0] {
                    return Err(format!("its XML says {} tests and has {}", says[0], seen[0]));
                }
                if says[1] + says[2] > 0 && seen[1] + seen[2] == 0 {
                    return Err(format!("its XML says {} failures and no test of it failed", says[1] + says[2]));
                }
                if let Some(above) = self.suites.last_mut() {
                    above.seen.iter_mut().zip(seen).for_each(|(above, own)| *above += own);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn attribute(element: &BytesStart<'_>, key: &str) -> Result<Option<String>, String> {
    let said = |error: &dyn std::fmt::Display| format!("its XML cannot be read: {error}");
    let found = element.try_get_attribute(key).map_err(|error| said(&error))?;
    let value = found.map(|found| found.normalized_value(XmlVersion::Implicit1_0).map(|value| value.into_owned()));
    value.transpose().map_err(|error| said(&error))
}
