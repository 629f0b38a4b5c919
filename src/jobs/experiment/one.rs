//! One run of an experiment: back to the snapshot, a restart, and all that is measured of it.

use crate::jobs::run::Run;
use crate::jobs::stop::or_stopped;
use evidence::experiment::expect::{self, Deviation};
use evidence::experiment::marks::{self, since_uptime};
use evidence::experiment::record::{Fates, OneRun};
use evidence::experiment::{Markers, Milestone, Milestones, Planted, Traces, markers};
use evidence::observe::{Finding, Policy};
use evidence::record::Step;
use evidence::report::RunFolder;
use host::failure::{Exit, Failure};
use host::names::SnapshotName;
use host::shell::quoted;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use vm::console::gap;
use vm::console::times::Times;
use vm::handle::Vm;
use vm::monitor::events::monotonic;
use vm::network::lease;
use vm::reboot::{self, Mode, Request, Restart};
use vm::ssh::{Session, SshError};

/// How long a short script in the guest may take.
const ASK_LIMIT: Duration = Duration::from_secs(120);

/// What all runs of an experiment have in common.
pub(super) struct Terms<'a> {
    /// What decides the markers' tokens.
    pub seed: u64,
    /// The snapshot that each begins from.
    pub from: &'a SnapshotName,
    /// Which findings in the machine's state are deviations.
    pub findings: Policy,
    /// How long a restart, and a restore, may take until it has settled.
    pub limit: Duration,
    /// The folder of this run in the evidence.
    pub folder: &'a RunFolder,
}

/// The moment before the restart: what the machine's traces are read from.
#[derive(Clone, Copy, Debug)]
struct Moment {
    mono: f64,
    console: u64,
}

impl Run<'_> {
    /// Make one run. What goes wrong in it is in what it returns; only the user's stop is an error.
    pub(super) async fn one(&mut self, mut one: OneRun, terms: &Terms<'_>) -> Result<OneRun, Failure> {
        let begin = monotonic();
        let done = self.measure(&mut one, terms).await;
        one.seconds = monotonic() - begin;
        match done {
            Err(failure) if failure.exit == Exit::Interrupted => return Err(failure),
            Err(failure) => one.failure = Some(failure),
            Ok(()) => {}
        }
        Ok(one)
    }

    async fn measure(&mut self, one: &mut OneRun, terms: &Terms<'_>) -> Result<(), Failure> {
        one.restore = Some(self.restore(terms.from, terms.limit).await?);
        let before = self.observe().await?;
        // The record's is that of the experiment's last restore.
        self.judge_by(terms.findings, self.watch_for());
        let planted = self.restart(one, terms).await?;
        let Some(restart) = one.restart.clone() else {
            return Err(Failure::new(Exit::Bug, "a restart that was made is not in its run"));
        };
        let since = self.judged_until(Some(&restart))?;
        let looked = self.undisturbed(since, Some(&restart), async |run| {
            read_guest(run.vm(), one, terms, &planted).await?;
            run.verify(one).await?;
            let compared = run.compare(before).await?;
            run.seen_alive(&restart, compared).await
        });
        looked.await?;
        self.judge_loss(one, terms)
    }

    /// Plant the markers, restart the machine at once, and take the times of it.
    async fn restart(&mut self, one: &mut OneRun, terms: &Terms<'_>) -> Result<Planted, Failure> {
        let markers = Markers::of(terms.seed, one.number);
        let vm = self.vm();
        let ssh = vm.ssh()?;
        let request = Request::now(one.mode);
        let (answer, moment) = (RefCell::new(String::new()), Cell::new(None));
        let plant = async |session: &Session| {
            let said = session.must(&as_root(&markers.plant_script()), ASK_LIMIT).await?;
            answer.replace(said);
            let console = std::fs::metadata(vm.dir().console()).map_or(0, |meta| meta.len());
            moment.set(Some(Moment { mono: monotonic(), console }));
            Ok::<_, SshError>(())
        };
        let leases = RefCell::new(Vec::new());
        let path = vm.leases();
        let watching = lease::each_time(&path, &vm.end().mac, |_| leases.borrow_mut().push(monotonic()));
        self.progress().begin(&format!("restart by {}", one.mode));
        let restarted = or_stopped(async {
            tokio::select! {
                restarted = reboot::run_after(vm.dir(), (&ssh, vm.kept()), &request, terms.limit, plant) => Ok(restarted?),
                () = watching => unreachable!("it never ends"),
            }
        })
        .await;
        if let Some(moment) = moment.get() {
            let asked = restarted.as_ref().map_or(moment.mono, |restart: &Restart| restart.asked_mono);
            one.milestones = milestones(vm, moment, asked)?;
            // Where the mode's own evidence says when the old boot was over, that is the time.
            if let Some(down) = restarted.as_ref().ok().and_then(|restart| restart.down_s) {
                one.milestones.pass(Milestone::Down, down);
            }
            if let Some(down) = one.milestones.at(Milestone::Down)
                && let Some(leased) = leases.borrow().iter().find(|time| **time - asked > down)
            {
                one.milestones.pass(Milestone::Lease, leased - asked);
            }
            keep(vm, terms.folder, moment)?;
        }
        let restart = restarted?;
        let planted = Planted::parse(&answer.borrow()).map_err(|e| Failure::new(Exit::Lost, e.to_string()))?;
        one.milestones.pass(Milestone::Sshd, restart.ssh_s);
        one.milestones.pass(Milestone::Settled, restart.settled_s);
        let before_asking_s = restart.asked_mono - moment.get().map_or(restart.asked_mono, |moment| moment.mono);
        one.markers = Some(Fates { planted: planted.clone(), before_asking_s, fates: Vec::new() });
        one.restart = Some(restart);
        self.way_after_reboot().await?;
        self.judge_way()?;
        Ok(planted)
    }

    /// The outcome checks after the restart.
    async fn verify(&mut self, one: &mut OneRun) -> Result<(), Failure> {
        self.check("assert", "after the restart").await?;
        let last = self.record().last_checks();
        if last.is_none_or(|last| last.looked() == 0) {
            return Err(Failure::new(Exit::Lost, "none of the checks looked at anything after the restart"));
        }
        let checks = last.map(|last| last.checks.clone()).unwrap_or_default();
        let failed = checks.iter().filter(|check| check.is_red());
        let deviation = |check: &evidence::playbook::checks::Check| Deviation {
            id: format!("check/{}", check.id),
            expected: "ok".into(),
            saw: check.detail.clone(),
        };
        let before = one.deviations.len();
        one.deviations.extend(failed.map(deviation));
        if one.deviations.len() == before
            && let Some(restart) = &one.restart
        {
            one.milestones.pass(Milestone::Verified, monotonic() - restart.asked_mono);
        }
        one.checks = Some(checks);
        Ok(())
    }

    /// What the restart cost of the machine's state; which of it is a deviation, `--findings` says.
    fn judge_loss(&mut self, one: &mut OneRun, terms: &Terms<'_>) -> Result<(), Failure> {
        one.state = self.record().state.clone();
        self.keep(Step::State(Box::new(None)));
        let deviation = |id: &str, expected: &str, saw: &str| Deviation {
            id: format!("state/{id}"),
            expected: expected.to_owned(),
            saw: saw.to_owned(),
        };
        match &mut one.state {
            Some(state) => {
                for look in [&mut state.before, &mut state.after] {
                    let name = look.file.rsplit('/').next().unwrap_or_default().to_owned();
                    terms.folder.copy(&self.folder().path().join(&look.file), &name)?;
                    look.file = name;
                }
                let lost = state.judged.findings.iter().filter(|finding| terms.findings.fails(finding));
                let was = |finding: &Finding| finding.before.clone().unwrap_or_default();
                one.deviations.extend(lost.map(|finding| deviation(&finding.id, &was(finding), &finding.what)));
            }
            None if terms.findings == Policy::Report => {}
            None => {
                return Err(Failure::new(Exit::Lost, "could not look: the state was not compared across the restart"));
            }
        }
        Ok(())
    }
}

/// What the journal and the console tell of the time since a moment.
fn milestones(vm: &Vm, moment: Moment, asked: f64) -> Result<Milestones, Failure> {
    let lost = |e: std::io::Error| Failure::new(Exit::Lost, format!("the console's times cannot be read: {e}"));
    let events = vm.events()?;
    let times = Times::read(&vm.dir().console_times()).map_err(lost)?;
    let console = console_since(vm, moment)?;
    Ok(Milestones::from(Traces { events: &events, console: &console, from: moment.console, times: &times, asked }))
}

fn console_since(vm: &Vm, moment: Moment) -> Result<Vec<u8>, Failure> {
    let read = || {
        let mut pieces = gap::pieces(&vm.dir().console(), moment.console..u64::MAX)?;
        // The times stand beside offsets, so what they belong to must be whole.
        match pieces.len() {
            0 | 1 => Ok(pieces.pop().map(|piece| piece.bytes).unwrap_or_default()),
            _ => Err(std::io::Error::other("the guest flooded it, and its middle was not kept")),
        }
    };
    read().map_err(|e: std::io::Error| Failure::new(Exit::Lost, format!("the console cannot be read: {e}")))
}

/// The run's own part of the console and of the journal.
fn keep(vm: &Vm, folder: &RunFolder, moment: Moment) -> Result<(), Failure> {
    folder.write("console.log", console_since(vm, moment)?)?;
    let events = vm.events()?.into_iter().filter(|event| event.mono >= moment.mono);
    let lines = events.filter_map(|event| serde_json::to_string(&event).ok()).map(|line| line + "\n");
    Ok(folder.write("events.ndjson", lines.collect::<String>())?)
}

/// The markers' fates and the marks of an unclean shutdown, from the new boot.
async fn read_guest(vm: &Vm, one: &mut OneRun, terms: &Terms<'_>, planted: &Planted) -> Result<(), Failure> {
    let ssh = vm.ssh()?;
    let asked = or_stopped(async {
        let session = ssh.session(ASK_LIMIT).await?;
        let fates = session.must(&as_root(&markers::read_script()), ASK_LIMIT).await?;
        Ok((fates, session.must(&as_root(JOURNAL), ASK_LIMIT).await?))
    });
    let (fates, journal) = vm.watch()?.unless_lost("the markers and the journal", asked).await?;
    terms.folder.write("journal.txt", &journal)?;
    // Where the kernel goes on, its journal goes back to before the restart.
    let journal = match one.mode {
        Mode::SoftReboot => since_uptime(&journal, planted.uptime_s),
        _ => journal,
    };
    let console = std::fs::read(terms.folder.path().join("console.log")).unwrap_or_default();
    let found = marks::find([console.as_slice(), journal.as_bytes()]);
    one.deviations.extend(expect::of_marks(one.mode, &found));
    one.marks = Some(found);
    if let Some(own) = &mut one.markers {
        let fates = Markers::of(terms.seed, one.number).fates(&fates);
        own.fates = fates.map_err(|e| Failure::new(Exit::Lost, e.to_string()))?.into();
        let down = one.milestones.at(Milestone::Down).unwrap_or_default();
        let circumstances = format!(
            "written {:.2} s before asking, the old boot over {down:.2} s after it",
            own.planted.open_s + own.before_asking_s
        );
        one.deviations.extend(expect::of_markers(one.mode, &own.fates, &circumstances));
    }
    Ok(())
}

/// What journald has of this boot where it can show an unclean shutdown: the kernel's words, its own, and
/// those of the file system checks.
const JOURNAL: &str = "journalctl -b -q --no-pager -o short-monotonic _TRANSPORT=kernel \
    + _SYSTEMD_UNIT=systemd-journald.service + SYSLOG_IDENTIFIER=systemd-fsck + SYSLOG_IDENTIFIER=fsck";

fn as_root(script: &str) -> String {
    format!("sudo -n sh -c {}", quoted(script))
}
