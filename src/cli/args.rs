//! The command line.

mod audit;
mod choices;
mod examples;
mod parts;
mod several;

pub(crate) use audit::{AuditArgs, AuditCommand};
pub(crate) use choices::{CheckModeArgs, FindingsArgs, PartArgs, SecondArgs, UpgradeArgs, ViaArgs};
pub(crate) use parts::{ChecksCommand, ExperimentArgs, ForwardArgs, ImageCommand, NetCommand, RunArgs};
pub(crate) use several::{JobsArgs, MatrixArgs};

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand};
use host::names::{HostName, ScenarioName, SnapshotName};
use vm::fault::Fault;
use vm::network;
use vm::wait::condition::Condition;

/// Prove, before touching a live host, that it will come back from a reboot.
#[derive(Debug, Parser)]
#[command(name = "boma-qemu", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  boma-qemu doctor                       can this host run a VM?
  boma-qemu cycle askari                 boot, apply, reboot, check, tear down
  boma-qemu cycle askari,web1 --jobs 2   both, at once where there is memory
  boma-qemu prove askari                 the same, and that the harness sees the known fault
  boma-qemu cycle askari -e @overrides/askari.red.yml --keep
  boma-qemu ssh askari -- nft list ruleset
  boma-qemu down askari                  and remove every trace
  boma-qemu audit pre-nixos --image result/iso/nixos.iso

Exit codes: 0 passed, 1 bug, 2 usage, 3 this host cannot, 4 VM or harness lost, 5 apply failed,
6 verify failed, 7 passed but leaked, 8 guest panicked or in emergency mode, 9 harness not faithful,
130 interrupted.";

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// The project root; the nearest folder upwards with profiles/ and net/ otherwise
    #[arg(long, global = true, env = "BOMA_ROOT", value_name = "DIR")]
    pub(crate) root: Option<Utf8PathBuf>,
    /// One JSON object per line on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more; twice for the program's own trace
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check what this host has and lacks
    #[command(after_help = examples::DOCTOR)]
    Doctor {
        /// Check what `--net host` needs too
        #[arg(long, value_enum, default_value_t)]
        net: network::Mode,
        /// The playbook repository, whose .venv may hold Ansible
        #[arg(long, env = "BOMA_REPO", value_name = "DIR")]
        repo: Option<Utf8PathBuf>,
    },
    /// Write a first profile of a host, with its checks, and its overlay, from its inventory and playbooks; contact no host
    #[command(after_help = examples::INIT)]
    Init {
        host: HostName,
        /// The playbook repository; the current folder otherwise
        #[arg(long, env = "BOMA_REPO", value_name = "DIR")]
        repo: Option<Utf8PathBuf>,
        /// The real inventory inside of it; what ansible.cfg names otherwise
        #[arg(long, value_name = "PATH")]
        inventory: Option<Utf8PathBuf>,
        /// What `observe --script` printed on the real host, run by root: its checks are drafted from it
        #[arg(long, value_name = "FILE")]
        from_live: Option<Utf8PathBuf>,
    },
    /// Say what is wrong with a profile, and what is suspicious about its files; run nothing
    #[command(after_help = examples::LINT)]
    Lint {
        /// The host or the audit
        #[arg(value_name = "NAME")]
        name: Utf8PathBuf,
        /// Look at a cycle on top of this revision of the playbook repository, too
        #[arg(long, value_name = "REV")]
        from: Option<String>,
    },
    /// Print everything that a run would do; touch nothing
    #[command(after_help = examples::PLAN)]
    Plan {
        host: HostName,
        #[command(flatten)]
        run: RunArgs,
        #[command(flatten)]
        via: ViaArgs,
        /// Of a cycle on top of this revision of the playbook repository
        #[arg(long, value_name = "REV")]
        from: Option<String>,
    },
    /// Boot the VM and wait until it is ready
    #[command(after_help = examples::UP)]
    Up {
        host: HostName,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Run the playbooks against the VM, by the profile as it is now: what it cannot change on a VM that is up is refused
    #[command(after_help = examples::APPLY)]
    Apply {
        host: HostName,
        #[command(flatten)]
        part: PartArgs,
        /// More extra variables, after those given to `up`
        #[arg(short = 'e', long = "extra-vars", value_name = "KEY=VALUE|@FILE")]
        extra_vars: Vec<String>,
        /// Take no snapshot for `reset`, and drop an older one; of a part none is taken, and an older one stays
        #[arg(long)]
        no_snapshot: bool,
        #[command(flatten)]
        second: SecondArgs,
    },
    /// Bring the VM back to a snapshot of its disk and memory
    #[command(after_help = examples::RESET)]
    Reset {
        host: HostName,
        /// The snapshot, if not the one that `apply` took
        #[arg(long, value_name = "NAME")]
        to: Option<SnapshotName>,
    },
    /// Take a snapshot of the VM's disk and memory as they are now
    #[command(after_help = examples::SNAPSHOT)]
    Snapshot {
        host: HostName,
        /// What it is called
        #[arg(required_unless_present = "drop")]
        name: Option<SnapshotName>,
        /// Remove this one
        #[arg(long, value_name = "NAME", conflicts_with = "name")]
        drop: Option<SnapshotName>,
    },
    /// List the VM's snapshots, and what each comes from
    #[command(after_help = examples::SNAPSHOTS)]
    Snapshots { host: HostName },
    /// Reboot the VM and prove it
    #[command(after_help = examples::REBOOT)]
    Reboot {
        host: HostName,
        #[command(flatten)]
        via: ViaArgs,
        /// How long it may take until the new boot has settled, if not as given to `up`
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
        #[command(flatten)]
        findings: FindingsArgs,
    },
    /// Print the guest's state as JSON, or what differs from such a file
    #[command(after_help = examples::OBSERVE)]
    Observe {
        #[arg(required_unless_present = "script")]
        host: Option<HostName>,
        /// A state that was printed or kept earlier: print what differs from it
        #[arg(long, value_name = "FILE")]
        against: Option<Utf8PathBuf>,
        /// Print what a reboot will take away or bring back, as far as it shows already; a preview, no verdict
        #[arg(long, conflicts_with = "against")]
        foretell: bool,
        /// Print the script that asks a host for its state: root may run it on the real host, it changes nothing
        #[arg(long, conflicts_with_all = ["host", "against", "foretell"])]
        script: bool,
    },
    /// Print the JSON schema of a host's profile: editors complete keys by it, and say what each is for
    #[command(after_help = examples::SCHEMA)]
    Schema,
    /// Checks of the profile's
    #[command(after_help = examples::CHECKS)]
    Checks {
        #[command(subcommand)]
        command: ChecksCommand,
    },
    /// Run the outcome checks, and judge the last reboot if what runs is what came back from it
    #[command(after_help = examples::ASSERT)]
    Assert {
        host: HostName,
        #[command(flatten)]
        findings: FindingsArgs,
    },
    /// up, apply, reboot, assert, down
    #[command(after_help = examples::CYCLE)]
    Cycle {
        /// The host; several with commas between them: each is a run of its own
        #[arg(value_name = "HOST[,HOST...]", value_delimiter = ',', required = true, num_args = 1)]
        hosts: Vec<HostName>,
        #[command(flatten)]
        jobs: JobsArgs,
        #[command(flatten)]
        run: RunArgs,
        #[command(flatten)]
        via: ViaArgs,
        /// Keep the VM even if all passes
        #[arg(long)]
        keep: bool,
        /// Remove the VM even if something failed; its evidence stays. Of several hosts each is, without --keep
        #[arg(long, conflicts_with = "keep")]
        remove: bool,
        /// Leave the reboot out (this proves little)
        #[arg(long, conflicts_with_all = ["via", "at", "on_console", "during", "findings", "strict", "watch", "check_mode", "both"])]
        no_reboot: bool,
        /// Take no snapshot for `reset` after the playbooks
        #[arg(long)]
        no_snapshot: bool,
        #[command(flatten)]
        findings: FindingsArgs,
        #[command(flatten)]
        second: SecondArgs,
        #[command(flatten)]
        check_mode: CheckModeArgs,
        #[command(flatten)]
        upgrade: UpgradeArgs,
    },
    /// Run `cycle` for each host in each way: restarted by each mode, from each image, with each certificate tier
    #[command(after_help = examples::MATRIX)]
    Matrix {
        #[command(flatten)]
        what: MatrixArgs,
    },
    /// Restart the VM in several ways from one applied state, and measure what each does to it
    #[command(after_help = parts::EXPERIMENT)]
    Experiment {
        host: HostName,
        #[command(flatten)]
        what: ExperimentArgs,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Check what must hold for a boot image to come up right: on this host, in the image, and booted from it
    #[command(after_help = audit::EXAMPLES)]
    Audit {
        #[command(flatten)]
        what: AuditArgs,
    },
    /// Show that the harness sees known faults: each one's red case must fail for its reason, its green one pass
    #[command(after_help = examples::PROVE)]
    Prove {
        host: HostName,
        #[command(flatten)]
        run: RunArgs,
        #[command(flatten)]
        via: ViaArgs,
        /// Prove this scenario of the profile; repeatable [default: the profile's `red`]
        #[arg(long = "scenario", value_name = "NAME", conflicts_with = "all")]
        scenarios: Vec<ScenarioName>,
        /// Prove all of them
        #[arg(long)]
        all: bool,
        /// Keep the VM of the last green case even if it passes
        #[arg(long)]
        keep: bool,
    },
    /// Stop the VM and remove every trace of it
    #[command(after_help = examples::DOWN)]
    Down { host: HostName },
    /// Remove what dead and failed runs left behind; a VM that was kept on purpose stays
    #[command(after_help = examples::PRUNE)]
    Prune {
        /// Remove every VM, those that were kept on purpose too
        #[arg(long)]
        all: bool,
    },
    /// What is running
    #[command(after_help = examples::STATUS)]
    Status,
    /// Write the report.html of a run, of several, of an experiment or an audit again from its evidence, and print where it is
    #[command(after_help = examples::REPORT)]
    Report {
        /// The folder of the run, the experiment or the audit; the newest run otherwise
        run: Option<Utf8PathBuf>,
    },
    /// A shell or a command in the guest, with its exit code
    #[command(after_help = examples::SSH)]
    Ssh {
        host: HostName,
        /// The command
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Run a command of this host inside the VM's network
    #[command(after_help = examples::EXEC)]
    Exec {
        host: HostName,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Let a port of this host's loopback, or a socket, lead to a port of the VM for this user, until the VM goes
    #[command(after_help = examples::FORWARD)]
    Forward {
        host: HostName,
        #[command(flatten)]
        asked: ForwardArgs,
    },
    /// Be a connection to a port of the VM, on standard input and output: a ProxyCommand for ssh, also without root
    #[command(after_help = examples::CONNECT)]
    Connect {
        host: HostName,
        #[arg(value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
    },
    /// Print a Host block for ssh's configuration: ssh, scp, rsync and editors then reach the VM by the host's name
    #[command(after_help = examples::SSH_CONFIG)]
    SshConfig { host: HostName },
    /// Answer as an Ansible inventory script: the VMs that are up, each under its host's name and in its groups
    #[command(after_help = examples::INVENTORY)]
    Inventory {
        /// Only this one
        only: Option<HostName>,
        /// The whole inventory, which is what is printed in any case
        #[arg(long, conflicts_with = "host")]
        list: bool,
        /// The variables of one host
        #[arg(long, value_name = "NAME")]
        host: Option<HostName>,
    },
    /// The serial console: its log, what the console rules find in it, or the terminal itself
    #[command(after_help = examples::CONSOLE)]
    Console {
        host: HostName,
        /// Go on printing as it grows
        #[arg(long)]
        follow: bool,
        /// Run the console rules over it instead: exit 8 if a boot was lost, 6 if something is broken
        #[arg(long, conflicts_with = "follow")]
        check: bool,
        /// Make it this terminal's own: see and type; Ctrl-] leaves. Several may
        #[arg(long, conflicts_with_all = ["follow", "check"])]
        attach: bool,
    },
    /// Run the console rules over the log of any machine: exit 8 if a boot was lost, 6 if something is broken
    #[command(after_help = examples::CHECK_CONSOLE)]
    CheckConsole {
        /// The log; - for standard input
        #[arg(required_unless_present = "rules")]
        file: Option<Utf8PathBuf>,
        /// Count what this host's profile allows as allowed
        #[arg(long, value_name = "HOST")]
        profile: Option<HostName>,
        /// List the rules
        #[arg(long, conflicts_with = "file")]
        rules: bool,
    },
    /// Run a QMP command and print its answer
    #[command(after_help = examples::QMP)]
    Qmp {
        host: HostName,
        /// Its name, `query-status`
        command: String,
        /// Its arguments as a JSON object
        arguments: Option<String>,
        /// How long QEMU may take to answer
        #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        timeout: u64,
    },
    /// Wait until something holds or happens, or cannot any more; print what was seen as JSON
    #[command(after_help = examples::WAIT)]
    Wait {
        host: HostName,
        /// ssh, lease, settled, event=NAME[,KEY=VALUE...], console=REGEX, boot-id-changed[=BOOT-ID]
        condition: Condition,
        /// How long
        #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=604_800))]
        timeout: u64,
        /// What happened after this event counts, too; without it, only what happens from now on
        #[arg(long, value_name = "SEQ")]
        since: Option<u64>,
    },
    /// Bring a fault upon the machine while it runs, or undo one
    #[command(after_help = examples::FAULT)]
    Fault {
        host: HostName,
        /// link=down|up, disk=error|slow|full|ok, freeze, thaw, clock=+SECONDS|-SECONDS|ok, egress=none|nat
        fault: Fault,
    },
    /// Print the VM's journal of events as JSON lines
    #[command(after_help = examples::EVENTS)]
    Events {
        host: HostName,
        /// Go on printing as it grows
        #[arg(long)]
        follow: bool,
        /// Only what came after this sequence number
        #[arg(long, value_name = "SEQ")]
        since: Option<u64>,
    },
    /// Golden images
    #[command(after_help = examples::IMAGE)]
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// List the machines that were booted once and saved, which `--template` goes on from
    #[command(after_help = examples::TEMPLATES)]
    Templates,
    /// The VM's network on its own
    #[command(after_help = examples::NET)]
    Net {
        #[command(subcommand)]
        command: NetCommand,
    },
    /// Print a completion script
    #[command(after_help = examples::COMPLETIONS)]
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages into a folder
    #[command(after_help = examples::MAN)]
    Man { dir: Utf8PathBuf },
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    fn has_an_example(command: &clap::Command, path: &str) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            let shown = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(shown.contains(&path), "the help of `{path}` shows no example:\n{shown}");
            has_an_example(sub, &path);
        }
    }

    #[test]
    fn every_command_can_be_parsed_and_shows_an_example() {
        let mut cli = Cli::command();
        cli.build();
        has_an_example(&cli, "boma-qemu");
    }
}
