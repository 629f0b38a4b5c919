//! The machine that is booted from the image, and what it is asked. It is made when the first condition wants it; what
//! could not be had once (a machine, a shell) is not tried again.

use super::super::media::{self, Booted, boot_media};
use super::super::{Context, collect, down};
use super::Wanted;
use crate::audit::condition::Condition;
use crate::audit::image::BootsAs;
use crate::audit::outcome::{Seen, Verdict};
use crate::audit::probe::Probe;
use crate::audit::runtime::console::{self, Course};
use crate::audit::runtime::{self, Answer, Asked};
use camino::Utf8Path;
use evidence::report::RunFolder;
use host::cmd::Cmd;
use host::deadline::Deadline;
use host::failure::{Blame, Exit, Failure};
use host::ledger::Leak;
use std::time::{Duration, Instant, SystemTime};
use vm::console::tail::text_of;
use vm::machine::VmDir;
use vm::network::Mode;
use vm::qemu::{Backing, Storage};
use vm::serial::{Credentials, Dialect, Serial, SerialError};
use vm::wait::Watch;

/// When a machine that was kept goes by itself.
const TTL: Duration = Duration::from_secs(12 * 3600);
/// How long a shell may take that a condition needs and no other has asked for.
const SHELL_LIMIT: Duration = Duration::from_secs(120);

/// The machine of an audit.
pub(super) struct Machine<'a> {
    ctx: Context<'a>,
    wanted: &'a Wanted,
    folder: RunFolder,
    state: State,
}

/// What is left of it.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// What could not be removed.
    pub(super) leaks: Vec<Leak>,
    /// Whether it runs on, as it was asked to.
    pub(super) kept: bool,
}

enum State {
    /// Nothing was made yet.
    Off,
    /// It could not be made; why.
    Broken(String),
    /// It runs.
    On(Box<On>),
}

/// A machine that was switched on.
struct On {
    booted: Booted,
    begun: Instant,
    serial: Serial,
    who: Credentials,
    dialect: Dialect,
    /// Whose shell there is.
    shell: Shell,
    /// What was seen of each disk before the guest wrote anything.
    blank: Vec<Seen>,
}

/// Whose shell takes commands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shell {
    None,
    User,
    Root,
    /// It could not be had; why.
    Never(String),
}

impl<'a> Machine<'a> {
    pub(super) fn new(ctx: Context<'a>, wanted: &'a Wanted, folder: RunFolder) -> Self {
        Self { ctx, wanted, folder, state: State::Off }
    }

    /// What it was made of, once it was.
    pub(super) fn described(&self) -> Option<String> {
        let State::On(on) = &self.state else { return None };
        let (machine, boot) = (&on.booted.machine, self.wanted.profile.machine.as_ref()?);
        let firmware = format!("{:?}", boot.firmware).to_uppercase();
        let net = format!("{:?}", boot.net).to_lowercase();
        Some(format!(
            "{}, {} ({}), {firmware}, {}, {} CPUs, network {net}",
            machine.name, machine.accel, on.booted.accel_why, machine.mem, machine.vcpus
        ))
    }

    /// Look at one of its conditions.
    pub(super) async fn look(&mut self, condition: &Condition, image: &Utf8Path, boots_as: BootsAs) -> Seen {
        if matches!(self.state, State::Off) {
            // Whoever drops this in between leaves something to be removed.
            self.state = State::Broken("it was not switched on".into());
            self.state = match self.switch_on(image, boots_as).await {
                Ok(on) => State::On(Box::new(on)),
                Err(failure) => State::Broken(failure.chain.join(": ")),
            };
        }
        match &mut self.state {
            State::On(on) => on.look(condition).await,
            State::Broken(why) => Seen::unknown(format!("there is no machine: {why}")),
            State::Off => Seen::unknown("there is no machine"),
        }
    }

    async fn switch_on(&self, image: &Utf8Path, boots_as: BootsAs) -> Result<On, Failure> {
        let profile = &self.wanted.profile;
        // A profile with conditions that boot has both, or it is refused.
        let missing = |key: &str| Failure::new(Exit::Usage, format!("the profile has no `{key}`"));
        let mut boot = profile.machine.clone().ok_or_else(|| missing("machine"))?;
        match boots_as {
            BootsAs::Cd => boot.iso = Some(image.to_owned()),
            BootsAs::Disk(format) => {
                boot.image = Some(Backing { path: image.to_owned(), format: format.name().into() });
            }
        }
        let guest = profile.guest.as_ref().ok_or_else(|| missing("guest"))?;
        let dialect = Dialect::named(&guest.dialect).map_err(|why| Failure::new(Exit::Usage, why))?;
        let booted = boot_media(
            &self.ctx,
            &media::Wanted {
                name: &self.wanted.name,
                boot: &boot,
                mode: Mode::Namespace,
                allowed: &profile.console.allow,
                min_free: boot.mem_mib,
                ttl: Some(TTL),
            },
        )
        .await?;
        let begun = Instant::now();
        let blank = blank(&booted).await;
        let serial = Serial::over(&booted.vm).await?;
        let who = Credentials { password: guest.password.clone(), ..Credentials::user(&guest.user) };
        Ok(On { booted, begun, serial, who, dialect, shell: Shell::None, blank })
    }

    /// Keep what it leaves as evidence, and remove it unless it is to stay.
    pub(super) async fn end(self, keep: bool) -> Result<Ended, Failure> {
        if matches!(self.state, State::Off) {
            return Ok(Ended::default());
        }
        self.keep_files(&VmDir::of(self.ctx.dirs, &self.wanted.name));
        if let State::On(on) = self.state
            && keep
            && on.booted.vm.is_alive()
        {
            on.booted.keep()?;
            // Whoever attaches is to find the line as it was, and not a shell without echo.
            if let Err(error) = on.serial.end().await {
                self.ctx.progress.note(&format!("the console is not as it was before: {}", first_line(&error)));
            }
            return Ok(Ended { kept: true, ..Ended::default() });
        }
        let (removed, _) = down::phase(&self.ctx, &self.wanted.name).await?;
        Ok(Ended { leaks: removed.leaks, kept: false })
    }

    fn keep_files(&self, vm: &VmDir) {
        let mut kept = collect::of_monitor(&self.folder, vm);
        kept.push(self.folder.copy(&vm.machine(), "machine.json"));
        collect::note_missing(&self.ctx, kept);
    }
}

impl On {
    async fn look(&mut self, condition: &Condition) -> Seen {
        let deadline = Deadline::after(condition.limit());
        match &condition.probe {
            Probe::DiskBlankBefore { disk } => match self.blank.get(*disk) {
                Some(seen) => seen.clone(),
                None => Seen::unknown(format!("the machine has no disk {disk}: it has {}", self.blank.len())),
            },
            Probe::ConsoleAlive { max_gap_s } => {
                let dialect = self.dialect.clone();
                let is_login = |line: &str| dialect.login.are_in(line) || dialect.automatic.are_in(line);
                self.follow(Duration::from_secs_f64(*max_gap_s), &deadline, is_login).await
            }
            Probe::ConsoleSpeaks { within_s } => {
                self.follow(Duration::from_secs(*within_s), &deadline, |line: &str| !line.trim().is_empty()).await
            }
            Probe::ConsoleNever { pattern } => {
                console::judge_never(pattern, &text_of(&self.booted.vm.console(), 0, None))
            }
            Probe::Login {} => self.log_in(&deadline).await,
            Probe::Escalation {} => self.become_root(&deadline).await,
            probe => self.ask(probe, condition.limit()).await,
        }
    }

    /// Follow the console from its start, against all that ends the machine.
    async fn follow(&self, max_gap: Duration, deadline: &Deadline, is_login: impl Fn(&str) -> bool) -> Seen {
        let vm = &self.booted.vm;
        let log = vm.console();
        let mut watch = match Watch::since(vm, 0) {
            Ok(watch) => watch,
            Err(error) => return Seen::unknown(Failure::from(error).to_string()),
        };
        // The console's own deadline comes first, and says more.
        let later = Deadline::after(deadline.left() + Duration::from_secs(5));
        let course = async || -> Result<std::io::Result<Course>, String> {
            Ok(console::follow(&log, self.begun, max_gap, deadline, &is_login).await)
        };
        match watch.until("a login prompt on the console", &later, course).await {
            Ok(Ok(course)) => console::judge(&course),
            Ok(Err(error)) => Seen::unknown(format!("cannot follow {log}: {error}")),
            Err(error) => {
                let failure = Failure::from(error);
                Seen::fails("the machine was lost", failure.chain.join(": "))
            }
        }
    }

    /// The user's shell. That somebody else's is there is said.
    async fn log_in(&mut self, deadline: &Deadline) -> Seen {
        let came = self.serial.login(&self.dialect, &self.who, deadline).await;
        self.shell = match &came {
            Ok(_) => Shell::User,
            Err(error) => Shell::Never(first_line(error)),
        };
        let login = match came {
            Ok(login) => login,
            Err(error) => return failed(&error),
        };
        if login.uid == 0 {
            self.shell = Shell::Root;
        }
        let observed = format!("{} (uid {}), {:?}", login.user, login.uid, login.how);
        let cause =
            (login.user != self.who.user).then(|| format!("the shell is {}'s and not {}'s", login.user, self.who.user));
        Seen::judged(observed, cause)
    }

    async fn become_root(&mut self, deadline: &Deadline) -> Seen {
        if let Err(why) = self.have_shell().await {
            return Seen::unknown(why);
        }
        match self.serial.become_root(&self.dialect, &self.who, deadline).await {
            Ok(login) => {
                self.shell = Shell::Root;
                Seen::holds(format!("{} (uid {})", login.user, login.uid))
            }
            Err(error) => failed(&error),
        }
    }

    /// Ask the guest.
    async fn ask(&mut self, probe: &Probe, limit: Duration) -> Seen {
        if let Err(why) = self.have_shell().await {
            return Seen::unknown(why);
        }
        // LVM answers root only.
        let takes_root =
            matches!(probe, Probe::VolumeGroup { .. } | Probe::LogicalVolume { .. } | Probe::Command { .. });
        if takes_root && self.shell != Shell::Root {
            match self.become_root(&Deadline::after(SHELL_LIMIT)).await.verdict {
                Verdict::Holds => {}
                Verdict::Fails(why) | Verdict::Unknown(why) => {
                    return Seen::unknown(format!("there is no shell of root: {why}"));
                }
            }
        }
        let user = self.who.user.clone();
        let asked = Asked { user: &user, as_root: self.shell == Shell::Root, limit };
        let Some(command) = runtime::command(probe, &asked) else {
            return Seen::unknown(format!("{} is no probe of the machine's", probe.name()));
        };
        match self.serial.run(&command, limit).await {
            Ok(answer) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                runtime::judge(probe, &asked, &Answer { code: answer.code, output: answer.output }, now)
            }
            Err(error) => Seen::unknown(first_line(&error)).in_text(error.to_string()),
        }
    }

    /// A shell to ask in, whoever asked for one before.
    async fn have_shell(&mut self) -> Result<(), String> {
        if self.shell == Shell::None {
            self.log_in(&Deadline::after(SHELL_LIMIT)).await;
        }
        match &self.shell {
            Shell::Never(why) => Err(format!("there is no shell: {why}")),
            _ => Ok(()),
        }
    }
}

/// What a talk over the line that came to nothing means: lost by us, it says nothing of the image.
fn failed(error: &SerialError) -> Seen {
    let seen = match error.exit() {
        Exit::Lost => Seen::unknown(first_line(error)),
        _ => Seen::fails("no shell", first_line(error)),
    };
    seen.in_text(error.to_string())
}

fn first_line(error: &SerialError) -> String {
    error.to_string().lines().next().unwrap_or_default().trim_end_matches([':', ';']).to_owned()
}

/// Whether each disk reads as nothing but zeros, and the guest has not written to it yet: it runs already, and its firmware
/// writes nothing.
async fn blank(booted: &Booted) -> Vec<Seen> {
    let Storage::Media(media) = &booted.machine.storage else { return Vec::new() };
    let maps: Vec<_> = media
        .disks
        .iter()
        .map(|disk| {
            let map = ["map", "-U", "--output=json", "-f", disk.format.name()];
            Cmd::new("qemu-img").args(map).arg(disk.path.as_str()).run().map(|output| output.stdout)
        })
        .collect();
    let written = match booted.client.qmp("query-blockstats", serde_json::json!({}), Duration::from_secs(20)).await {
        Ok(stats) => runtime::disks::written(&stats),
        Err(error) => {
            return maps
                .iter()
                .map(|_| Seen::unknown(format!("QEMU does not say what was written: {error}")))
                .collect();
        }
    };
    let disks = media.disks.iter().zip(maps);
    disks
        .map(|(disk, map)| match map {
            Ok(map) => runtime::disks::judge_blank(&disk.path, &map, written),
            Err(error) => Seen::unknown(error.to_string()),
        })
        .collect()
}
