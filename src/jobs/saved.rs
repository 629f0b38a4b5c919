//! A host with the earlier revision applied, saved in the cache as a template is: a later cycle goes on from there, as the host
//! itself. Any doubt about what is there means that it is made anew, and why is said.

use super::base::{First, on_top};
use super::run::{Run, Said};
use super::template::{Again, SAVE_LIMIT, Source, Unmade, disks_in_use, name_of, ready_again, switch_on_again, wanted};
use super::up::{As, Found, own_keys};
use super::{stop, way};
use crate::ansible::UserVars;
use crate::image::Golden;
use crate::template::{Made, OfBase, Place, Shelf, Staging, Template};
use camino::Utf8Path;
use evidence::record::{Base, BootSeen, Step};
use host::dirs::{make_private, names_in};
use host::failure::{Exit, Failure};
use host::hex::hex;
use host::promise::Promise;
use serde_json::json;
use sha2::{Digest, Sha256};
use vm::machine::VmDir;
use vm::ssh::{Ways, write_ways};
use vm::template;

impl Run<'_> {
    /// Bring the machine to where it has the earlier revision applied.
    pub(super) async fn begin_on(&mut self, first: &First, found: &Found, golden: &Golden) -> Result<(), Failure> {
        // The files of its playbooks are no part of what a host is found by.
        let made = match self.plan().profile.prepare.is_empty() {
            true => wanted(self, found, golden),
            false => Err("a host for which `prepare` has something done is not saved".to_owned()),
        };
        let made = made.and_then(|made| Ok(Made { base: Some(of_base(self, first, found)?), ..made }));
        let made = match made {
            Ok(made) => made,
            Err(why) => return self.unsaved(first, found, golden, why).await,
        };
        let saved = match self.saved(first, found, golden, &made).await {
            Ok(saved) => saved,
            Err(Unmade::Run(failure)) => return Err(failure),
            Err(Unmade::Doubt(why)) => {
                self.take_back().await?;
                return self.unsaved(first, found, golden, why).await;
            }
        };
        match self.go_on_as(first, found, golden, &saved).await {
            Err(failure) if !stop::asked() && failure.exit != Exit::Usage => {
                let why = format!("the host that was saved ({}) does not go on: {failure}", saved.key.short());
                self.take_back().await?;
                Shelf::of(self.ctx().dirs).refuse(&saved.key)?;
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
    async fn saved(&mut self, first: &First, found: &Found, golden: &Golden, made: &Made) -> Result<Source, Unmade> {
        let none = format!("no host of {first} is kept: it is made now, for later cycles too");
        if let Some(source) = self.kept(made, &format!("the host of {first} that is kept"), Some(&none))? {
            return Ok(source);
        }
        // An older one of this host makes room.
        let dirs = self.ctx().dirs;
        let made_room = Shelf::of(dirs).only_base(self.plan().host.as_str(), &made.key(), &disks_in_use(dirs)?);
        made_room.map_err(|e| Unmade::Doubt(Failure::from(e).to_string()))?;
        let staging = self.staging(made)?;
        self.make_saved(first, found, golden, made, staging).await?;
        self.just_made(made)
    }

    /// Boot the host, apply the revision, and save it.
    async fn make_saved(
        &mut self,
        first: &First,
        found: &Found,
        golden: &Golden,
        made: &Made,
        staging: Staging,
    ) -> Result<(), Unmade> {
        let (name, place) = (name_of(made)?, staging.place().clone());
        let phases = ["prepare", "boot", "package lists"];
        let client = self.boot_to_save(found, golden, made, &As::Saved(&name, &place), phases).await?;
        self.apply_first(first, found, Base::Applied { why: "it did not come to that".into() }).await?;
        let leased_to = self.leased_to()?;
        let saved = self.phase("save", async |run| save(run, made, client, leased_to, staging).await).await;
        self.once_saved(saved)
    }

    /// Let the host go on.
    async fn go_on_as(
        &mut self,
        first: &First,
        found: &Found,
        golden: &Golden,
        source: &Source,
    ) -> Result<(), Failure> {
        let (key, at) = (source.key.as_str().to_owned(), source.template.at.clone());
        let base = if source.made { Base::Made { key, saved: at } } else { Base::Reused { key, saved: at } };
        let playbooks = self.record().on_top.as_ref().filter(|_| source.made).map(|on_top| on_top.playbooks.clone());
        let on_top = on_top(first, base, playbooks.unwrap_or_default());
        self.progress().note(&on_top.line());
        self.keep(Step::OnTop(Box::new(on_top)));
        self.prepare_again(found, golden, source, &As::Again(&source.name, &source.place)).await?;
        let seen = self.phase("resume", async |run| resume(run, &source.template, &found.promise).await).await?;
        self.keep(Step::Boot(seen));
        self.then_the_change(found)
    }
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
            !["verify", "state", "red", "scenarios", "via", "never", "never_unresolved", "console"]
                .contains(&key.as_str())
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
    let memory = template::save(vm.dir(), (&vm.ssh()?, vm.kept()), vm.end().ip, SAVE_LIMIT).await?;
    copy_keys(&vm.dir().keys(), &place.keys())?;
    way::copied(&vm.dir().seed(), &place.seed())?;
    staging.publish(made, memory, client, leased_to)?;
    Ok(((), Said::from(format!("{}, in {}", made.key().short(), Shelf::of(run.ctx().dirs).dir()))))
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
    let (mut watch, deadline) = switch_on_again(run, promise)?;
    let vm = run.vm();
    let first_s = template::wake(vm.dir(), &vm.ssh()?, template.memory.clone(), &mut watch, &deadline).await?;
    let Again { seen, settled, off_s, .. } = ready_again(run, &mut watch, &deadline).await?;
    let said = format!("as of {}, {}; ssh after {first_s:.1} s, clock {off_s:+.2} s", template.at, settled.system);
    Ok((seen, said.into()))
}
