//! What is suspicious in a profile and its files and yet no error: found by reading, without Ansible.

use super::Plan;
use crate::profile::{BreakGlass, Certificate, Scenario, Verify};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::Dirs;
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// Folders that hold no playbooks, roles or variables.
const NOT_READ: [&str; 4] = [".git", ".venv", "node_modules", "__pycache__"];
/// The largest text that is read, bytes: what is larger is no source.
const LARGEST: u64 = 1 << 20;
/// Variables with this prefix are read by this program or only say that it is the VM.
const OWN: &str = "boma_";

/// One thing that should be looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Suspicion {
    /// The file, as it is named in the project.
    pub file: Utf8PathBuf,
    /// What is suspicious about it, and what to do.
    pub what: String,
    /// Whether it only is a mark that `init` has made for the user.
    pub undecided: bool,
}

/// Everything that is suspicious about what the plan is made of.
pub fn lint(plan: &Plan, dirs: &Dirs, now: SystemTime) -> Vec<Suspicion> {
    let profile_file = Utf8Path::new("profiles").join(format!("{}.json", plan.host));
    let mut found = Vec::new();
    let texts = Texts::read(plan, dirs);
    let mut overlays = plan.profile.extra_vars_files.clone();
    let scenarios = plan.profile.all_scenarios();
    let sides = scenarios.values().flat_map(Scenario::overlays).map(|(_, path)| path.to_owned());
    overlays.extend(sides.collect::<BTreeSet<_>>());
    for overlay in &overlays {
        let keys = keys(&dirs.root.join(overlay));
        for key in keys.iter().filter(|key| !key.starts_with(OWN) && !texts.words.contains(*key)) {
            let what =
                format!("{key} is read by no playbook, role, template or variable of {}: is it misspelt?", plan.repo);
            found.push(wrong(overlay, what));
        }
    }
    let asked = |id: &str| plan.profile.verify.names(id) || texts.verify.contains(id);
    let of = |(name, scenario): (&String, &Scenario)| {
        let second = scenario.break_glass.as_ref().or(plan.profile.break_glass.as_ref());
        let own = [plan.profile.certificate.as_ref().map(|_| Certificate::CHECK), second.map(|_| BreakGlass::CHECK)];
        suspicious(name, scenario, &scenarios, |id| asked(id) || own.contains(&Some(id)), dirs)
    };
    found.extend(scenarios.iter().flat_map(of).map(|what| wrong(&profile_file, what)));
    found.extend(twice(&plan.profile.verify).into_iter().map(|what| wrong(&profile_file, what)));
    let over = plan.profile.state.allow.iter().filter(|allowed| allowed.expired(now));
    found.extend(over.map(|allowed| {
        let id = &allowed.id;
        wrong(
            &profile_file,
            format!("state.allow: {id:?} has expired and allows nothing any more: take it out, or give it another day"),
        )
    }));
    let mut marked = vec![profile_file.clone()];
    marked.extend(plan.profile.verify.playbooks().map(Utf8Path::to_owned));
    marked.extend(overlays);
    found.extend(marked.into_iter().filter_map(|file| {
        let text = std::fs::read_to_string(dirs.root.join(&file)).ok()?;
        let count = text.matches("DECIDE").count();
        let what = format!("{count} times DECIDE: decide, then take the mark out");
        (count > 0).then_some(Suspicion { file, what, undecided: true })
    }));
    found
}

/// What is suspicious about a scenario.
fn suspicious(
    name: &str,
    scenario: &Scenario,
    all: &BTreeMap<String, Scenario>,
    known: impl Fn(&str) -> bool,
    dirs: &Dirs,
) -> Vec<String> {
    let unknown = scenario.fails.iter().filter(|id| !known(id));
    let unknown = unknown.map(|id| format!("no check of `verify` is called {id}, so nothing would turn red"));
    let same = scenario.fixed.as_ref() == Some(&scenario.broken);
    let same = same.then(|| "its two cases have the same overlay, so both are red or both are green".to_owned());
    let sides: BTreeSet<_> = scenario.overlays().map(|(_, path)| path).collect();
    let empty = sides.into_iter().filter(|path| is_empty(&dirs.root.join(path)));
    let empty = empty.map(|path| format!("{path} sets nothing, so that case is the host as its profile has it"));
    let twin = |(other, it): &(&String, &Scenario)| {
        other.as_str() < name && it.broken == scenario.broken && it.shows == scenario.shows
    };
    let twin = all.iter().find(twin).map(|(other, _)| format!("its red case is the same as that of {other}"));
    let found = unknown.chain(same).chain(empty).chain(twin);
    found.map(|what| format!("{name}: {what}")).collect()
}

/// Whether a file of extra-vars can be read and sets nothing.
fn is_empty(path: &Utf8Path) -> bool {
    let text = std::fs::read_to_string(path);
    text.is_ok_and(|text| {
        serde_saphyr::from_str::<Option<BTreeMap<String, IgnoredAny>>>(&text)
            .is_ok_and(|map| map.is_none_or(|map| map.is_empty()))
    })
}

/// Probes that ask the same: one of them is not needed, or was to ask something else.
fn twice(verify: &Verify) -> Vec<String> {
    let all: Vec<_> = verify.questions().collect();
    let pairs = all.iter().enumerate().flat_map(|(at, one)| all[at + 1..].iter().map(move |other| (*one, *other)));
    let same = pairs.filter(|(one, other)| one.probe == other.probe);
    same.map(|(one, other)| {
        format!("verify: {:?} and {:?} ask the same: take one out, or let it ask something else", one.name, other.name)
    })
    .collect()
}

fn wrong(file: &Utf8Path, what: String) -> Suspicion {
    Suspicion { file: file.to_owned(), what, undecided: false }
}

/// The keys of a file of extra-vars; of one that is encrypted or is no mapping none, which the preflight reports.
fn keys(path: &Utf8Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let read = serde_saphyr::from_str::<BTreeMap<String, IgnoredAny>>(&text);
    read.map(|map| map.into_keys().collect()).unwrap_or_default()
}

/// What the repository and the checks say, as words.
struct Texts {
    words: BTreeSet<String>,
    verify: String,
}

impl Texts {
    fn read(plan: &Plan, dirs: &Dirs) -> Self {
        let controller = plan.controller(dirs);
        let playbooks = plan.profile.verify.playbooks().map(|path| dirs.root.join(path));
        let folders: BTreeSet<_> = playbooks.map(|path| path.parent().unwrap_or(&path).to_owned()).collect();
        let checks: Vec<_> = folders.iter().flat_map(|folder| files(folder)).collect();
        let verify = checks.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect::<Vec<_>>().join("\n");
        let mut words = words_of(&verify);
        let sources = controller.sources().into_iter().flat_map(|path| files(&path));
        let prepares = plan.prepares(dirs).into_iter().map(|apply| apply.playbook);
        for path in sources.chain(prepares).chain(controller.overlays.iter().cloned()) {
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            // Setting a variable in an overlay is not to read it.
            let is_overlay = controller.overlays.contains(&path);
            words.extend(words_of(&if is_overlay { without_keys(&text) } else { text }));
        }
        Self { words, verify }
    }
}

fn words_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A YAML text without the keys at the beginning of its lines.
fn without_keys(text: &str) -> String {
    let is_key = |word: &str| word.trim().chars().all(|c| c == '_' || c == '-' || c.is_ascii_alphanumeric());
    let values = text.lines().map(|line| match line.split_once(':') {
        Some((key, value)) if is_key(key) => value,
        _ => line,
    });
    values.collect::<Vec<_>>().join("\n")
}

/// All files below a folder that may be sources, or the file itself.
fn files(path: &Utf8Path) -> Vec<Utf8PathBuf> {
    let (mut todo, mut found) = (vec![path.to_owned()], Vec::new());
    while let Some(path) = todo.pop() {
        let Ok(meta) = path.symlink_metadata() else { continue };
        let skipped = path.file_name().is_some_and(|name| NOT_READ.contains(&name)) || path.join("pyvenv.cfg").exists();
        if meta.is_dir() && !skipped {
            todo.extend(path.read_dir_utf8().into_iter().flatten().flatten().map(|entry| entry.path().to_owned()));
        } else if meta.is_file() && meta.len() <= LARGEST {
            found.push(path);
        }
    }
    found
}
