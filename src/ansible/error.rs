//! What can go wrong on the playbook side.

use super::Stage;
use camino::Utf8PathBuf;
use host::failure::{Blame, Exit};
use std::time::Duration;
use vm::network::confine::NotRun;

/// The task that ended a playbook.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{playbook}: task \"{task}\" of play \"{play}\" failed on {host}: {message}")]
pub struct FailedTask {
    /// The playbook.
    pub playbook: Utf8PathBuf,
    /// The play.
    pub play: String,
    /// The task.
    pub task: String,
    /// File and line of the task.
    pub place: String,
    /// The host in the inventory.
    pub host: String,
    /// The result's own words.
    pub message: String,
    /// What the playbook was for.
    pub stage: Stage,
}

/// Why the playbook side stopped.
#[derive(Debug, thiserror::Error)]
pub enum AnsibleError {
    /// A program of Ansible's is not there.
    #[error("cannot run {program}")]
    Missing {
        /// The program's name or path.
        program: String,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Its version cannot manage the guest.
    #[error("{program} is of ansible-core {found}; Debian 13's Python 3.13 needs 2.18 or later")]
    TooOld {
        /// The program's name or path.
        program: String,
        /// The version found.
        found: String,
    },
    /// A file that the profile or the user named is not there.
    #[error("{what} {path} does not exist")]
    NoFile {
        /// What it is, as the beginning of a sentence.
        what: &'static str,
        /// The file.
        path: Utf8PathBuf,
    },
    /// A file of extra-vars cannot be used.
    #[error("the extra-vars file {path} is {why}")]
    BadOverlay {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it, and where.
        why: String,
    },
    /// The vault does not open.
    #[error("the vault is locked: {said}")]
    VaultLocked {
        /// What Ansible said; it names the file and never a value.
        said: String,
    },
    /// The real inventory cannot be read.
    #[error("cannot read the real inventory {path}: {said}")]
    Inventory {
        /// The inventory.
        path: Utf8PathBuf,
        /// What Ansible said.
        said: String,
    },
    /// The mirrored host is not in it.
    #[error("{host} is not in the real inventory {path} (there are: {known})")]
    NotInInventory {
        /// The mirrored host.
        host: String,
        /// The inventory.
        path: Utf8PathBuf,
        /// The hosts that are.
        known: String,
    },
    /// The way that the real inventory says into the host is not known.
    #[error("the port or the user of {host} in the real inventory cannot be resolved: {said}")]
    NoWay {
        /// The mirrored host.
        host: String,
        /// Why.
        said: String,
    },
    /// A playbook would run on another host than the VM.
    #[error("{playbook} would run on {hosts}, and only {host} is mirrored")]
    OtherHosts {
        /// The playbook.
        playbook: Utf8PathBuf,
        /// The hosts that it selects.
        hosts: String,
        /// The mirrored host.
        host: String,
    },
    /// A playbook selects nothing.
    #[error("{playbook} selects no host: none of its plays ({patterns}) holds {host}")]
    NoHost {
        /// The playbook.
        playbook: Utf8PathBuf,
        /// What its plays select by.
        patterns: String,
        /// The mirrored host.
        host: String,
    },
    /// The connection would not go to the VM.
    #[error("{what} of the connection resolves to {found} instead of the VM's {expected}")]
    WrongWay {
        /// Which value.
        what: &'static str,
        /// What Ansible resolved.
        found: String,
        /// What it has to be.
        expected: String,
    },
    /// The confinement could not be made, so the command was not run.
    #[error("what is not ours could not be confined, so it was not run: {}", .0.why)]
    NotConfined(NotRun),
    /// Ansible gave up before it ran a task, or without naming one.
    #[error("`{command}` ended with {status}: {said}")]
    Refused {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        said: String,
        /// What it was for.
        stage: Stage,
    },
    /// A task failed.
    #[error("{0}")]
    TaskFailed(Box<FailedTask>),
    /// The VM did not answer a task.
    #[error("{playbook}: {host} could not be reached for task \"{task}\": {message}")]
    Unreachable {
        /// The playbook.
        playbook: Utf8PathBuf,
        /// The task.
        task: String,
        /// The host in the inventory.
        host: String,
        /// The result's own words.
        message: String,
    },
    /// A task was meant for a host that is not mirrored.
    #[error("{playbook}: task \"{task}\" is delegated to {target}, a real host, to which nothing goes")]
    Strayed {
        /// The playbook.
        playbook: Utf8PathBuf,
        /// The task.
        task: String,
        /// Where it is written.
        place: String,
        /// The host that it was meant for.
        target: String,
        /// What the playbook was for.
        stage: Stage,
    },
    /// A playbook that did nothing proves nothing.
    #[error("{playbook} ran no task on the VM ({why})")]
    NothingRan {
        /// The playbook.
        playbook: Utf8PathBuf,
        /// What is missing.
        why: String,
        /// What the playbook was for.
        stage: Stage,
    },
    /// A tag of the profile selects nothing.
    #[error("{playbook}: no task for this host has the tag {tags} ({ran} tasks ran all the same)")]
    UnknownTag {
        /// The playbook.
        playbook: Utf8PathBuf,
        /// The tags.
        tags: String,
        /// How many tasks ran on the VM.
        ran: usize,
    },
    /// Nothing in the playbook is called as the task that it was to begin with.
    #[error("{playbook}: no task is called {task:?}, so nothing was run from there on")]
    NoSuchTask {
        /// The playbook.
        playbook: Utf8PathBuf,
        /// The task.
        task: String,
    },
    /// Tags that were given to a command select nothing.
    #[error("no task for this host that was selected of {playbooks} has the tag {tags} ({ran} tasks ran all the same)")]
    UnknownSelection {
        /// The playbooks that were run.
        playbooks: String,
        /// The tags.
        tags: String,
        /// How many tasks ran on the VM.
        ran: usize,
    },
    /// What a playbook left in the background does not end.
    #[error("{playbook}: a background job (async) was still running after {waited:?} of waiting, of task {tasks}")]
    StillRunning {
        /// The playbook.
        playbook: Utf8PathBuf,
        /// The tasks, with their places.
        tasks: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A task that is a check came to no answer.
    #[error("{playbook}: task \"{task}\" could not look: {why}")]
    CouldNotLook {
        /// The playbook.
        playbook: Utf8PathBuf,
        /// The task.
        task: String,
        /// File and line.
        place: String,
        /// Its words.
        why: String,
    },
    /// Checks have never looked.
    #[error("{count} of {all} checks did not look {when}: {names}", count = .checks.len(), names = .checks.join(", "))]
    NeverLooked {
        /// When they were to look.
        when: String,
        /// Their names, each with its reason.
        checks: Vec<String>,
        /// How many checks there are.
        all: usize,
    },
    /// What the callback plugin saw cannot be read, so the run cannot be judged.
    #[error("{playbook} cannot be judged: what was seen of it is unreadable ({why})")]
    Unreadable {
        /// The playbook.
        playbook: Utf8PathBuf,
        /// Which line, and why.
        why: String,
    },
    /// The playbook took too long.
    #[error("{playbook} did not end within {limit:?} and was stopped; {during}")]
    TimedOut {
        /// The playbook.
        playbook: Utf8PathBuf,
        /// The time it had.
        limit: Duration,
        /// What was going on.
        during: String,
    },
    /// The checks' file cannot be understood.
    #[error("{playbook} has no checks that can be judged: {why}")]
    BadChecks {
        /// The verify playbook.
        playbook: Utf8PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The folder of our own files cannot be written.
    #[error(transparent)]
    Folder(#[from] host::dirs::DirError),
    /// What confines a command could not be written down.
    #[error(transparent)]
    Confinement(#[from] vm::network::NetError),
    /// The ledger of that folder cannot be written.
    #[error(transparent)]
    Ledger(#[from] host::ledger::LedgerError),
    /// A file of ours cannot be written or read, or a child cannot be spoken to.
    #[error("cannot use {path}")]
    Io {
        /// The file, or the program.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
}

/// How a program of the repository gets at a socket of this host.
const ALLOW: &str = r#"if it asks an agent, name the agent's socket in the profile's `allow` ({"for": "controller", "socket": …, "why": …})"#;

impl Blame for AnsibleError {
    fn exit(&self) -> Exit {
        match self {
            Self::Missing { .. }
            | Self::TooOld { .. }
            | Self::NotConfined(_)
            | Self::Folder(_)
            | Self::Ledger(_)
            | Self::Confinement(_)
            | Self::Io { .. } => Exit::Host,
            Self::NoFile { .. }
            | Self::BadOverlay { .. }
            | Self::VaultLocked { .. }
            | Self::Inventory { .. }
            | Self::NotInInventory { .. }
            | Self::NoWay { .. }
            | Self::OtherHosts { .. }
            | Self::NoHost { .. }
            | Self::UnknownTag { .. }
            | Self::NoSuchTask { .. }
            | Self::UnknownSelection { .. }
            | Self::WrongWay { .. } => Exit::Usage,
            Self::StillRunning { .. } => Exit::Apply,
            Self::Refused { stage, .. } | Self::Strayed { stage, .. } | Self::NothingRan { stage, .. } => stage.exit(),
            Self::TaskFailed(task) => task.stage.exit(),
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::BadChecks { .. }
            | Self::CouldNotLook { .. }
            | Self::NeverLooked { .. }
            | Self::Unreadable { .. } => Exit::Lost,
        }
    }

    fn next(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } | Self::TooOld { .. } => {
                "install it into the playbook repository: python3 -m venv .venv && .venv/bin/pip install 'ansible-core>=2.18'".into()
            }
            Self::NotConfined(not_run) => not_run.next.clone().unwrap_or_else(|| "run `boma-qemu doctor`".into()),
            Self::NoFile { .. } => "correct the path in the profile or on the command line".into(),
            Self::BadOverlay { .. } => "correct the file: it must be one YAML mapping of variables".into(),
            Self::VaultLocked { .. } => format!(
                "unlock it as for a real run (ansible.cfg's vault_password_file, or ANSIBLE_VAULT_PASSWORD_FILE). A program that says the \
                 password has no network and no terminal here, and reaches no socket of this host: {ALLOW}, or keep the password in a file"
            ),
            Self::Inventory { .. } => format!(
                "correct the inventory. A script or a plugin in it has no network here, and reaches no socket of this host: {ALLOW}; or \
                 write what it says into a file (`ansible-inventory --list --yaml`), and name that as the profile's `inventory`"
            ),
            Self::NotInInventory { .. } => "correct the profile's `inventory`, or the host's name".into(),
            Self::NoWay { .. } => "write ansible_port and ansible_user into the inventory without a template, or set the variables that they use".into(),
            Self::NoHost { .. } => "correct the profile's `groups` or the playbook's `hosts`".into(),
            Self::WrongWay { what: "the plugin", .. } => {
                "the repository sets ansible_connection for this host: take it out, or override it in the profile's overlay".into()
            }
            Self::TaskFailed(task) if !task.place.is_empty() => format!("look at {} and at ansible.log", task.place),
            Self::Strayed { place, .. } => format!("gate the task at {place} with a variable, and set that in the profile's overlay"),
            Self::NothingRan { .. } => "check the profile's tags and groups".into(),
            Self::UnknownTag { .. } => {
                "correct the tags in the profile; `ansible-playbook --list-tags` shows those that there are".into()
            }
            Self::NoSuchTask { playbook, .. } => format!(
                "`ansible-playbook --list-tasks {playbook}` shows those that there are; one that is included while the playbook \
                 runs (include_tasks) cannot be the first"
            ),
            Self::UnknownSelection { .. } => {
                "correct --tags or --skip-tags; `ansible-playbook --list-tags` shows those that there are".into()
            }
            Self::StillRunning { .. } => "wait for the job in the playbook (async_status), or run it without `poll: 0`".into(),
            Self::CouldNotLook { place, .. } => format!("correct the check at {place}, or what it needs on this side or the VM"),
            Self::NeverLooked { .. } => {
                "correct `verify`: a check that does not fit this host is to be taken out, or, in a playbook, be a hint".into()
            }
            Self::Refused { .. }
            | Self::TaskFailed(_)
            | Self::TimedOut { .. }
            | Self::Unreadable { .. }
            | Self::Unreachable { .. } => {
                "look at ansible.log in the evidence".into()
            }
            Self::Folder(error) => return error.next(),
            Self::Ledger(error) => return error.next(),
            Self::Confinement(error) => return error.next(),
            Self::OtherHosts { .. }
            | Self::WrongWay { .. }
            | Self::BadChecks { .. }
            | Self::Io { .. } => return None,
        })
    }
}
