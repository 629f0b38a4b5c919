//! Logging in to the guest with the system's `ssh`, and nothing of the user's own ssh set-up.
//!
//! One configuration file per VM is the only one read: it pins the guest's host key, names our key and
//! no agent, and shares no connection with anybody. Commands of one stage share one connection, a
//! [`Session`], because a key exchange costs a second and more where the CPU is emulated; its master
//! is a child of ours that dies with us, so no connection is left behind.
//!
//! Not fuzzed: lines of the guest and of ssh pass as a whole; the file that is read is this program's own.

pub mod clock;
mod kept;
mod shell;
mod ways;

pub use kept::Kept;
pub use ways::{About, Change, Rank, Way, Ways};

use crate::machine::VmDir;
use camino::{Utf8Path, Utf8PathBuf};
use host::deadline::{Deadline, PROBE_PERIOD};
use host::failure::{Blame, Exit};
use host::presence::ignore;
use host::process::{die_with_us, inherit_little, leave_terminal};
use shell::RootShell;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// The name by which the configuration file calls the guest.
pub const ALIAS: &str = "vm";

/// The options by which any ssh client is sure to talk to the VM, and uses nothing of the user's own.
fn pinned(vm: &VmDir, ways: &Ways) -> Vec<(&'static str, String)> {
    let word = |text: &str| text.to_owned();
    vec![
        ("HostName", ways.address.to_string()),
        ("HostKeyAlias", ways.address.to_string()),
        ("IdentityFile", format!("\"{}\"", vm.ssh_key())),
        ("IdentitiesOnly", word("yes")),
        ("IdentityAgent", word("none")),
        ("ForwardAgent", word("no")),
        ("UserKnownHostsFile", format!("\"{}\"", vm.known_hosts())),
        ("GlobalKnownHostsFile", word("/dev/null")),
        ("StrictHostKeyChecking", word("yes")),
        ("UpdateHostKeys", word("no")),
        ("PreferredAuthentications", word("publickey")),
    ]
}

/// The options for a client that is not ours, by the way that answered last.
pub fn foreign(vm: &VmDir, ways: &Ways) -> Vec<(&'static str, String)> {
    let mut options = pinned(vm, ways);
    options.extend([("Port", ways.current.port.to_string()), ("User", ways.current.user.clone())]);
    options
}

/// The `ssh` configuration of one VM: a name for each way in, the one that answered last first.
pub fn config_text(vm: &VmDir, ways: &Ways) -> String {
    let hosts = ways
        .in_order()
        .into_iter()
        .enumerate()
        .map(|(n, (_, way))| format!("Host {}\n\x20   Port {}\n\x20   User {}\n", alias(n), way.port, way.user));
    let pinned = pinned(vm, ways).into_iter().map(|(name, value)| format!("\x20   {name} {value}\n"));
    format!(
        "# Written by boma-qemu; the only ssh configuration that it reads.\n\
         {}\
         Host *\n\
         {}\
         \x20   BatchMode yes\n\
         \x20   ConnectTimeout 10\n\
         \x20   ServerAliveInterval 5\n\
         \x20   ServerAliveCountMax 3\n\
         \x20   ControlPath none\n\
         \x20   LogLevel ERROR\n",
        hosts.collect::<String>(),
        pinned.collect::<String>()
    )
}

/// The name of the `n`-th way in the configuration.
fn alias(n: usize) -> String {
    match n {
        0 => ALIAS.to_owned(),
        n => format!("{ALIAS}-{n}"),
    }
}

/// How long a connection that is open may take to answer. A new one takes a second and more under emulation.
const STILL_THERE: Duration = Duration::from_secs(5);
/// So long after an answer a connection is not asked whether it still has any.
const JUST_NOW: Duration = Duration::from_secs(2);

/// The shared connections that this process has made.
static SESSIONS: AtomicU32 = AtomicU32::new(0);

/// How to reach one guest.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// What enters the network's namespaces; empty where the VM is reached directly.
    prefix: Vec<String>,
    config: Utf8PathBuf,
    /// Where the sockets of shared connections are.
    keys: Utf8PathBuf,
    /// Where the ways in are kept; they are read anew at each login, since they can move.
    ways: Utf8PathBuf,
}

/// What a command in the guest did.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its exit code; 255 may be ssh's own.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Why the guest could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// `ssh` cannot be started.
    #[error("cannot run ssh")]
    Start(#[source] std::io::Error),
    /// The login did not succeed, in ssh's own words.
    #[error("cannot log in: {said}")]
    Login {
        /// What ssh said.
        said: String,
    },
    /// The file of the ways in cannot be read.
    #[error("cannot read the ways into the guest, {path}")]
    Ways {
        /// The file.
        path: Utf8PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("`{command}` in the guest did not end within {limit:?}")]
    TimedOut {
        /// The command.
        command: String,
        /// The time it had.
        limit: Duration,
    },
    /// The command ran and failed, where it had to succeed.
    #[error("`{command}` in the guest ended with {code}: {said}")]
    Failed {
        /// The command.
        command: String,
        /// Its exit code.
        code: i32,
        /// The end of what it wrote.
        said: String,
    },
}

impl SshError {
    /// Why no way let us in, one after the other.
    fn of_all(mut refused: Vec<Self>) -> Option<Self> {
        if refused.len() < 2 {
            return refused.pop();
        }
        let mut words: Vec<_> = refused.into_iter().map(Self::words).collect();
        words.dedup();
        Some(Self::Login { said: words.join("; ") })
    }

    /// ssh's own words where it has any.
    fn words(self) -> String {
        match self {
            Self::Login { said } => said,
            other => other.to_string(),
        }
    }
}

impl Blame for SshError {
    fn exit(&self) -> Exit {
        match self {
            Self::Start(_) => Exit::Host,
            _ => Exit::Lost,
        }
    }
}

impl Ssh {
    /// The way to the guest of a VM folder, through the namespaces that `prefix` enters.
    pub fn new(vm: &VmDir, prefix: Vec<String>) -> Self {
        Self { prefix, config: vm.ssh_config(), keys: vm.keys(), ways: vm.ways() }
    }

    /// What enters the network that the guest is in.
    pub fn prefix(&self) -> &[String] {
        &self.prefix
    }

    /// The argv that runs a command in the guest, or a shell if it is empty.
    pub fn argv(&self, options: &[&str], command: &[String]) -> Vec<String> {
        self.argv_by(ALIAS, options, command)
    }

    fn argv_by(&self, alias: &str, options: &[&str], command: &[String]) -> Vec<String> {
        let mut argv = self.prefix.clone();
        argv.extend(["ssh", "-F", self.config.as_str()].map(str::to_owned));
        argv.extend(options.iter().map(|o| (*o).to_owned()));
        argv.push(alias.into());
        argv.extend(command.iter().cloned());
        argv
    }

    /// Run a command over a connection of its own.
    pub async fn run(&self, command: &str, limit: Duration) -> Result<Answer, SshError> {
        answer(&self.argv(&[], &[command.to_owned()]), command, limit).await
    }

    /// Log in and keep the connection: by the way that answered last, and if that one refuses by the others that are
    /// known. The error has the words of each.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn session(&self, limit: Duration) -> Result<Session, SshError> {
        let deadline = Deadline::after(limit);
        let ways = Ways::load(&self.ways)?;
        let mut refused = Vec::new();
        for (n, (rank, way)) in ways.in_order().into_iter().enumerate() {
            let mux = self.new_mux();
            match self.session_by(n, &mux, &deadline, limit).await {
                Ok(master) => {
                    let (ssh, way) = (self.clone(), way.clone());
                    let answered = Mutex::new(Instant::now());
                    let root = tokio::sync::Mutex::default();
                    return Ok(Session { ssh, mux, alias: alias(n), rank, way, answered, root, _master: master });
                }
                Err(error @ SshError::Start(_)) => return Err(error),
                Err(error) => refused.push(error),
            }
            if deadline.passed() {
                break;
            }
        }
        Err(SshError::of_all(refused).unwrap_or(SshError::TimedOut { command: "log in".into(), limit }))
    }

    /// The place of a connection's socket. Several commands may be connected at the same time, and one of them more than once.
    fn new_mux(&self) -> Utf8PathBuf {
        self.keys.join(format!("m{}.{}", std::process::id(), SESSIONS.fetch_add(1, Ordering::Relaxed)))
    }

    /// Whether a login by this way is had; the error has ssh's words.
    pub async fn answers_by(&self, way: &Way, limit: Duration) -> Result<(), SshError> {
        let ways = Ways::load(&self.ways)?;
        let Some(n) = ways.in_order().iter().position(|(_, known)| *known == way) else {
            return Err(SshError::Login { said: format!("{way} is not a way that is known") });
        };
        let mux = self.new_mux();
        let master = self.session_by(n, &mux, &Deadline::after(limit), limit).await;
        // The master is killed by its handle and cannot remove its socket itself.
        ignore(std::fs::remove_file(&mux), "there is none where nobody was let in");
        master.map(drop)
    }

    async fn session_by(
        &self,
        n: usize,
        mux: &Utf8Path,
        deadline: &Deadline,
        limit: Duration,
    ) -> Result<Child, SshError> {
        // A socket that an earlier, killed process left behind would be taken for ours.
        ignore(std::fs::remove_file(mux), "there may be none");
        let argv = self.argv_by(&alias(n), &["-M", "-N", "-S", mux.as_str()], &[]);
        let mut master = command(&argv).stderr(Stdio::piped()).spawn().map_err(SshError::Start)?;
        while !mux.exists() {
            if let Some(status) = master.try_wait().map_err(SshError::Start)? {
                let said = rest_of(&mut master).await;
                let said = if said.is_empty() { format!("ssh ended with {status} and said nothing") } else { said };
                return Err(SshError::Login { said });
            }
            if deadline.passed() {
                return Err(SshError::TimedOut { command: "log in".into(), limit });
            }
            tokio::time::sleep(PROBE_PERIOD / 5).await;
        }
        Ok(master)
    }
}

/// A connection to the guest that commands share; closed when dropped.
#[derive(Debug)]
pub struct Session {
    ssh: Ssh,
    mux: Utf8PathBuf,
    alias: String,
    rank: Rank,
    way: Way,
    /// When the guest answered on it last.
    answered: Mutex<Instant>,
    /// The shell of the last script that ran as root.
    root: tokio::sync::Mutex<Option<RootShell>>,
    _master: Child,
}

impl Session {
    /// The way that answered, and what it is to the host.
    pub fn way(&self) -> (Rank, &Way) {
        (self.rank, &self.way)
    }

    /// Whether the guest still answers on it.
    async fn answers(&self) -> bool {
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.elapsed() < JUST_NOW || self.ask("true", STILL_THERE).await.is_ok_and(|answer| answer.code == 0)
    }

    /// Run a command; its exit code is the caller's to judge.
    #[tracing::instrument(level = "debug", skip(self, limit))]
    pub async fn ask(&self, command: &str, limit: Duration) -> Result<Answer, SshError> {
        let answer = answer(&self.argv(command), command, limit).await?;
        self.has_answered();
        Ok(answer)
    }

    fn argv(&self, command: &str) -> Vec<String> {
        let mux = ["-S", self.mux.as_str(), "-o", "ControlMaster=no"];
        self.ssh.argv_by(&self.alias, &mux, &[command.to_owned()])
    }

    fn has_answered(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Run a shell script as root, with nothing on its standard input; the guest ends it, too, when the time is over. One
    /// script runs at a time.
    #[tracing::instrument(level = "debug", skip_all, fields(bytes = script.len()))]
    pub async fn root_script(&self, script: &str, limit: Duration) -> Result<Answer, SshError> {
        let done = async {
            let mut kept = self.root.lock().await;
            let shell = match kept.take().and_then(RootShell::still_there) {
                Some(shell) => shell,
                None => RootShell::start(&self.argv(shell::COMMAND))?,
            };
            let (answer, shell) = shell.run(script, limit).await?;
            *kept = shell;
            Ok(answer)
        };
        let late = |_| SshError::TimedOut { command: shell::COMMAND.to_owned(), limit };
        let answer = tokio::time::timeout(limit, done).await.map_err(late)??;
        self.has_answered();
        Ok(answer)
    }

    /// Run a command that must succeed; its standard output without the last line end.
    pub async fn must(&self, command: &str, limit: Duration) -> Result<String, SshError> {
        let answer = self.ask(command, limit).await?;
        if answer.code != 0 {
            let said = last_lines(&answer.stderr, &answer.stdout);
            return Err(SshError::Failed { command: command.to_owned(), code: answer.code, said });
        }
        Ok(answer.stdout.trim_end_matches('\n').to_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The master is killed by its handle and cannot remove its socket itself.
        ignore(std::fs::remove_file(&self.mux), "there may be none");
    }
}

fn command(argv: &[String]) -> Command {
    let mut command = Command::new(&argv[0]);
    inherit_little(command.as_std_mut());
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    // The tokio runtime has one thread, the main one, so it is killed with the process and not before.
    die_with_us(command.as_std_mut());
    leave_terminal(command.as_std_mut());
    command
}

async fn answer(argv: &[String], text: &str, limit: Duration) -> Result<Answer, SshError> {
    let child = command(argv).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(SshError::Start)?;
    let Ok(done) = tokio::time::timeout(limit, child.wait_with_output()).await else {
        return Err(SshError::TimedOut { command: text.to_owned(), limit });
    };
    let done = done.map_err(SshError::Start)?;
    let said = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (said(done.stdout), said(done.stderr));
    match done.status.code() {
        // ssh's own failure is 255 and never says anything on standard output.
        Some(255) if stdout.is_empty() => Err(SshError::Login { said: last_lines(&stderr, "") }),
        Some(code) => Ok(Answer { code, stdout, stderr }),
        None => Err(SshError::Login { said: format!("ssh was ended by a signal; {}", last_lines(&stderr, "")) }),
    }
}

async fn rest_of(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(pipe) = &mut child.stderr {
        ignore(pipe.read_to_string(&mut text).await, "what was read before is the best that there is");
    }
    last_lines(&text, "")
}

fn last_lines(first: &str, second: &str) -> String {
    let text = if first.trim().is_empty() { second } else { first };
    let lines: Vec<_> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}

/// Write down a VM's ways in, and the configuration that has them.
pub fn write_ways(vm: &VmDir, ways: &Ways) -> Result<(), host::dirs::DirError> {
    host::dirs::write_private(&vm.ssh_config(), config_text(vm, ways))?;
    // Last: what is read first must not name an alias that the configuration does not have.
    host::dirs::write_private(&vm.ways(), ways.json())
}

#[cfg(test)]
mod tests;
