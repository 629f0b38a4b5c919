//! What can be chosen from on the command line, and what each choice is to the rest of the program.

use crate::jobs::passes::Wanted;
use camino::Utf8PathBuf;
use clap::builder::{NonEmptyStringValueParser, PossibleValue};
use clap::{Args, ValueEnum};
use evidence::observe::Policy;
use evidence::record::Partial;
use evidence::verdict::ALIVE;
use std::time::Duration;
use vm::reboot::{Choice, Mode, Pattern, Trigger, seconds};

/// What a loss of the guest's state across a restart does.
#[derive(Clone, Copy, Debug, PartialEq, Args)]
pub(crate) struct FindingsArgs {
    /// What a loss of the guest's state across the restart does [default: fail]
    #[arg(long, value_enum, value_name = "POLICY")]
    findings: Option<Policy>,
    /// The same as --findings strict
    #[arg(long, conflicts_with = "findings")]
    strict: bool,
    /// How long after the restart has settled the last look is: what fails until then, or is started again and
    /// again, fails the run [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = watch)]
    watch: Option<Duration>,
}

impl FindingsArgs {
    /// How long after a restart has settled the guest is looked at for the last time.
    pub(crate) fn watch_for(self) -> Duration {
        self.watch.unwrap_or(ALIVE)
    }
}

/// The longest that a run may stand still to watch a guest.
const LONGEST: Duration = Duration::from_secs(3600);

/// A time to watch a guest. A unit that fails at each start does so within systemd's start limit (10 s, or what the unit
/// says), and a shorter watch than the usual one would be no proof that the machine stays up.
fn watch(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|e| format!("{e}; a time is written as 60s or 5m"))?;
    match (ALIVE..=LONGEST).contains(&time) {
        true => Ok(time),
        false => Err(format!("it must be from {} s to {} s", ALIVE.as_secs(), LONGEST.as_secs())),
    }
}

impl From<FindingsArgs> for Policy {
    fn from(args: FindingsArgs) -> Self {
        match args.strict {
            true => Self::Strict,
            false => args.findings.unwrap_or_default(),
        }
    }
}

/// Whether the playbooks are run a second time.
#[derive(Clone, Copy, Debug, PartialEq, Args)]
pub(crate) struct SecondArgs {
    /// Run the playbooks a second time: a task that changes something again fails the run (exit 6)
    #[arg(long, overrides_with = "no_idempotence")]
    idempotence: bool,
    /// Run them once [default]
    #[arg(long, overrides_with = "idempotence")]
    no_idempotence: bool,
}

impl SecondArgs {
    /// Whether there is a second run.
    pub(crate) fn wanted(self) -> bool {
        self.idempotence && !self.no_idempotence
    }
}

/// Which part of the playbooks is run.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct PartArgs {
    /// Run only this one of the profile's playbooks
    #[arg(long, value_name = "PLAYBOOK", conflicts_with = "idempotence")]
    only: Option<Utf8PathBuf>,
    /// Begin with this task, as ansible-playbook does
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), conflicts_with = "idempotence")]
    start_at_task: Option<String>,
    /// Run only tasks with one of these tags, in place of the profile's
    #[arg(long, value_name = "TAG,...", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new(), conflicts_with = "idempotence")]
    tags: Vec<String>,
    /// Run no task with one of these tags
    #[arg(long, value_name = "TAG,...", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new(), conflicts_with = "idempotence")]
    skip_tags: Vec<String>,
}

/// None where all is run.
impl From<PartArgs> for Option<Partial> {
    fn from(args: PartArgs) -> Self {
        let PartArgs { only, start_at_task, tags, skip_tags } = args;
        Some(Partial { only, start_at_task, tags, skip_tags }).filter(|part| *part != Partial::default())
    }
}

/// Whether the playbooks are tried in check mode around the reboot.
#[derive(Clone, Copy, Debug, PartialEq, Args)]
pub(crate) struct CheckModeArgs {
    /// Try the playbooks (--check --diff) before the reboot and after it: a task that would do its work again after it
    /// fails the run [default: where that takes less than a tenth of the run]
    #[arg(long, overrides_with = "no_check_mode")]
    check_mode: bool,
    /// Do not, however little it costs
    #[arg(long, overrides_with = "check_mode")]
    no_check_mode: bool,
}

impl From<CheckModeArgs> for Wanted {
    fn from(args: CheckModeArgs) -> Self {
        match (args.check_mode, args.no_check_mode) {
            (true, _) => Self::Always,
            (false, true) => Self::Never,
            (false, false) => Self::Auto,
        }
    }
}

/// What the change is applied on top of.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct UpgradeArgs {
    /// Apply the playbook repository as of this git revision first, and what stands in the work tree on top of it
    #[arg(long, value_name = "REV")]
    pub(crate) from: Option<String>,
    /// Do it on a fresh machine too, and compare how both end: what an upgrade leaves behind or does not bring fails the run
    #[arg(long, requires = "from")]
    pub(crate) both: bool,
}

/// How and when the machine is restarted.
#[derive(Clone, Debug, Args)]
pub(crate) struct ViaArgs {
    /// How the machine is restarted [default: the profile's `via`, else guest]
    #[arg(long, value_enum, value_name = "MODE")]
    via: Option<Mode>,
    /// Do it that many seconds after the request, or after the begin of the boot that --during begins
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_hyphen_values = true, conflicts_with = "on_console")]
    at: Option<Duration>,
    /// Do it when a line of the console matches
    #[arg(long, value_name = "REGEX")]
    on_console: Option<Pattern>,
    /// Restart the machine this way first, and do it in that boot; `none` waits for whatever the machine does
    /// [default with --on-console: guest]
    #[arg(long, value_enum, value_name = "MODE|none")]
    during: Option<During>,
}

/// The boot in which a restart is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct During(Option<Mode>);

impl From<ViaArgs> for Choice {
    fn from(args: ViaArgs) -> Self {
        let trigger = match (args.at, args.on_console) {
            (Some(after), _) => Trigger::At(after),
            (None, Some(pattern)) => Trigger::OnConsole(pattern),
            (None, None) => Trigger::Now,
        };
        Self { via: args.via, trigger, during: args.during.map(|During(mode)| mode) }
    }
}

impl ValueEnum for During {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [During; 8] = [
            During(None),
            During(Some(Mode::Guest)),
            During(Some(Mode::Acpi)),
            During(Some(Mode::Reset)),
            During(Some(Mode::PowerCycle)),
            During(Some(Mode::PowerLoss)),
            During(Some(Mode::Panic)),
            During(Some(Mode::Watchdog)),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.map_or("none", Mode::name)))
    }
}
