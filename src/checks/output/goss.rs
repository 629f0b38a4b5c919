//! What `goss validate --format json` prints (<https://github.com/goss-org/goss>).

use super::{looked, skipped};
use evidence::playbook::checks::Check;
use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
struct Printed {
    results: Vec<One>,
    summary: Summary,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    test_count: usize,
    failed_count: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct One {
    resource_type: String,
    resource_id: String,
    property: String,
    successful: bool,
    /// 0: as expected, 1: not, 2: skipped.
    result: u8,
    #[serde(default)]
    skipped: bool,
    /// Why it could not be looked at.
    err: Option<IgnoredAny>,
    #[serde(default)]
    summary_line: String,
}

/// The tests; the error is for a text that is not whole.
pub(super) fn read(text: &str) -> Result<Vec<Check>, String> {
    // goss may warn before it begins.
    let begin = text.find('{').ok_or("there is no JSON in what it wrote")?;
    let printed: Printed =
        serde_json::from_str(&text[begin..]).map_err(|error| format!("its JSON is not goss's: {error}"))?;
    let Printed { results, summary } = printed;
    if results.len() != summary.test_count {
        return Err(format!("its JSON says {} tests and has {}", summary.test_count, results.len()));
    }
    let checks: Vec<_> = results.into_iter().map(check).collect();
    match summary.failed_count > 0 && !checks.iter().any(Check::is_red) {
        true => Err(format!("its JSON says {} failures and no test of it failed", summary.failed_count)),
        false => Ok(checks),
    }
}

fn check(one: One) -> Check {
    let id = format!("{} {} {}", one.resource_type, one.resource_id, one.property);
    let said = one.summary_line.as_str();
    match (one.err, one.result) {
        (Some(_), _) => Check::did_not_look(id, format!("it could not look: {}", super::shown(said))),
        (None, 2) => skipped(id, said),
        (None, _) if one.skipped => skipped(id, said),
        (None, 0) if one.successful => looked(id, true, said),
        (None, 1) if !one.successful => looked(id, false, said),
        (None, result) => Check::did_not_look(id, format!("goss says {result}, which is no answer known here: {said}")),
    }
}
