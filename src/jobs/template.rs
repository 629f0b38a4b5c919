//! How a machine begins: it goes on from a template, which is made first where there is none; where anything about that is in
//! doubt, it is booted, and why is said.

use super::bring_up::own_exe;
use super::run::{Run, Said};
use super::up::{As, Found, Prepared, firmware, make_network, prepare};
use super::{boot, stop, timeline};
use crate::image::{Golden, Stamp};
use crate::profile::PackageLists;
use crate::template::{Key, Made, Place, Shelf, Staging, Template, Told, file_digest, unsupported};
use evidence::record::{Began, BootSeen, Step};
use host::deadline::Deadline;
use host::dirs::{make_private, write_private};
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
use vm::qemu::boot::Bus;
use vm::qemu::firmware::Firmware;
use vm::ready;
use vm::ssh::{Ssh, Ways};
use vm::template::{self, Identity};
use vm::wait::Watch;

/// How long a machine may take to be saved; 2 s on an idle host.
pub(super) const SAVE_LIMIT: Duration = Duration::from_secs(180);
/// How long a machine may take to go on and to settle. One that takes longer is booted: 10 s on an idle host under emulation.
pub(super) const RESUME_LIMIT: Duration = Duration::from_secs(180);

/// What a machine goes on from.
struct Source {
    name: VmName,
    key: Key,
    place: Place,
    template: Template,
    /// Whether it was made in this run: then the network is there, and knows the guest.
    made: bool,
}

/// Why there is no template.
enum Unmade {
    /// The machine can be booted without one.
    Doubt(String),
    /// The run is over.
    Run(Failure),
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
        let key = source.key.clone();
        match self.go_on_from(found, golden, source).await {
            Err(failure) if !stop::asked() && failure.exit != Exit::Usage => {
                let why = format!("the template {} failed: {failure}", &key.as_str()[..12]);
                self.take_back().await?;
                Shelf::of(self.ctx().dirs).refuse(&key)?;
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
        let (shelf, key) = (Shelf::of(self.ctx().dirs), made.key());
        let name = key.name().ok_or_else(|| Unmade::Doubt("its key gives no name".into()))?;
        match shelf.find(made) {
            Ok(Some((place, template))) => return Ok(Source { name, key, place, template, made: false }),
            Ok(None) => {}
            Err(why) => {
                self.progress().note(&format!("the template that is there is not used: {why}; making another"));
                shelf.refuse(&key).map_err(Failure::from)?;
            }
        }
        let doubt = |e: &dyn std::fmt::Display| Unmade::Doubt(e.to_string());
        let staging = shelf.make(&key).map_err(|e| doubt(&Failure::from(e)))?;
        staging.make_files(made.mem.0 << 20).map_err(|e| doubt(&Failure::from(e)))?;
        self.make(found, golden, made, &name, staging).await?;
        match shelf.find(made) {
            Ok(Some((place, template))) => Ok(Source { name, key, place, template, made: true }),
            Ok(None) => Err(Unmade::Doubt("it was gone as soon as it was made".into())),
            Err(why) => Err(Unmade::Doubt(why)),
        }
    }

    /// Boot a machine that is nobody's, and save it.
    async fn make(
        &mut self,
        found: &Found,
        golden: &Golden,
        made: &Made,
        name: &VmName,
        staging: Staging,
    ) -> Result<(), Unmade> {
        let place = staging.place().clone();
        let as_maker = As::Maker(name, &place);
        let prepared =
            self.phase("prepare the template", async |run| prepare(run, golden, &found.preflight, &as_maker)).await?;
        let Prepared { mut machine, secrets } = prepared;
        let client = secrets.map(|secrets| secrets.client).unwrap_or_default();
        self.phase("network", async |run| make_network(run, &found.net)).await?;
        let seen =
            self.phase("boot the template", async |run| boot::boot(run, &mut machine, &found.promise).await).await?;
        if machine.accel != made.accel {
            return Err(Unmade::Doubt("KVM was tried and failed while it was made".into()));
        }
        drop(seen);
        if !self.lists("package lists of the template").await? {
            return Err(Unmade::Doubt("its package lists could not be fetched".into()));
        }
        let leased = lease::find(&self.vm().leases(), &self.vm().end().mac);
        let leased = leased.ok_or_else(|| Unmade::Doubt("its guest has no lease any more".into()))?;
        let saved =
            self.phase("save the template", async |run| save(run, made, client, leased.client, staging).await).await;
        match saved {
            Ok(()) => {}
            Err(failure) if stop::asked() => return Err(Unmade::Run(failure)),
            Err(failure) => return Err(Unmade::Doubt(format!("it could not be saved: {failure}"))),
        }
        Ok(self.remove_machine()?)
    }

    /// What was of a machine that was saved goes; the network stays.
    pub(super) fn remove_machine(&self) -> Result<(), Failure> {
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
    async fn go_on_from(&mut self, found: &Found, golden: &Golden, source: Source) -> Result<(), Failure> {
        let Source { name, key, place, template, made } = source;
        self.keep(Step::Began(Began::Template { key: key.as_str().to_owned(), saved: template.at.clone(), made }));
        let as_clone = As::Clone(&name, &place);
        let prepared = self.phase("prepare", async |run| prepare(run, golden, &found.preflight, &as_clone)).await?;
        if !made {
            let net = NetPlan { leased_to: Some(template.leased_to.clone()), ..found.net.clone() };
            self.phase("network", async |run| make_network(run, &net)).await?;
        }
        let seen =
            self.phase("resume", async |run| resume(run, &place, &template, &prepared, &found.promise).await).await?;
        self.keep(Step::Boot(seen));
        if !template.made.package_lists {
            self.lists("package lists").await?;
        }
        self.made_ready().await
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
    // A connection that is open would be in the memory that is saved.
    vm.kept().hang_up();
    let memory = template::save(vm.dir(), &vm.ssh()?, vm.end().ip, SAVE_LIMIT).await?;
    failpoint::reached(failpoint::Point::Phase("template saved"));
    let place = staging.place();
    for (from, to) in [(vm.dir().ssh_key(), place.key()), (vm.dir().known_hosts(), place.known_hosts())] {
        let text = std::fs::read(&from).map_err(|e| Failure::new(Exit::Host, format!("cannot read {from}: {e}")))?;
        write_private(&to, text)?;
    }
    staging.publish(made, memory, client, leased_to)?;
    Ok(((), Said::from(format!("{}, in {}", &made.key().as_str()[..12], Shelf::of(run.ctx().dirs).dir()))))
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
    let enter = vm.network()?.enter_as_monitor();
    let deadline = Deadline::after(RESUME_LIMIT.min(plan.limit()));
    monitor::spawn(&own_exe()?, &enter, vm.dir(), Some(promise))?;
    let mut watch = Watch::since(vm.dir(), 0)?;
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
    let ssh = vm.ssh()?;
    let session = access::login(vm.dir(), &ssh, When::Booting, &mut watch, &deadline).await?;
    let own_s = deadline.waited().as_secs_f64();
    let (_, off_s) = template::clock(&session).await?;
    let (session, settled) = ready::settle(&ssh, session, &mut watch, &deadline).await?;
    let seen = timeline::look(run, &vm.kept().share(session)).await;
    if !settled.failed_units.is_empty() {
        run.progress().note(&format!("units that failed in the fresh guest: {}", settled.failed_units.join(" ")));
    }
    let said = format!(
        "{} at {}, {}; the template's ssh after {first_s:.1} s, its own after {own_s:.1} s, clock {off_s:+.2} s",
        prepared.machine.accel, plan.net.vm.ip, settled.system
    );
    Ok((seen, said.into()))
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
