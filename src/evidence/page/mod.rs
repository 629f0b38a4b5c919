//! The pages: they draw a record, an experiment or an audit, and the evidence that lies beside it.
//!
//! All of it can be done again at any time: nothing is asked but the run's own folder.
//!
//! Not fuzzed: what is read here is this program's own evidence.

pub(crate) mod cases;
mod console;
pub mod files;
pub mod html;
mod verdict;

pub use verdict::headline;

use crate::experiment::record::Experiment;
use crate::record::proof::ProofRecord;
use crate::record::{BootSeen, Record};
use crate::report::junit::About;
use crate::report::{ReportError, RunFolder, junit};
use crate::several::Several;
use camino::{Utf8Path, Utf8PathBuf};
use host::failure::{Exit, Failure};
use html::cycle::CyclePage;
use serde::de::DeserializeOwned;
use vm::timeline::Timeline;

/// Write the page of a run, an experiment or a proof again from its evidence; where it is.
pub fn again(folder: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    let file = |name: &str| folder.join(name);
    let text = if file(SEVERAL).exists() {
        html::several::page(&read::<Several>(&file(SEVERAL))?, folder)
    } else if file("experiment.json").exists() {
        html::experiment(&html::experiment::of(&read::<Experiment>(&file("experiment.json"))?, folder))
    } else if file(ProofRecord::FILE).exists() {
        proof(&read::<ProofRecord>(&file(ProofRecord::FILE))?, folder)
    } else {
        html::cycle(&of(&read::<Record>(&file("result.json"))?, folder))
    };
    RunFolder::open(folder).write(PAGE, text)?;
    Ok(folder.join(PAGE))
}

/// A result as it was written into a run's folder.
pub fn read<T: DeserializeOwned>(file: &Utf8Path) -> Result<T, Failure> {
    let bad = |why: String| Failure::new(Exit::Usage, format!("{file} is no result of a run: {why}"));
    let text = std::fs::read(file).map_err(|e| {
        bad(e.to_string()).next(
            "name the folder of a run that has ended (`result.json` is its last file), of an experiment, a proof or an audit",
        )
    })?;
    serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))
}

/// The page's file in the evidence.
pub const PAGE: &str = "report.html";

/// The file of several runs in their evidence.
const SEVERAL: &str = "several.json";

/// Write what several runs came to, and its page.
pub fn publish_several(all: &Several, folder: &RunFolder) -> Result<(), ReportError> {
    folder.write(PAGE, html::several::page(all, folder.path()))?;
    // Plain data with string keys: serialising it cannot fail.
    folder.write(SEVERAL, host::visible::json_pretty(all).unwrap_or_default())
}

/// The page of a run whose evidence lies in `folder`.
pub fn of<'a>(record: &'a Record, folder: &Utf8Path) -> CyclePage<'a> {
    let (console, console_more) = console::highlights(folder);
    let state = record.state.as_ref().map(html::findings::of);
    CyclePage {
        record,
        command: files::command(folder).unwrap_or_else(|| record.host.to_string()),
        verdict: verdict::of(record, &console, state.as_deref()),
        timelines: record.boots.iter().map(|boot| timeline(boot, folder)).collect(),
        state,
        console,
        console_more,
        files: files::all(folder),
    }
}

/// The figures of a boot, from the evidence.
fn timeline(seen: &BootSeen, folder: &Utf8Path) -> Option<Timeline> {
    serde_json::from_slice(&std::fs::read(folder.join(seen.file.as_ref()?)).ok()?).ok()
}

/// Write `junit.xml`, `report.html` and, last of all, `result.json` of a run.
pub fn publish(record: &Record) -> Result<(), ReportError> {
    let run = RunFolder::open(&record.run);
    let xml = junit::text(&about(record), &cases::of(record)).unwrap_or_default();
    run.write("junit.xml", xml)?;
    run.write(PAGE, html::cycle(&of(record, run.path())))?;
    run.write("result.json", record.json(false))
}

/// What a reader of the cases should know of the run.
fn about(record: &Record) -> About {
    let made = &record.made_of;
    let mode = record.via.map(|mode| mode.to_string()).unwrap_or_default();
    let properties = [
        ("version", record.version.clone()),
        ("image", made.image.clone()),
        ("image_sha512", made.image_sha512.clone().unwrap_or_default()),
        ("mode", mode),
        ("accelerator", made.accel.clone()),
        ("qemu", made.qemu.clone()),
        ("ansible", made.ansible.clone()),
        ("started", record.started.clone()),
    ];
    About {
        name: format!("boma-qemu {}", record.host),
        properties: properties.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        attachments: vec![record.run.join(PAGE), record.run.join("console.log")],
    }
}

fn proof(all: &ProofRecord, folder: &Utf8Path) -> String {
    html::proof(all, &files::command(folder).unwrap_or_else(|| format!("prove {}", all.host)))
}

/// Write what there is of a proof so far.
pub fn publish_proof(all: &ProofRecord, folder: &RunFolder) -> Result<(), ReportError> {
    let name = format!("boma-qemu prove {}", all.host);
    let about = About { name, attachments: vec![folder.path().join(PAGE)], ..About::default() };
    let xml = junit::text(&about, &cases::of_proof(all));
    folder.write("junit.xml", xml.unwrap_or_default())?;
    // Plain data with string keys: serialising it cannot fail.
    let json = host::visible::json_pretty(all).unwrap_or_default();
    folder.write(ProofRecord::FILE, json)?;
    folder.write(PAGE, proof(all, folder.path()))
}

/// Write what there is of an experiment so far.
pub fn publish_experiment(all: &Experiment, folder: &RunFolder) -> Result<(), ReportError> {
    let name = format!("boma-qemu experiment {}", all.host);
    let about = About { name, attachments: vec![folder.path().join(PAGE)], ..About::default() };
    let xml = junit::text(&about, &cases::of_experiment(all));
    folder.write("junit.xml", xml.unwrap_or_default())?;
    // Plain data with string keys: serialising it cannot fail.
    folder.write("experiment.json", host::visible::json_pretty(all).unwrap_or_default())?;
    folder.write(PAGE, html::experiment(&html::experiment::of(all, folder.path())))
}

#[cfg(test)]
mod tests;
