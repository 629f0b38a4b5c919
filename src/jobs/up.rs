//! The first stage: everything that must be there before the machine can be switched on.

use super::never::{Never, incomplete};
use super::run::Run;
use super::{stop, ttl};
use crate::ansible::preflight::Preflight;
use crate::image::{Cache, Catalogue, Golden, Wanted, Watch};
use crate::jobs::guards;
use crate::profile::Unresolved;
use boot_media::seed::Seed;
use camino::Utf8Path;
use host::cmd::Cmd;
use host::dirs::write_private;
use host::failure::{Exit, Failure};
use host::ledger::folder;
use host::names::{IfName, MiB};
use host::{process, secrets};
use std::net::IpAddr;
use std::time::SystemTime;
use vm::keys;
use vm::network;
use vm::qemu::{self, Backing, Overlay, Storage};
use vm::ssh::{Way, Ways};

impl Run<'_> {
    /// Bring up the VM: checks, image, folder, network, machine, until it is ready.
    /// What is there if it fails is left to [`Run::close`].
    pub async fn up(&mut self) -> Result<(), Failure> {
        let preflight = self.phase("preflight", async |run| run.preflight().await).await?;
        let golden = self.phase("image", async |run| run.image()).await?;
        self.phase("prepare", async |run| run.prepare(&golden, &preflight)).await?;
        self.phase("network", async |run| run.make_network()).await?;
        self.phase("boot", async |run| run.boot().await).await
    }

    /// What can be known to fail is found before anything is made.
    async fn preflight(&mut self) -> Result<(Preflight, String), Failure> {
        guards::fresh_folder(&self.vm, &self.plan.host)?;
        crate::doctor::refuse_early(&crate::doctor::Start {
            mode: self.plan.net.mode,
            mem: self.plan.profile.mem_mib,
            min_free: MiB(self.plan.options.min_free_mib),
            path: &std::env::var("PATH").unwrap_or_default(),
        })?;
        let qemu = Cmd::new(qemu::PROGRAM).arg("--version").run().map_err(Failure::from)?.stdout;
        self.record.made_of.qemu = qemu.lines().next().unwrap_or_default().to_owned();
        let controller = self.plan.controller(self.ctx.dirs);
        let playbooks = self.plan.playbooks(self.ctx.dirs);
        let exe = process::own_exe().map_err(|e| Failure::new(Exit::Host, format!("no own program: {e}")))?;
        let allowed = self.allowed(&controller);
        let state = &self.ctx.dirs.state;
        let preflight = crate::ansible::preflight::check(&controller, &playbooks, state, &exe, &allowed)?;
        secrets::know(preflight.secrets.clone());
        for note in &preflight.notes {
            self.ctx.progress.note(note);
        }
        for file in &preflight.real.skipped {
            self.ctx
                .progress
                .note(&format!("{file} lies beside the inventory and is none: nothing in it is kept out of reach"));
        }
        let never = Never::of(&preflight.real, &self.plan.profile.never);
        let lacks = never.lacks();
        match (&lacks, self.plan.profile.never_unresolved) {
            (Some(lacks), Unresolved::Refuse) => return Err(incomplete(&self.plan.host, lacks)),
            (Some(lacks), Unresolved::Note) => self.ctx.progress.note(&format!(
                "never to be reached, but without a known address, so only the names are refused: {lacks}"
            )),
            (None, _) => {}
        }
        self.plan.net.never = never.list;
        self.plan.net.check()?;
        self.record.made_of.ansible = preflight.version.to_string();
        let unknown = match never.missing.len() {
            0 => String::new(),
            some => format!(", {some} of unknown address"),
        };
        let count = self.plan.net.never.len();
        let said = format!("ansible-core {}, {count} names never to be reached{unknown}", preflight.version);
        Ok((preflight, said))
    }

    /// The golden image, brought if it is not there.
    fn image(&mut self) -> Result<(Golden, String), Failure> {
        let catalogue = Catalogue::read(&self.ctx.dirs.root.join("profiles/images.json"))?;
        let wanted = Wanted::parse(&self.plan.image, &self.ctx.dirs.root);
        let watch = ImageWatch { run: self };
        let golden = Cache::of(watch.run.ctx.dirs).ensure(&catalogue, &wanted, &watch)?;
        let said = match &golden.record {
            Some(record) => format!("{} ({})", record.file, record.origin.word()),
            None => golden.path.to_string(),
        };
        self.record.made_of.image = said.clone();
        self.record.made_of.image_sha512 = golden.record.as_ref().map(|record| record.sha512.clone());
        Ok((golden, said))
    }

    /// The VM's folder with all that is in it.
    fn prepare(&mut self, golden: &Golden, preflight: &Preflight) -> Result<((), String), Failure> {
        let dirs = self.ctx.dirs;
        drop(folder::make(self.vm.path())?);
        let backing = Backing { path: golden.path.clone(), format: golden.format.name().into() };
        if let Storage::Overlay(overlay) = &mut self.plan.machine.storage {
            overlay.golden = Some(backing);
        }
        self.plan.machine.user = qemu::user::of_its_own(&self.plan.vm);
        write_private(&self.vm.plan(), json(&self.plan))?;
        self.plan.machine.save(&self.vm.machine())?;
        write_private(&self.vm.console_allowed(), json(&self.plan.profile.console.allow))?;
        let own = std::env::var("HOME").map(|home| keys::own_keys(Utf8Path::new(&home))).unwrap_or_default();
        let secrets = keys::make(&self.vm, &self.plan.vm, IpAddr::V4(self.plan.net.vm.ip), own)?;
        vm::ssh::write_ways(&self.vm, &self.ways(preflight)?)?;
        let seed = Seed {
            instance: self.plan.vm.clone(),
            host: self.plan.host.clone(),
            mac: self.plan.net.vm.mac.clone(),
            user: self.plan.profile.user.clone(),
            secrets,
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let iso = seed.image(now).map_err(|e| Failure::new(Exit::Bug, e.to_string()))?;
        write_private(&self.vm.seed(), iso)?;
        if let Some(of) = self.plan.machine.overlay() {
            overlay(golden, of, self.plan.profile.disk_gib)?;
        }
        let controller = self.plan.controller(dirs);
        controller.write_folder(&self.plan.connection(dirs), &preflight.inline)?;
        write_private(&controller.folder.secrets(), json(&preflight.secrets))?;
        self.record.save(&self.vm)?;
        if let Some(after) = self.plan.options.ttl.0 {
            let exe = process::own_exe().map_err(|e| Failure::new(Exit::Host, format!("no own program: {e}")))?;
            ttl::start(&exe, dirs, &self.plan.host, &self.plan.vm, after)?;
        }
        Ok(((), format!("overlay of {} GiB over {}", self.plan.profile.disk_gib, golden.path)))
    }

    /// The ways into the guest: as it is made, and as the real inventory says.
    fn ways(&self, preflight: &Preflight) -> Result<Ways, Failure> {
        let user = &self.plan.profile.user;
        let fresh = Ways::fresh(self.plan.net.vm.ip, user);
        let port = match &preflight.way.port {
            None => fresh.fresh.port,
            Some(port) => port.parse().map_err(|_| {
                Failure::new(
                    Exit::Usage,
                    format!("the real inventory's ansible_port of {} is {port:?}, which is no port", self.plan.host),
                )
            })?,
        };
        let inventory = Way { port, user: preflight.way.user.clone().unwrap_or_else(|| user.clone()) };
        let real = preflight.real.hosts.get(self.plan.host.as_str()).cloned().unwrap_or_default();
        Ok(Ways { inventory, real, become_password: preflight.way.become_password, ..fresh })
    }

    fn make_network(&mut self) -> Result<((), String), Failure> {
        let network = network::ensure(self.ctx.dirs, &self.plan.net)?;
        // From its start on the monitor tells when a part of the network dies.
        write_private(&self.vm.network(), network.dir().path().as_str())?;
        // The plan now holds the addresses that the names had: it is what `status` and the evidence show.
        write_private(&self.vm.plan(), json(&self.plan))?;
        let name: &IfName = &self.plan.net.name;
        Ok(((), format!("{name}, {} mode, VM {}", self.record.made_of.net, self.plan.net.vm.ip)))
    }
}

/// The overlay: nothing is ever written to the golden image below it.
fn overlay(golden: &Golden, overlay: &Overlay, gib: u64) -> Result<(), Failure> {
    let needed = golden.virtual_bytes.div_ceil(1 << 30);
    if gib < needed {
        return Err(Failure::new(Exit::Usage, format!("disk_gib is {gib}, but {} needs {needed}", golden.path)));
    }
    let made = qemu::disk::make(overlay, &golden.path, golden.format.name(), &format!("{gib}G"));
    made.map_err(|e| Failure::from(e).during(format!("cannot make the overlay {}", overlay.disk)))
}

pub(super) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // Plain data with string keys: serialising it cannot fail.
    serde_json::to_vec_pretty(value).unwrap_or_default()
}

/// Tells the user how an image comes.
struct ImageWatch<'r, 'a> {
    run: &'r Run<'a>,
}

impl Watch for ImageWatch<'_, '_> {
    fn say(&self, line: &str) {
        self.run.ctx.progress.note(line);
    }
    fn progress(&self, done: u64, total: Option<u64>) {
        let mib = |bytes: u64| bytes >> 20;
        self.run.ctx.progress.trace(&match total {
            Some(total) => format!("{} of {} MiB", mib(done), mib(total)),
            None => format!("{} MiB", mib(done)),
        });
    }
    fn stopped(&self) -> bool {
        stop::asked()
    }
}
