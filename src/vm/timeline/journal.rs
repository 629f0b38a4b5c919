//! What systemd wrote into the journal while it booted: when each unit was started, and how that ended.
//!
//! The journal is read and not systemd's properties, for two reasons. One read of it costs what asking for
//! a few units costs, and asking for all of them takes an emulated CPU many seconds. And it still knows the
//! units that have ended since, which `systemctl show` has forgotten.
//! Field names and message ids: systemd.journal-fields(7), `journalctl --catalog --list`.

use serde::Deserialize;

/// "A start job for unit … has begun execution".
const STARTING: &str = "7d4958e842da4a758f6c1cdc7b36dcc5";
/// "A start job for unit … has finished successfully".
const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
/// "A start job for unit … has finished with a failure".
const FAILED: &str = "be02cf6855d2428ba40df7e9d022f03d";

/// The first words of systemd's messages about a start job that begins, that ended well and that failed (its
/// unit types' `status_message_formats`). Before journald runs, the words are all that there is.
const BEGIN: [&str; 4] = ["Starting ", "Mounting ", "Activating swap ", "Expecting device "];
const END: [&str; 9] = [
    "Started ",
    "Finished ",
    "Mounted ",
    "Reached target ",
    "Listening on ",
    "Activated swap ",
    "Found device ",
    "Created slice ",
    "Set up automount ",
];
const FAIL: [&str; 8] = [
    "Failed to start ",
    "Failed to mount ",
    "Failed to listen on ",
    "Failed to activate swap ",
    "Dependency failed for ",
    "Timed out starting ",
    "Timed out mounting ",
    "Timed out waiting for device ",
];

/// What became of a start job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Begun,
    Done,
    Failed,
}

/// One step of one unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Note {
    /// Seconds since the kernel's start.
    pub(super) at_s: f64,
    pub(super) unit: String,
    pub(super) step: Step,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "__MONOTONIC_TIMESTAMP")]
    noticed: String,
    /// The sender's own clock; only entries that came through the kernel have it.
    #[serde(rename = "_SOURCE_MONOTONIC_TIMESTAMP")]
    sent: Option<String>,
    #[serde(rename = "MESSAGE_ID")]
    id: Option<String>,
    #[serde(rename = "UNIT")]
    unit: Option<String>,
    /// Text; or a list of bytes, where it is not UTF-8.
    #[serde(rename = "MESSAGE")]
    message: Option<serde_json::Value>,
}

/// The steps in a journal as JSON lines. A line that is none of systemd's about a unit is left out.
pub(super) fn notes(journal: &str) -> Vec<Note> {
    journal.lines().filter_map(|line| note(&serde_json::from_str(line).ok()?)).collect()
}

fn note(entry: &Entry) -> Option<Note> {
    let micros: f64 = entry.sent.as_deref().unwrap_or(&entry.noticed).parse().ok()?;
    let text = entry.message.as_ref().and_then(|message| message.as_str()).unwrap_or_default();
    let (unit, step) = match (&entry.id, &entry.unit) {
        (Some(id), Some(unit)) => (unit.clone(), by_id(id)?),
        (None, None) => by_words(text)?,
        _ => return None,
    };
    Some(Note { at_s: micros / 1e6, unit, step })
}

fn by_id(id: &str) -> Option<Step> {
    match id {
        STARTING => Some(Step::Begun),
        STARTED => Some(Step::Done),
        FAILED => Some(Step::Failed),
        _ => None,
    }
}

/// `Starting cron.service - Regular background program processing daemon...`
fn by_words(text: &str) -> Option<(String, Step)> {
    let after = |words: &[&str]| words.iter().find_map(|word| text.strip_prefix(word));
    let (rest, step) = match (after(&END), after(&FAIL), after(&BEGIN)) {
        (Some(rest), _, _) => (rest, Step::Done),
        (_, Some(rest), _) => (rest, Step::Failed),
        (_, _, Some(rest)) => (rest, Step::Begun),
        _ => return None,
    };
    let name = rest.split(' ').next()?.trim_end_matches('.');
    // Where systemd is set to write descriptions instead of names, there is no name to be had.
    let is_unit = name.rsplit_once('.').is_some_and(|(_, kind)| KINDS.contains(&kind));
    is_unit.then(|| (name.to_owned(), step))
}

const KINDS: [&str; 11] =
    ["service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"];
