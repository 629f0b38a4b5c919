//! The conditions of a profile's text, each read whatever the others are.
//!
//! Fuzzed as `audit_profile`.

use super::condition::Condition;
use super::probe::Probe;
use crate::form::names::keys;
use crate::form::{Form, named, tagged};
use serde_json::value::RawValue;

/// A condition, whatever the others are.
pub(super) fn condition<'t>(form: &mut Form<'t>, raw: &'t RawValue, number: usize) -> Option<Condition> {
    let what = format!("condition {number}");
    let what = named(raw, "id").unwrap_or(what);
    let object = form.object(raw, &what, keys::<Condition>())?;
    let (id, phase) = (object.need(form, &what, "id"), object.need(form, &what, "phase"));
    let (said, hint) = (object.need(form, &what, "what"), object.need(form, &what, "hint"));
    let probe = match object.get("probe") {
        Some(raw) => tagged::<Probe>(form, raw, &what),
        None => object.need(form, &what, "probe"),
    };
    let severity = object.may(form, &what, "severity");
    let (after, when) = (object.may(form, &what, "after"), object.may(form, &what, "when"));
    let limit = object.may(form, &what, "limit");
    Some(Condition {
        id: id?,
        phase: phase?,
        what: said?,
        probe: probe?,
        severity: severity?,
        hint: hint?,
        after: after?,
        when: when?,
        limit: limit?,
    })
}
