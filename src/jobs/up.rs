//! The first stage: everything that must be there before the machine can be switched on.

use super::base::First;
use super::bring_up::{self, KVM_FAILED, json, own_exe};
use super::inputs::{self, Inputs};
use super::run::{Run, accel};
use super::target::Target;
use super::{Progress, boot, package_lists, saved, stop};
use crate::ansible::preflight::Preflight;
use crate::image::{Cache, Catalogue, Golden, Wanted, Watch};
use crate::jobs::guards;
use crate::profile::{self, PackageLists};
use crate::template::Place;
use boot_media::medium::Medium;
use boot_media::seed::{Secrets, Seed};
use camino::Utf8Path;
use evidence::record::Step;
use host::cmd::Cmd;
use host::dirs::write_private;
use host::failure::{Exit, Failure};
use host::names::{BadName, MiB, VmName};
use host::programs;
use host::promise::{Need, Promise};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::time::SystemTime;
use vm::keys;
use vm::network::NetPlan;
use vm::network::authority;
use vm::qemu::firmware::{Firmware, Uefi};
use vm::qemu::template::{Cloned, Part};
use vm::qemu::{self, Backing, Machine, Overlay, Storage};
use vm::ssh::{Way, Ways};
use vm::template::identity;

/// What a seed's size is a multiple of, in bytes.
const SEED_BYTES: usize = 1 << 20;

/// What the preflight has found.
pub(super) struct Found {
    pub(super) preflight: Preflight,
    /// The network as it is to be made: with the names that must never be reached.
    pub(super) net: NetPlan,
    /// QEMU's version, in its own words.
    pub(super) qemu: String,
    /// The memory that the machine will take.
    pub(super) promise: Promise,
    /// What is to be applied first.
    pub(super) first: Option<First>,
}

/// What a machine is made as.
pub(super) enum As<'a> {
    /// A machine that is booted.
    Itself,
    /// The maker of a template, whose machines are called so.
    Maker(&'a VmName, &'a Place),
    /// One that goes on from it.
    Clone(&'a VmName, &'a Place),
    /// The host itself, which is saved later.
    Saved(&'a VmName, &'a Place),
    /// The host itself, which goes on from when it was saved.
    Again(&'a VmName, &'a Place),
}

/// A machine with a folder, ready to be switched on.
pub(super) struct Prepared {
    pub(super) machine: Machine,
    /// Its keys; none of a machine that has them already.
    pub(super) secrets: Option<Secrets>,
}

impl Run<'_> {
    /// Bring up the VM: checks, image, folder, network, machine, until it is ready.
    /// What is there if it fails is left to [`Run::close`].
    pub async fn up(&mut self) -> Result<(), Failure> {
        let mut versions = Vec::new();
        let work = async |run: &Self| preflight(run.target(), run.progress(), &mut versions);
        let found = self.phase("preflight", work).await;
        versions.into_iter().for_each(|version| self.keep(version));
        let mut found = found?;
        let first = found.first.take();
        let golden = self.phase("image", async |run| image(run.target(), run.progress())).await?;
        self.keep(Step::Image(told(&golden), golden.record.as_ref().map(|record| record.sha512.clone())));
        match first {
            Some(first) => self.begin_on(&first, &found, &golden).await,
            None => self.begin_machine(&found, &golden).await,
        }
    }

    /// Boot the machine.
    pub(super) async fn cold(&mut self, found: &Found, golden: &Golden) -> Result<(), Failure> {
        let Prepared { mut machine, .. } =
            self.phase("prepare", async |run| prepare(run, golden, &found.preflight, &As::Itself)).await?;
        self.phase("network", async |run| make_network(run, &found.net)).await?;
        let booted = self.phase("boot", async |run| boot::boot(run, &mut machine, &found.promise).await).await;
        if machine.accel != self.plan().machine.accel {
            self.keep(Step::Accel(accel(&machine.accel, KVM_FAILED)));
        }
        self.keep(Step::Boot(booted?));
        self.lists("package lists").await?;
        self.made_ready().await
    }

    /// The package lists, if the profile wants them; whether the guest has what it can have.
    pub(super) async fn lists(&mut self, phase: &str) -> Result<bool, Failure> {
        match self.plan().profile.package_lists {
            PackageLists::Fetch => self.phase(phase, async |run| package_lists::fetch(run).await).await,
            PackageLists::Leave => Ok(true),
        }
    }
}

/// What can be known to fail is found before anything is made. The programs' versions are told even where it is.
fn preflight(
    target: &Target<'_>,
    progress: &dyn Progress,
    versions: &mut Vec<Step>,
) -> Result<(Found, String), Failure> {
    let Target { dirs, plan, vm, .. } = target;
    guards::fresh_folder(vm.dir(), &plan.host)?;
    let need = Need {
        what: plan.vm.to_string(),
        guest: plan.profile.mem_mib,
        beside: bring_up::beside(plan.machine.accel),
        vcpus: plan.profile.vcpus,
        min_free: MiB(plan.options.min_free_mib),
    };
    let promise = bring_up::admit(dirs, plan.net.mode, &need, plan.options.wait, progress)?;
    let qemu = Cmd::new(qemu::PROGRAM).arg("--version").run().map_err(Failure::from)?.stdout;
    let qemu = qemu.lines().next().unwrap_or_default().to_owned();
    versions.push(Step::Qemu(qemu.clone()));
    let Inputs { preflight, mut never, said } = inputs::look(target, progress)?;
    let first = First::look(target, progress)?;
    first.iter().for_each(|first| first.add_never(&mut never));
    if plan.net.authority.is_some() && programs::find(&programs::path(), authority::ACME).is_none() {
        let what = format!(
            "--certs {} is rehearsed by `{}`, which is not in PATH",
            plan.options.certs.name(),
            authority::ACME
        );
        return Err(
            Failure::new(Exit::Host, what).next("install it (Debian package pebble), or leave --certs at internal")
        );
    }
    let net = NetPlan { never, ..plan.net.clone() };
    net.check()?;
    versions.push(Step::Ansible(preflight.version.clone()));
    Ok((Found { preflight, net, qemu, promise, first }, said))
}

/// The golden image, brought if it is not there.
fn image(target: &Target<'_>, progress: &dyn Progress) -> Result<(Golden, String), Failure> {
    let Target { dirs, plan, .. } = target;
    let catalogue = Catalogue::read(&dirs.root.join("profiles/images.json"))?;
    let wanted = Wanted::parse(&plan.image, &dirs.root);
    let golden = Cache::of(dirs).ensure(&catalogue, &wanted, &ImageWatch { progress })?;
    let said = told(&golden);
    Ok((golden, said))
}

/// Which image it is, in words.
fn told(golden: &Golden) -> String {
    match &golden.record {
        Some(record) => format!("{} ({})", record.file, record.origin.word()),
        None => golden.path.to_string(),
    }
}

/// The VM's folder with all that is in it.
pub(super) fn prepare(
    run: &Run<'_>,
    golden: &Golden,
    preflight: &Preflight,
    made: &As<'_>,
) -> Result<(Prepared, String), Failure> {
    let Target { dirs, plan, vm, .. } = run.target();
    let (host, vm) = (&plan.host, vm.dir());
    let (firmware, why) = firmware(golden, plan.profile.firmware)?;
    run.progress().trace(&format!("firmware: {firmware}{why}"));
    let machine = machine(plan.machine.clone(), golden, firmware.of(vm)?, made);
    bring_up::directory(vm, &machine, &plan.profile.console.allow)?;
    write_private(&vm.plan(), json(plan))?;
    let secrets = secrets(run, preflight, made)?;
    if let Some(of) = machine.overlay() {
        overlay(golden, of, plan.profile.disk_gib, made)?;
    }
    bring_up::variables(&machine)?;
    if !matches!(made, As::Maker(..)) {
        let controller = plan.controller(dirs);
        controller.write_folder(&plan.connection(dirs), &preflight.inline)?;
        write_private(&controller.folder.secrets(), json(&preflight.secrets))?;
    }
    run.record().save(vm)?;
    bring_up::expire(&own_exe()?, dirs, host, &machine, plan.options.ttl.0)?;
    let over = match made {
        As::Clone(_, place) | As::Again(_, place) => place.disk(),
        As::Itself | As::Maker(..) | As::Saved(..) => golden.path.clone(),
    };
    let said = format!("overlay of {} GiB over {over}", plan.profile.disk_gib);
    Ok((Prepared { machine, secrets }, said))
}

/// The keys of the machine, the ways into it and its seed; none are made for one that goes on as itself.
fn secrets(run: &Run<'_>, preflight: &Preflight, made: &As<'_>) -> Result<Option<Secrets>, Failure> {
    let Target { plan, vm, .. } = run.target();
    let vm = vm.dir();
    if let As::Again(_, place) = made {
        saved::bring_back(vm, place)?;
        return Ok(None);
    }
    // A template is shared by many machines: it gets no key of the user.
    let own = if matches!(made, As::Maker(..)) { Vec::new() } else { own_keys() };
    let secrets = keys::make(vm, &plan.vm, IpAddr::V4(plan.net.vm.ip), own)?;
    let ways = match made {
        As::Maker(..) => Ways::fresh(plan.net.vm.ip, &plan.profile.user),
        _ => ways(run.target(), preflight)?,
    };
    vm::ssh::write_ways(vm, &ways)?;
    write_private(&vm.seed(), seed(run, secrets.clone(), made)?)?;
    Ok(Some(secrets))
}

/// The user's own public keys, which log in besides.
pub(super) fn own_keys() -> Vec<String> {
    std::env::var("HOME").map(|home| keys::own_keys(Utf8Path::new(&home))).unwrap_or_default()
}

/// What starts the machine, and why; `Auto` asks the image.
pub(super) fn firmware(golden: &Golden, wanted: profile::Firmware) -> Result<(Firmware, &'static str), Failure> {
    let firmware = match wanted {
        profile::Firmware::Bios => Firmware::Bios,
        profile::Firmware::Uefi => Firmware::Uefi,
        profile::Firmware::SecureBoot => Firmware::SecureBoot,
        profile::Firmware::Auto => {
            let medium = Medium::open(&golden.path).map_err(|e| {
                Failure::new(Exit::Usage, format!("cannot tell how {} is started: {e}", golden.path))
                    .next("say `firmware` in the profile: bios, uefi or secure-boot")
            })?;
            return Ok(match medium.partitions().iter().any(|partition| partition.efi) {
                true => (Firmware::Uefi, ", since the image has an EFI system partition"),
                false => (Firmware::Bios, ", since the image has no EFI system partition"),
            });
        }
    };
    Ok((firmware, ", as the profile says"))
}

/// The medium that the guest reads. All are of one size: a guest that goes on from a template knows how large it was there.
fn seed(run: &Run<'_>, secrets: Secrets, made: &As<'_>) -> Result<Vec<u8>, Failure> {
    let plan = run.plan();
    let template = || identity::HOST.parse().map_err(|e: BadName| Failure::new(Exit::Bug, e.to_string()));
    let (instance, host) = match made {
        As::Itself => (&plan.vm, plan.host.clone()),
        As::Maker(name, _) => (*name, template()?),
        As::Clone(name, _) | As::Saved(name, _) | As::Again(name, _) => (*name, plan.host.clone()),
    };
    let (mac, user) = (plan.net.vm.mac.clone(), plan.profile.user.clone());
    let interface = plan.profile.interface.clone();
    let seed = Seed { instance: instance.clone(), host, mac, interface, user, secrets };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut iso = seed.image(now).map_err(|e| Failure::new(Exit::Bug, e.to_string()))?;
    iso.resize(iso.len().next_multiple_of(SEED_BYTES), 0);
    Ok(iso)
}

/// The planned machine, over the image that was found. What a template is known by, all of its machines keep.
fn machine(planned: Machine, golden: &Golden, uefi: Option<Uefi>, made: &As<'_>) -> Machine {
    let backing = Backing { path: golden.path.clone(), format: golden.format.name().into() };
    let user = qemu::user::of_its_own(&planned.name);
    let (name, template, disk) = match made {
        As::Itself => (None, None, None),
        As::Maker(name, place) | As::Saved(name, place) => {
            (Some(*name), Some(Part::Maker(place.saved())), Some(place.disk()))
        }
        As::Clone(name, place) | As::Again(name, place) => {
            let cloned = Cloned { disk: place.disk(), saved: Some(place.saved()) };
            (Some(*name), Some(Part::Clone(cloned)), None)
        }
    };
    let storage = match planned.storage {
        Storage::Overlay(overlay) => {
            Storage::Overlay(Overlay { golden: Some(backing), disk: disk.unwrap_or(overlay.disk), uefi, ..overlay })
        }
        media => media,
    };
    let machine = Machine { storage, user, template, ..planned };
    match name {
        None => machine,
        Some(name) => Machine {
            uuid: qemu::uuid(&Sha256::digest(name.as_str())),
            smbios_serial: boot_media::seed::smbios_serial(name),
            ..machine
        },
    }
}

/// The ways into the guest: as it is made, and as the real inventory says.
pub(super) fn ways(target: &Target<'_>, preflight: &Preflight) -> Result<Ways, Failure> {
    let plan = &target.plan;
    let user = &plan.profile.user;
    let fresh = Ways::fresh(plan.net.vm.ip, user);
    let port = match &preflight.way.port {
        None => fresh.fresh.port,
        Some(port) => port.parse().map_err(|_| {
            Failure::new(
                Exit::Usage,
                format!("the real inventory's ansible_port of {} is {port:?}, which is no port", plan.host),
            )
        })?,
    };
    let inventory = Way { port, user: preflight.way.user.clone().unwrap_or_else(|| user.clone()) };
    let break_glass = plan.profile.break_glass.as_ref();
    let break_glass =
        break_glass.map(|way| Way { port: way.port, user: way.user.clone().unwrap_or_else(|| user.clone()) });
    let real = preflight.real.hosts.get(plan.host.as_str()).cloned().unwrap_or_default();
    Ok(Ways { inventory, break_glass, real, become_password: preflight.way.become_password, ..fresh })
}

pub(super) fn make_network(run: &Run<'_>, net: &NetPlan) -> Result<((), String), Failure> {
    bring_up::network(&own_exe()?, run.target().dirs, run.vm().dir(), net)?;
    Ok(((), format!("{}, {} mode, VM {}", net.name, run.record().made_of.net, net.vm.ip)))
}

/// The overlay: nothing is ever written to the golden image below it.
fn overlay(golden: &Golden, overlay: &Overlay, gib: u64, made: &As<'_>) -> Result<(), Failure> {
    let needed = golden.virtual_bytes.div_ceil(1 << 30);
    if gib < needed {
        return Err(Failure::new(Exit::Usage, format!("disk_gib is {gib}, but {} needs {needed}", golden.path)));
    }
    let size = format!("{gib}G");
    let done = match made {
        As::Clone(_, place) | As::Again(_, place) => qemu::disk::make_over_template(overlay, &place.disk(), &size),
        As::Itself | As::Maker(..) | As::Saved(..) => {
            qemu::disk::make(overlay, &golden.path, golden.format.name(), &size)
        }
    };
    done.map_err(|e| Failure::from(e).during(format!("cannot make the overlay {}", overlay.disk)))
}

/// Tells the user how an image comes.
struct ImageWatch<'a> {
    progress: &'a dyn Progress,
}

impl Watch for ImageWatch<'_> {
    fn say(&self, line: &str) {
        self.progress.note(line);
    }
    fn progress(&self, done: u64, total: Option<u64>) {
        let mib = |bytes: u64| bytes >> 20;
        self.progress.trace(&match total {
            Some(total) => format!("{} of {} MiB", mib(done), mib(total)),
            None => format!("{} MiB", mib(done)),
        });
    }
    fn stopped(&self) -> bool {
        stop::asked()
    }
}
