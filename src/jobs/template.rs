//! How a machine begins: it goes on from a template, which is made first where there is none; where anything about that is in
//! doubt, it is booted, and why is said.

use super::bring_up::own_exe;
use super::run::{Run, Said};
use super::up::{As, Found, Prepared, firmware, make_network, prepare};
use super::{boot, stop, timeline};
use crate::image::{Golden, Stamp};
use crate::profile::PackageLists;
use crate::template::{Key, Made, Place, Shelf, Staging, Template, Told, file_digest, unsupported};
use camino::{Utf8Path, Utf8PathBuf};
use evidence::record::{Began, BootSeen, Step};
use host::deadline::Deadline;
use host::dirs::{Dirs, make_private, write_private};
use host::failpoint;
use host::failure::{Exit, Failure};
use host::ledger::folder;
use host::names::VmName;
use host::presence::ignore;
use host::promise::Promise;
use std::time::Duration;
use vm::access::{self, When};
use vm::machine::VmDir;
use vm::monitor::{self, Client};
use vm::network::{self, Egress, NetPlan, lease};
use vm::qemu::Machine;
use vm::qemu::boot::Bus;
use vm::qemu::firmware::Firmware;
use vm::ready::{self, Settled};
use vm::ssh::{Ssh, Ways};
use vm::template::{self, Identity};
use vm::wait::Watch;

/// How long a machine may take to be saved; 2 s on an idle host.
pub(super) const SAVE_LIMIT: Duration = Duration::from_secs(180);
/// How long a machine may take to go on and to settle. One that takes longer is booted: 10 s on an idle host under emulation.
const RESUME_LIMIT: Duration = Duration::from_secs(180);

/// What a machine goes on from: a template, or the host itself with a revision applied.
pub(super) struct Source {
    /// The machine that was saved.
    pub(super) name: VmName,
    pub(super) key: Key,
    pub(super) place: Place,
    pub(super) template: Template,
    /// Whether it was made in this run: then the network is there, and knows the guest.
    pub(super) made: bool,
}

impl Source {
    fn of(made: &Made, place: Place, template: Template, made_now: bool) -> Result<Self, Unmade> {
        Ok(Self { name: name_of(made)?, key: made.key(), place, template, made: made_now })
    }
}

/// Why there is nothing to go on from.
pub(super) enum Unmade {
    /// The machine can be booted without it.
    Doubt(String),
    /// The run is over.
    Run(Failure),
}

impl Unmade {
    fn doubt(error: impl Into<Failure>) -> Self {
        Self::Doubt(error.into().to_string())
    }
}

impl From<Failure> for Unmade {
    fn from(failure: Failure) -> Self {
        Self::Run(failure)
    }
}

impl Run<'_> {
    /// Bring the machine to where it is ready.
    pub(super) async fn begin_machine(&mut self, found: &Found, golden: &Golden) -> Result<(), Failure> {
        if !self.plan().options.template {
            return self.cold(found, golden).await;
        }
        let made = match wanted(self, found, golden) {
            Ok(made) => made,
            Err(why) => return self.cold_after_all(found, golden, why).await,
        };
        let source = match self.source(found, golden, &made).await {
            Ok(source) => source,
            Err(Unmade::Run(failure)) => return Err(failure),
            Err(Unmade::Doubt(why)) => {
                self.take_back().await?;
                return self.cold_after_all(found, golden, why).await;
            }
        };
        match self.go_on_from(found, golden, &source).await {
            Err(failure) if !stop::asked() && failure.exit != Exit::Usage => {
                let why = format!("the template {} failed: {failure}", source.key.short());
                self.take_back().await?;
                Shelf::of(self.ctx().dirs).refuse(&source.key)?;
                self.cold_after_all(found, golden, why).await
            }
            done => done,
        }
    }

    /// Boot the machine, although a template was asked for.
    async fn cold_after_all(&mut self, found: &Found, golden: &Golden, why: String) -> Result<(), Failure> {
        self.progress().note(&format!("no template: {why}; the machine is booted"));
        self.keep(Step::Began(Began::Cold { why }));
        self.cold(found, golden).await
    }

    /// The template that is there, or one that is made now.
    async fn source(&mut self, found: &Found, golden: &Golden, made: &Made) -> Result<Source, Unmade> {
        if let Some(source) = self.kept(made, "the template that is there", None)? {
            return Ok(source);
        }
        let staging = self.staging(made)?;
        self.make(found, golden, made, staging).await?;
        self.just_made(made)
    }

    /// What is kept of it, if there is no doubt about that. `what` names it in messages; `none` is shown where nothing is kept.
    pub(super) fn kept(&self, made: &Made, what: &str, none: Option<&str>) -> Result<Option<Source>, Unmade> {
        let shelf = Shelf::of(self.ctx().dirs);
        match shelf.find(made) {
            Ok(Some((place, template))) => Source::of(made, place, template, false).map(Some),
            Ok(None) => {
                if let Some(none) = none {
                    self.progress().note(none);
                }
                Ok(None)
            }
            Err(why) => {
                self.progress().note(&format!("{what} is not used: {why}; making another"));
                shelf.refuse(&made.key()).map_err(Failure::from)?;
                Ok(None)
            }
        }
    }

    /// A place to save one in.
    pub(super) fn staging(&self, made: &Made) -> Result<Staging, Unmade> {
        let staging = Shelf::of(self.ctx().dirs).make(&made.key()).map_err(Unmade::doubt)?;
        staging.make_files(made.mem.0 << 20).map_err(Unmade::doubt)?;
        Ok(staging)
    }

    /// What was saved a moment ago.
    pub(super) fn just_made(&self, made: &Made) -> Result<Source, Unmade> {
        match Shelf::of(self.ctx().dirs).find(made) {
            Ok(Some((place, template))) => Source::of(made, place, template, true),
            Ok(None) => Err(Unmade::Doubt("it was gone as soon as it was made".into())),
            Err(why) => Err(Unmade::Doubt(why)),
        }
    }

    /// Boot a machine that is nobody's, and save it.
    async fn make(&mut self, found: &Found, golden: &Golden, made: &Made, staging: Staging) -> Result<(), Unmade> {
        let (name, place) = (name_of(made)?, staging.place().clone());
        let phases = ["prepare the template", "boot the template", "package lists of the template"];
        let client = self.boot_to_save(found, golden, made, &As::Maker(&name, &place), phases).await?;
        let leased_to = self.leased_to()?;
        let saved =
            self.phase("save the template", async |run| save(run, made, client, leased_to, staging).await).await;
        self.once_saved(saved)
    }

    /// Boot a machine that is to be saved, by phases of these names; the public key that logs in to it.
    pub(super) async fn boot_to_save(
        &mut self,
        found: &Found,
        golden: &Golden,
        made: &Made,
        who: &As<'_>,
        [prepares, boots, fetches]: [&str; 3],
    ) -> Result<String, Unmade> {
        let prepared = self.phase(prepares, async |run| prepare(run, golden, &found.preflight, who)).await?;
        let Prepared { mut machine, secrets } = prepared;
        self.phase("network", async |run| make_network(run, &found.net)).await?;
        drop(self.phase(boots, async |run| boot::boot(run, &mut machine, &found.promise).await).await?);
        if machine.accel != made.accel {
            return Err(Unmade::Doubt("KVM was tried and failed while it was made".into()));
        }
        if !self.lists(fetches).await? {
            return Err(Unmade::Doubt("its package lists could not be fetched".into()));
        }
        Ok(secrets.map(|secrets| secrets.client).unwrap_or_default())
    }

    /// The client identifier in the lease of the guest.
    pub(super) fn leased_to(&self) -> Result<String, Unmade> {
        let leased = lease::find(&self.vm().leases(), &self.vm().end().mac);
        Ok(leased.ok_or_else(|| Unmade::Doubt("its guest has no lease any more".into()))?.client)
    }

    /// A machine that was saved has ended.
    pub(super) fn once_saved(&self, saved: Result<(), Failure>) -> Result<(), Unmade> {
        match saved {
            Ok(()) => Ok(self.remove_machine()?),
            Err(failure) if stop::asked() => Err(Unmade::Run(failure)),
            Err(failure) => Err(Unmade::Doubt(format!("it could not be saved: {failure}"))),
        }
    }

    /// What was of a machine that was saved goes; the network stays.
    fn remove_machine(&self) -> Result<(), Failure> {
        self.vm().kept().hang_up();
        match folder::remove(self.vm().dir().path()).first() {
            None => Ok(()),
            Some(leak) => Err(Failure::new(
                Exit::Leaked,
                format!("{} of the machine that was saved cannot be removed: {}", leak.what, leak.why),
            )),
        }
    }

    /// Let the machine go on from it.
    async fn go_on_from(&mut self, found: &Found, golden: &Golden, source: &Source) -> Result<(), Failure> {
        let Source { name, key, place, template, made } = source;
        let (saved, made) = (template.at.clone(), *made);
        self.keep(Step::Began(Began::Template { key: key.as_str().to_owned(), saved, made }));
        let prepared = self.prepare_again(found, golden, source, &As::Clone(name, place)).await?;
        let seen =
            self.phase("resume", async |run| resume(run, place, template, &prepared, &found.promise).await).await?;
        self.keep(Step::Boot(seen));
        if !template.made.package_lists {
            self.lists("package lists").await?;
        }
        self.made_ready().await
    }

    /// A folder for the machine that goes on, and the network that its guest knows.
    pub(super) async fn prepare_again(
        &mut self,
        found: &Found,
        golden: &Golden,
        source: &Source,
        who: &As<'_>,
    ) -> Result<Prepared, Failure> {
        let prepared = self.phase("prepare", async |run| prepare(run, golden, &found.preflight, who)).await?;
        if !source.made {
            let net = NetPlan { leased_to: Some(source.template.leased_to.clone()), ..found.net.clone() };
            self.phase("network", async |run| make_network(run, &net)).await?;
        }
        Ok(prepared)
    }

    /// Remove what there is of a machine that did not come to be, and the network that it was in.
    pub(super) async fn take_back(&mut self) -> Result<(), Failure> {
        self.vm().kept().hang_up();
        let vm = self.vm().dir().clone();
        if vm.is_alive() {
            ignore(
                Client::new(&vm).stop().await,
                "the ledger's undo ends what does not listen, or says that it cannot",
            );
        }
        let run = self.folder();
        let kept =
            [(vm.qemu_err(), "qemu-stderr.txt"), (vm.events(), "events.ndjson"), (vm.monitor_log(), "monitor.log")];
        for (path, name) in kept {
            ignore(run.copy(&path, &format!("template/{name}")), "the reason is told; this is what else there is");
        }
        let mut leaks = folder::remove(vm.path());
        leaks.extend(network::release(self.ctx().dirs, &self.plan().net.name)?);
        match leaks.first() {
            None => Ok(()),
            Some(leak) => Err(Failure::new(Exit::Leaked, format!("{} cannot be removed: {}", leak.what, leak.why))
                .next("remove by hand what is named, and begin again")),
        }
    }
}

pub(super) fn name_of(made: &Made) -> Result<VmName, Unmade> {
    made.key().name().ok_or_else(|| Unmade::Doubt("its key gives no name".into()))
}

/// The disks of templates that machines stand on, in this state and all of its lanes.
pub(super) fn disks_in_use(dirs: &Dirs) -> Result<Vec<Utf8PathBuf>, Failure> {
    let mut used = Vec::new();
    for dirs in dirs.whole()? {
        let vms = VmDir::list(&dirs)?;
        let disk = |vm: &VmDir| Machine::load(&vm.machine()).ok()?.template?.disk().map(Utf8Path::to_owned);
        used.extend(vms.iter().filter_map(|(_, vm)| disk(vm)));
    }
    Ok(used)
}

/// What the machine is made of, or why it is to be booted.
pub(super) fn wanted(run: &Run<'_>, found: &Found, golden: &Golden) -> Result<Made, String> {
    let plan = run.plan();
    if let Some(why) = unsupported(&found.qemu) {
        return Err(why);
    }
    // The firmware's variables and further disks would have to be saved with it.
    let (firmware, _) = firmware(golden, plan.profile.firmware).map_err(|e| e.to_string())?;
    if firmware != Firmware::Bios {
        return Err(format!("a machine that is started by {firmware} is not saved as one"));
    }
    if !plan.profile.disks.is_empty() || plan.profile.disk_bus != Bus::VirtioBlk {
        return Err("a machine with further disks, or with SCSI disks, is not saved as one".into());
    }
    if !plan.profile.nics.is_empty() {
        return Err("a machine with further network cards is not saved as one".into());
    }
    let image = match &golden.record {
        Some(record) => (record.sha512.clone(), record.file.clone()),
        None => {
            let stamp = Stamp::of(&golden.path).map_err(|e| format!("{} cannot be looked at: {e}", golden.path))?;
            (file_digest(&golden.path, &stamp), golden.path.to_string())
        }
    };
    let lists = plan.profile.package_lists == PackageLists::Fetch && plan.net.egress != Egress::None;
    let told = Told { user: &plan.profile.user, interface: plan.profile.interface.as_ref() };
    Ok(Made::of(image, &plan.machine, plan.profile.disk_gib, &plan.net, told, &found.qemu, lists))
}

async fn save(
    run: &Run<'_>,
    made: &Made,
    client: String,
    leased_to: String,
    staging: Staging,
) -> Result<((), Said), Failure> {
    let vm = run.vm();
    let memory = template::save(vm.dir(), (&vm.ssh()?, vm.kept()), vm.end().ip, SAVE_LIMIT).await?;
    failpoint::reached(failpoint::Point::Phase("template saved"));
    let place = staging.place();
    for (from, to) in [(vm.dir().ssh_key(), place.key()), (vm.dir().known_hosts(), place.known_hosts())] {
        let text = std::fs::read(&from).map_err(|e| Failure::new(Exit::Host, format!("cannot read {from}: {e}")))?;
        write_private(&to, text)?;
    }
    staging.publish(made, memory, client, leased_to)?;
    Ok(((), Said::from(format!("{}, in {}", made.key().short(), Shelf::of(run.ctx().dirs).dir()))))
}

/// Start QEMU where the template stopped, make the guest a machine of its own, and wait until it is ready.
async fn resume(
    run: &Run<'_>,
    place: &Place,
    template: &Template,
    prepared: &Prepared,
    promise: &Promise,
) -> Result<(BootSeen, Said), Failure> {
    let (vm, plan) = (run.vm(), run.plan());
    let theirs = template_ways(run, place)?;
    let (mut watch, deadline) = switch_on_again(run, promise)?;
    let Some(secrets) = &prepared.secrets else {
        return Err(Failure::new(Exit::Bug, "a machine that goes on from a template has keys of its own"));
    };
    let name = plan.host.guest();
    let identity = Identity {
        host: name.split('.').next().unwrap_or(&name),
        user: &plan.profile.user,
        secrets,
        theirs: &template.client,
    };
    let ssh = Ssh::new(&theirs, vm.network()?.enter_bound());
    let first_s =
        template::take_over(vm.dir(), &ssh, template.memory.clone(), &identity, &mut watch, &deadline).await?;
    std::fs::remove_dir_all(theirs.path()).map_err(|e| {
        Failure::new(Exit::Host, format!("cannot remove the template's key from {}: {e}", theirs.path()))
    })?;
    let Again { seen, settled, own_s, off_s } = ready_again(run, &mut watch, &deadline).await?;
    if !settled.failed_units.is_empty() {
        run.progress().note(&format!("units that failed in the fresh guest: {}", settled.failed_units.join(" ")));
    }
    let said = format!(
        "{} at {}, {}; the template's ssh after {first_s:.1} s, its own after {own_s:.1} s, clock {off_s:+.2} s",
        prepared.machine.accel, plan.net.vm.ip, settled.system
    );
    Ok((seen, said.into()))
}

/// Start QEMU where a machine was stopped.
pub(super) fn switch_on_again(run: &Run<'_>, promise: &Promise) -> Result<(Watch, Deadline), Failure> {
    let vm = run.vm();
    let enter = vm.network()?.enter_as_monitor();
    let deadline = Deadline::after(RESUME_LIMIT.min(run.plan().limit()));
    monitor::spawn(&own_exe()?, &enter, vm.dir(), Some(promise))?;
    Ok((Watch::since(vm.dir(), 0)?, deadline))
}

/// A guest that has gone on and is ready.
pub(super) struct Again {
    pub(super) seen: BootSeen,
    pub(super) settled: Settled,
    /// Seconds until it let its own key in.
    own_s: f64,
    /// How far its clock is off, in seconds.
    pub(super) off_s: f64,
}

/// Wait until a guest that goes on is ready.
pub(super) async fn ready_again(run: &Run<'_>, watch: &mut Watch, deadline: &Deadline) -> Result<Again, Failure> {
    let (vm, ssh) = (run.vm(), run.vm().ssh()?);
    let session = access::login(vm.dir(), &ssh, When::Booting, watch, deadline).await?;
    let own_s = deadline.waited().as_secs_f64();
    let (_, off_s) = template::clock(&session).await?;
    let (session, settled) = ready::settle(&ssh, session, watch, deadline).await?;
    let seen = timeline::look(run, &vm.kept().share(session)).await;
    Ok(Again { seen, settled, own_s, off_s })
}

/// The template's key and the way in by it, in a folder in the VM's own that goes with the first login.
fn template_ways(run: &Run<'_>, place: &Place) -> Result<VmDir, Failure> {
    let theirs = VmDir::at(run.vm().dir().path().join("t"));
    make_private(&theirs.keys())?;
    for (from, to) in [(place.key(), theirs.ssh_key()), (place.known_hosts(), theirs.known_hosts())] {
        let text = std::fs::read(&from).map_err(|e| Failure::new(Exit::Lost, format!("cannot read {from}: {e}")))?;
        write_private(&to, text)?;
    }
    vm::ssh::write_ways(&theirs, &Ways::fresh(run.plan().net.vm.ip, &run.plan().profile.user))?;
    Ok(theirs)
}
