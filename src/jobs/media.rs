//! A machine that boots from media: made, switched on, and left to whoever asked for it.
//!
//! It is a VM like any other: its folder, ledger, monitor and network are those of a mirrored host's, so `status`,
//! `console`, `events`, `qmp`, `down` and `prune` know it. It has no plan, no keys and no playbooks.

use super::bring_up::{self, KVM_FAILED};
use super::{Context, guards};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::write_private;
use host::failure::Failure;
use host::names::{HostName, Mac, MiB, VmName};
use host::promise::Need;
use sha2::{Digest, Sha256};
use std::time::Duration;
use vm::console::allow::Allowed;
use vm::machine::VmDir;
use vm::monitor::Client;
use vm::network::{Mode, NetFile, NetPlan};
use vm::qemu::boot::{Boot, BootError, Net};
use vm::qemu::{self, Cable, Machine, Storage, accel};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What the VM is called in commands: an audit's profile.
    pub name: &'a HostName,
    /// The machine. A relative path of its image lies inside the project root.
    pub boot: &'a Boot,
    /// Where the bridge is made, if it wants one.
    pub mode: Mode,
    /// What the console may say.
    pub allowed: &'a Allowed,
    /// The least memory that must be available.
    pub min_free: MiB,
    /// When it is removed by itself.
    pub ttl: Option<Duration>,
}

/// A machine that is switched on. It lives until [`super::down::down`].
#[derive(Clone, Debug)]
pub struct Booted {
    /// What it is called in commands.
    pub host: HostName,
    /// Its folder.
    pub vm: VmDir,
    /// Its monitor.
    pub client: Client,
    /// What QEMU was told.
    pub machine: Machine,
    /// Why it has its accelerator.
    pub accel_why: String,
    /// The bridge network that it is in, if it is in one; the addresses behind names are filled in.
    pub net: Option<NetPlan>,
}

impl Booted {
    /// Let it stay when `prune` comes; `down` still removes it.
    pub fn keep(&self) -> Result<(), Failure> {
        Ok(write_private(&self.vm.kept(), "")?)
    }
}

/// Switch on a machine that boots from media. The caller holds the run lock ([`guards::lock`]). What is there if it
/// fails is removed with [`super::down::down`].
pub async fn boot_media(ctx: &Context<'_>, wanted: &Wanted<'_>) -> Result<Booted, Failure> {
    boot_media_as(&bring_up::own_exe()?, ctx, wanted).await
}

/// As [`boot_media()`], with the program that becomes the monitor named: for tests, which are another program themselves.
pub async fn boot_media_as(exe: &Utf8Path, ctx: &Context<'_>, wanted: &Wanted<'_>) -> Result<Booted, Failure> {
    // 1. What can be refused is, before anything is made.
    let Wanted { name, boot, .. } = *wanted;
    boot.check()?;
    guards::no_other_vm(ctx)?;
    let vm = VmDir::of(ctx.dirs, name);
    vm.check_length()?;
    guards::fresh_folder(&vm, name)?;
    let (machine, accel_why, mut net) = resolve(ctx, wanted, &vm)?;
    let need = Need {
        what: machine.name.to_string(),
        guest: boot.mem_mib,
        beside: bring_up::beside(machine.accel),
        vcpus: boot.vcpus,
        min_free: wanted.min_free,
    };
    let promise = bring_up::admit(ctx.dirs, wanted.mode, &need, false, ctx.progress)?;
    // 2. The folder, which the ledger knows before there is anything in it.
    bring_up::directory(&vm, &machine, wanted.allowed)?;
    disks(&machine)?;
    bring_up::expire(exe, ctx.dirs, name, &machine, wanted.ttl)?;
    // 3. The network, if it is one of ours. QEMU's own is inside QEMU, and takes none.
    let mut enter = Vec::new();
    if let Some(plan) = &mut net {
        let network = bring_up::network(exe, ctx.dirs, &vm, plan)?;
        *plan = network.plan().clone();
        enter = network.enter_as_monitor();
    }
    // 4. On.
    let mut booted = Booted { host: name.clone(), client: Client::new(&vm), vm, machine, accel_why, net };
    let planned = booted.machine.accel;
    bring_up::switch_on(exe, &enter, &booted.vm, &mut booted.machine, boot.accel, &promise, ctx.progress).await?;
    if booted.machine.accel != planned {
        booted.accel_why = KVM_FAILED.into();
    }
    Ok(booted)
}

/// Everything that is to be known before anything is made.
fn resolve(ctx: &Context<'_>, wanted: &Wanted<'_>, vm: &VmDir) -> Result<(Machine, String, Option<NetPlan>), Failure> {
    let Wanted { name, boot, .. } = *wanted;
    let mut boot = boot.clone();
    let iso = boot.iso.as_ref().map(|path| readable(ctx.dirs.root.join(path))).transpose()?;
    if let Some(image) = &mut boot.image {
        image.path = readable(ctx.dirs.root.join(&image.path))?;
    }
    let (accel, why) = accel::choose(boot.accel, &accel::facts())?;
    let id: [u8; 2] = rand::random();
    let own: VmName = format!("boma-it-{}-{:02x}{:02x}", name.part(), id[0], id[1]).parse()?;
    let seen = Sha256::digest(own.as_str());
    // 52:54:00 is the locally administered prefix that QEMU's own addresses have.
    let mac: Mac = format!("52:54:00:{:02x}:{:02x}:{:02x}", seen[0], seen[1], seen[2]).parse()?;
    let net = match boot.net {
        Net::Bridge => {
            let file = NetFile::read(&ctx.dirs.root.join("net/boma-it.json"))?;
            let mut plan = file.plan(wanted.mode, own.clone(), "boma-it-t0".parse()?, mac.clone());
            plan.egress = boot.egress;
            plan.check()?;
            Some(plan)
        }
        Net::User | Net::None => None,
    };
    let cable = match (&net, boot.net) {
        (Some(plan), _) => Cable::Tap { tap: plan.vm.tap.clone(), bridge: plan.bridge.clone() },
        (None, Net::None) => Cable::None,
        (None, _) => Cable::User,
    };
    let machine = Machine {
        uuid: qemu::uuid(&seen),
        mem: boot.mem_mib,
        vcpus: boot.vcpus,
        accel,
        cpu: boot.cpu.clone(),
        storage: Storage::Media(boot.media(vm, iso)?),
        user: qemu::user::of_its_own(&own),
        mac,
        cable,
        cards: Vec::new(),
        smbios_serial: own.to_string(),
        template: None,
        name: own,
    };
    Ok((machine, why, net))
}

/// The image by a path that does not change with the working directory.
fn readable(path: Utf8PathBuf) -> Result<Utf8PathBuf, BootError> {
    let why = |error: std::io::Error| BootError::Image { path: path.clone(), why: error.to_string() };
    std::fs::File::open(&path).map_err(why)?;
    path.canonicalize_utf8().map_err(why)
}

fn disks(machine: &Machine) -> Result<(), Failure> {
    let Storage::Media(media) = &machine.storage else { return Ok(()) };
    media.make_disks().map_err(|e| Failure::from(e).during("cannot make the VM's disks"))?;
    bring_up::variables(machine)
}
