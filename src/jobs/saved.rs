//! A host with the earlier revision applied, saved in the cache as a template is: a later cycle goes on from there, as the host
//! itself. Any doubt about what is there means that it is made anew, and why is said.

use super::base::{First, on_top};
use super::bring_up::own_exe;
use super::run::{Run, Said};
use super::template::{RESUME_LIMIT, SAVE_LIMIT, wanted};
use super::up::{As, Found, Prepared, make_network, own_keys, prepare};
use super::{boot, stop, timeline, way};
use crate::ansible::UserVars;
use crate::image::Golden;
use crate::profile::Prepare;
use crate::template::{Key, Made, OfBase, Place, Shelf, Staging, Template};
use camino::{Utf8Path, Utf8PathBuf};
use evidence::record::{Base, BootSeen, Step};
use host::deadline::Deadline;
use host::dirs::{make_private, names_in};
use host::failure::{Exit, Failure};
use host::hex::hex;
use host::names::VmName;
use host::promise::Promise;
use serde_json::json;
use sha2::{Digest, Sha256};
use vm::access::{self, When};
use vm::machine::VmDir;
use vm::monitor;
use vm::network::{NetPlan, lease};
use vm::qemu::Machine;
use vm::ready;
use vm::ssh::{Ways, write_ways};
use vm::template;
use vm::wait::Watch;

/// A host that was saved.
struct Saved {
    name: VmName,
    key: Key,
    place: Place,
    template: Template,
    /// Whether that was in this run: then the network is there, and knows the guest.
    made: bool,
}

/// Why a host was not saved.
enum Unsaved {
    /// It can be made once more, and not be saved.
    Doubt(String),
    /// The run is over.
    Run(Failure),
}

impl From<Failure> for Unsaved {
    fn from(failure: Failure) -> Self {
        Self::Run(failure)
    }
}

impl Run<'_> {
    /// Bring the machine to where it has the earlier revision applied.
    pub(super) async fn begin_on(&mut self, first: &First, found: &Found, golden: &Golden) -> Result<(), Failure> {
        // The files of its playbooks are no part of what a host is found by.
        let prepared = match self.plan().profile.prepare == Prepare::default() {
            true => Ok(()),
            false => Err("a host for which `prepare` has something done is not saved".to_owned()),
        };
        let made = prepared
            .and_then(|()| wanted(self, found, golden))
            .and_then(|made| Ok(Made { base: Some(of_base(self, first, found)?), ..made }));
        let made = match made {
            Ok(made) => made,
            Err(why) => return self.unsaved(first, found, golden, why).await,
        };
        let saved = match self.saved(first, found, golden, &made).await {
            Ok(saved) => saved,
            Err(Unsaved::Run(failure)) => return Err(failure),
            Err(Unsaved::Doubt(why)) => {
                self.take_back().await?;
                return self.unsaved(first, found, golden, why).await;
            }
        };
        let key = saved.key.clone();
        match self.go_on_as(first, found, golden, saved).await {
            Err(failure) if !stop::asked() && failure.exit != Exit::Usage => {
                let why = format!("the host that was saved ({}) does not go on: {failure}", short(&key));
                self.take_back().await?;
                Shelf::of(self.ctx().dirs).refuse(&key)?;
                self.unsaved(first, found, golden, why).await
            }
            done => done,
        }
    }

    /// Apply the revision in this run to the machine that goes on.
    async fn unsaved(&mut self, first: &First, found: &Found, golden: &Golden, why: String) -> Result<(), Failure> {
        self.progress().note(&format!("{first} is applied in this run, and not kept: {why}"));
        self.begin_machine(found, golden).await?;
        self.apply_first(first, found, Base::Applied { why }).await?;
        self.then_the_change(found)
    }

    /// The host that is there, or one that is made now.
    async fn saved(&mut self, first: &First, found: &Found, golden: &Golden, made: &Made) -> Result<Saved, Unsaved> {
        let (shelf, key) = (Shelf::of(self.ctx().dirs), made.key());
        let name = key.name().ok_or_else(|| Unsaved::Doubt("its key gives no name".into()))?;
        match shelf.find(made) {
            Ok(Some((place, template))) => return Ok(Saved { name, key, place, template, made: false }),
            Ok(None) => {
                self.progress().note(&format!("no host of {first} is kept: it is made now, for later cycles too"))
            }
            Err(why) => {
                self.progress().note(&format!("the host of {first} that is kept is not used: {why}; making another"));
                shelf.refuse(&key).map_err(Failure::from)?;
            }
        }
        let doubt = |e: &dyn std::fmt::Display| Unsaved::Doubt(e.to_string());
        shelf.only_base(self.plan().host.as_str(), &key, &used(self)?).map_err(|e| doubt(&Failure::from(e)))?;
        let staging = shelf.make(&key).map_err(|e| doubt(&Failure::from(e)))?;
        staging.make_files(made.mem.0 << 20).map_err(|e| doubt(&Failure::from(e)))?;
        self.make_saved(first, found, golden, made, &name, staging).await?;
        match shelf.find(made) {
            Ok(Some((place, template))) => Ok(Saved { name, key, place, template, made: true }),
            Ok(None) => Err(Unsaved::Doubt("it was gone as soon as it was made".into())),
            Err(why) => Err(Unsaved::Doubt(why)),
        }
    }

    /// Boot the host, apply the revision, and save it.
    async fn make_saved(
        &mut self,
        first: &First,
        found: &Found,
        golden: &Golden,
        made: &Made,
        name: &VmName,
        staging: Staging,
    ) -> Result<(), Unsaved> {
        let place = staging.place().clone();
        let as_saved = As::Saved(name, &place);
        let prepared = self.phase("prepare", async |run| prepare(run, golden, &found.preflight, &as_saved)).await?;
        let Prepared { mut machine, secrets } = prepared;
        self.phase("network", async |run| make_network(run, &found.net)).await?;
        drop(self.phase("boot", async |run| boot::boot(run, &mut machine, &found.promise).await).await?);
        if machine.accel != made.accel {
            return Err(Unsaved::Doubt("KVM was tried and failed while it was made".into()));
        }
        if !self.lists("package lists").await? {
            return Err(Unsaved::Doubt("its package lists could not be fetched".into()));
        }
        self.apply_first(first, found, Base::Applied { why: "it did not come to that".into() }).await?;
        let leased = lease::find(&self.vm().leases(), &self.vm().end().mac);
        let leased = leased.ok_or_else(|| Unsaved::Doubt("its guest has no lease any more".into()))?;
        let client = secrets.map(|secrets| secrets.client).unwrap_or_default();
        let saved = self.phase("save", async |run| save(run, made, client, leased.client, staging).await);
        match saved.await {
            Ok(()) => Ok(self.remove_machine()?),
            Err(failure) if stop::asked() => Err(Unsaved::Run(failure)),
            Err(failure) => Err(Unsaved::Doubt(format!("it could not be saved: {failure}"))),
        }
    }

    /// Let the host go on.
    async fn go_on_as(&mut self, first: &First, found: &Found, golden: &Golden, saved: Saved) -> Result<(), Failure> {
        let Saved { name, key, place, template, made } = saved;
        let (key, at) = (key.as_str().to_owned(), template.at.clone());
        let base = if made { Base::Made { key, saved: at } } else { Base::Reused { key, saved: at } };
        let playbooks = self.record().on_top.as_ref().filter(|_| made).map(|on_top| on_top.playbooks.clone());
        let on_top = on_top(first, base, playbooks.unwrap_or_default());
        self.progress().note(&on_top.line());
        self.keep(Step::OnTop(Box::new(on_top)));
        let as_again = As::Again(&name, &place);
        self.phase("prepare", async |run| prepare(run, golden, &found.preflight, &as_again)).await?;
        if !made {
            let net = NetPlan { leased_to: Some(template.leased_to.clone()), ..found.net.clone() };
            self.phase("network", async |run| make_network(run, &net)).await?;
        }
        let seen = self.phase("resume", async |run| resume(run, &template, &found.promise).await).await?;
        self.keep(Step::Boot(seen));
        self.then_the_change(found)
    }
}

fn short(key: &Key) -> &str {
    &key.as_str()[..12]
}

/// The disks that machines stand on.
fn used(run: &Run<'_>) -> Result<Vec<Utf8PathBuf>, Failure> {
    let vms = VmDir::list(run.ctx().dirs)?;
    let disk = |vm: &VmDir| Machine::load(&vm.machine()).ok()?.template?.disk().map(Utf8Path::to_owned);
    Ok(vms.iter().filter_map(|(_, vm)| disk(vm)).collect())
}

/// All that the playbooks of the revision are given, but for the revision itself.
fn of_base(run: &Run<'_>, first: &First, found: &Found) -> Result<OfBase, String> {
    let plan = run.plan();
    let digest = |path: &Utf8Path| {
        let text = std::fs::read(path).map_err(|e| format!("{path} cannot be read: {e}"))?;
        Ok::<_, String>(hex(Sha256::digest(text)))
    };
    let vars = plan.options.extra_vars.iter().map(|vars| match vars {
        UserVars::File(path) => Ok(json!(digest(path)?)),
        other => Ok(json!(other)),
    });
    let mut profile = json!(plan.profile);
    // What is only asked of the host, or only judges it, is not what it was made by.
    if let Some(keys) = profile.as_object_mut() {
        keys.retain(|key, _| {
            !["verify", "state", "red", "via", "never", "never_unresolved", "console"].contains(&key.as_str())
        });
    }
    let inputs = json!({
        "profile": profile,
        "overlays": plan.overlays.iter().map(|path| digest(path)).collect::<Result<Vec<_>, _>>()?,
        "vars": vars.collect::<Result<Vec<_>, String>>()?,
        "network": [json!(plan.net.mode), json!(plan.net.egress)],
        "ansible": found.preflight.version,
        "own": own_keys(),
        "within": first.within(),
        "ignored": first.ignored()?,
    });
    let inputs = hex(Sha256::digest(inputs.to_string()));
    Ok(OfBase { host: plan.host.to_string(), commit: first.commit().to_owned(), inputs })
}

async fn save(
    run: &Run<'_>,
    made: &Made,
    client: String,
    leased_to: String,
    staging: Staging,
) -> Result<((), Said), Failure> {
    let (vm, place) = (run.vm(), staging.place());
    // A connection that is open would be in the memory that is saved.
    vm.kept().hang_up();
    let memory = template::save(vm.dir(), &vm.ssh()?, vm.end().ip, SAVE_LIMIT).await?;
    copy_keys(&vm.dir().keys(), &place.keys())?;
    way::copied(&vm.dir().seed(), &place.seed())?;
    staging.publish(made, memory, client, leased_to)?;
    Ok(((), Said::from(format!("{}, in {}", short(&made.key()), Shelf::of(run.ctx().dirs).dir()))))
}

/// The keys of a host that goes on as itself, the ways into it and its seed.
pub(super) fn bring_back(vm: &VmDir, place: &Place) -> Result<(), Failure> {
    copy_keys(&place.keys(), &vm.keys())?;
    way::copied(&place.seed(), &vm.seed())?;
    Ok(write_ways(vm, &Ways::load(&vm.ways())?)?)
}

/// The files of a folder of keys; ssh's sockets are none.
fn copy_keys(from: &Utf8Path, to: &Utf8Path) -> Result<(), Failure> {
    make_private(to)?;
    for name in names_in(from)? {
        let path = from.join(&name);
        if path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            way::copied(&path, &to.join(&name))?;
        }
    }
    Ok(())
}

/// Start QEMU where the host was stopped, and wait until it is ready.
async fn resume(run: &Run<'_>, template: &Template, promise: &Promise) -> Result<(BootSeen, Said), Failure> {
    let (vm, plan) = (run.vm(), run.plan());
    let enter = vm.network()?.enter_as_monitor();
    let deadline = Deadline::after(RESUME_LIMIT.min(plan.limit()));
    monitor::spawn(&own_exe()?, &enter, vm.dir(), Some(promise))?;
    let mut watch = Watch::since(vm.dir(), 0)?;
    let ssh = vm.ssh()?;
    let first_s = template::wake(vm.dir(), &ssh, template.memory.clone(), &mut watch, &deadline).await?;
    let session = access::login(vm.dir(), &ssh, When::Booting, &mut watch, &deadline).await?;
    let (_, off_s) = template::clock(&session).await?;
    let (session, settled) = ready::settle(&ssh, session, &mut watch, &deadline).await?;
    let seen = timeline::look(run, &vm.kept().share(session)).await;
    let said = format!("as of {}, {}; ssh after {first_s:.1} s, clock {off_s:+.2} s", template.at, settled.system);
    Ok((seen, said.into()))
}
