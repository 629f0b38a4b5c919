//! What the pages have in common: the verdict in words, what a difference of state weighs, links to evidence.

/// How a page ends up at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It passed.
    Good,
    /// It failed, and that says something about the host.
    Bad,
    /// There is no verdict on the host: the harness, the user or this machine ended it.
    #[default]
    Open,
}

/// The verdict: the first thing that is read, and often the only one.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// How it ends up.
    pub mood: Mood,
    /// One sentence, beginning with a word in capitals (`FAILED: askari did not …`).
    pub headline: String,
    /// Where it failed first (`phase reboot`), if it failed.
    pub failed_in: Option<String>,
    /// What failed first and why, from the outermost to the innermost cause.
    pub failure: Vec<String>,
    /// What to do next, one step each.
    pub next: Vec<String>,
    /// Commands that look at what was kept.
    pub commands: Vec<String>,
    /// What else went wrong at that time, the first sign of each kind.
    pub symptoms: Vec<String>,
}

/// How bad a finding or a console line is; a sign of its own in text, never by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Known and allowed, or only worth knowing.
    Note,
    /// Worth a look.
    Warning,
    /// Something is broken.
    Error,
    /// Nothing works without it.
    Critical,
}

/// One difference of the machine's state across a boot. One that weighs [`Weight::Note`] is only told.
#[derive(Clone, Debug)]
pub struct StateFinding {
    /// Its stable name (`units/caddy.service/active`).
    pub id: String,
    /// The part of the state (`units`).
    pub section: String,
    /// What it is about.
    pub what: String,
    /// What it was before; none: it was not there.
    pub before: Option<String>,
    /// What it is after; none: it is gone.
    pub after: Option<String>,
    /// How bad it is.
    pub weight: Weight,
    /// Why the profile allows it, if it does.
    pub allowed: Option<String>,
    /// What is lost only because this is.
    pub consequences: Vec<StateFinding>,
    /// Which task had set it (`set by base: Forwarding (main.yml:3)`), where that is certain.
    pub set_by: Option<String>,
}

/// A file of the evidence.
#[derive(Clone, Debug)]
pub struct FileLink {
    /// Its path, relative to the page.
    pub path: String,
    /// What it tells; empty where nobody knows.
    pub tells: String,
    /// Its size in bytes, where it is written already.
    pub bytes: Option<u64>,
}
