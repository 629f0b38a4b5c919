//! The plan: `Profile -> Plan` is pure. It resolves every choice, checks it against what is there, and
//! changes nothing. What cannot be known without asking others (the addresses behind names, the real
//! inventory's hosts) is found by the preflight, and goes into the network's own file. A plan is never changed; of a VM that is
//! up, `apply` makes a new one (`renew`).
//!
//! Not fuzzed: what is read here is this program's own.

pub mod lint;
pub mod options;
mod print;
mod renew;

pub use print::text;

use crate::ansible::{Connection, Controller, Folder, UserVars};
use crate::certificates;
use crate::profile::{Apply, DataDisk, Profile, Scenario, Side};
use crate::revision::{Revision, RevisionError};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::Dirs;
use host::failure::{Blame, Exit, Failure};
use host::names::{DiskFormat, HostName, Mac, MiB, VmName};
use options::{Issuer, Options};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::Duration;
use vm::machine::VmDir;
use vm::network::authority::Authority;
use vm::network::plan::Allow;
use vm::network::{Egress, NetFile, NetPlan};
use vm::qemu::media::Disk;
use vm::qemu::{self, Accel, Cable, Card, Machine, Overlay, Storage};
use vm::reboot::Request;
use vm::ssh::Ways;

/// Everything that a run would do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The mirrored host.
    pub host: HostName,
    /// The VM.
    pub vm: VmName,
    /// The profile, as the last `apply` read it.
    pub profile: Profile,
    /// The profile as it was when the VM was made, where an `apply` has found another since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_with: Option<Box<Profile>>,
    /// The user's choices.
    pub options: Options,
    /// The playbook repository, absolute.
    pub repo: Utf8PathBuf,
    /// The image's catalogue name or path.
    pub image: String,
    /// Overlays in the order of their precedence: the profile's, then the certificate tier's.
    pub overlays: Vec<Utf8PathBuf>,
    /// The network, without the never list: what is never to be reached is known when it is made, and stands in its file.
    pub net: NetPlan,
    /// The machine.
    pub machine: Machine,
    /// Why the machine has this accelerator.
    pub accel_why: String,
    /// How the machine is restarted.
    #[serde(default)]
    pub restart: Request,
    /// The revision of the playbook repository that is applied first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Revision>,
}

/// Why a run cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No repository.
    #[error(
        "which playbook repository? Neither --repo nor BOMA_REPO is given, and the profile of {host} has no `repo`"
    )]
    NoRepo {
        /// The host.
        host: HostName,
    },
    /// A file that the plan names is not there.
    #[error("{what} {path} does not exist")]
    Missing {
        /// What it is to be.
        what: &'static str,
        /// Where it should be.
        path: Utf8PathBuf,
    },
    /// A value that the network cannot take.
    #[error("allow: {to:?} is not an IPv4 address or network")]
    Allow {
        /// The value.
        to: String,
    },
}

impl Blame for PlanError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Plan {
    /// Resolve a run. `id` tells this run's VM from any other: four hexadecimal digits.
    pub fn resolve(dirs: &Dirs, host: &HostName, options: Options, id: &str) -> Result<Self, Failure> {
        let profile = Profile::load(dirs, host)?;
        options.issuer(profile.certificate.as_ref())?;
        if options.egress == Egress::None && !profile.prepare.packages.is_empty() {
            return Err(Failure::new(
                Exit::Usage,
                "prepare: packages are fetched, and --egress none leaves no way out",
            )
            .next("use an image that has them, or leave --egress at nat"));
        }
        let restart = options.restart.request(profile.via)?;
        let repo = repository(dirs, host, &profile, &options)?;
        let overlays = overlays(dirs, &profile, &options);
        must_exist(dirs, &profile, &repo, &overlays)?;
        let from = options.from.as_deref().map(|rev| revision(&repo, rev, &profile)).transpose()?;
        let vm: VmName = format!("boma-it-{}-{id}", host.part()).parse()?;
        let seen = Sha256::digest(vm.as_str());
        let net = network(dirs, &profile, &options, &vm)?;
        let (accel, accel_why) = vm::qemu::accel::choose(options.accel, &vm::qemu::accel::facts())?;
        let place = VmDir::of(dirs, host);
        place.check_length()?;
        let machine = machine(&profile, &place, &vm, &net, accel, &seen)?;
        let image = options.image.clone().unwrap_or_else(|| profile.image.clone());
        let (host, made_with) = (host.clone(), None);
        Ok(Self {
            host,
            vm,
            profile,
            made_with,
            options,
            repo,
            image,
            overlays,
            net,
            machine,
            accel_why,
            restart,
            from,
        })
    }

    /// The same by another copy of the playbook repository.
    pub fn by(&self, repo: &Utf8Path) -> Self {
        Self { repo: repo.to_owned(), ..self.clone() }
    }

    /// The extra variables as the evidence has them: files below the project root by their place in it, a variable by
    /// its name (a value may be a secret).
    pub fn extra_vars(&self, dirs: &Dirs) -> Vec<String> {
        let below = |path: &Utf8Path| format!("@{}", path.strip_prefix(&dirs.root).unwrap_or(path));
        let own = self.overlays.iter().map(|path| below(path));
        let given = self.options.extra_vars.iter().map(|vars| match vars {
            UserVars::File(path) => below(path),
            other => format!("{other:?}"),
        });
        own.chain(given).collect()
    }

    /// How long a boot, and a reboot, may take until it has settled.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.options.timeout_s)
    }

    /// All playbooks, absolute: those that prepare the guest, those to apply, then those of checks.
    pub fn playbooks(&self, dirs: &Dirs) -> Vec<Utf8PathBuf> {
        let prepare = self.profile.prepare.playbooks.iter().map(|path| dirs.root.join(path));
        let applies = self.profile.applies.iter().map(|apply| self.repo.join(&apply.playbook));
        prepare.chain(applies).chain(self.profile.verify.playbooks().map(|path| dirs.root.join(path))).collect()
    }

    /// The playbooks that prepare the guest, absolute.
    pub fn prepares(&self, dirs: &Dirs) -> Vec<Apply> {
        let all = self.profile.prepare.playbooks.iter();
        all.map(|path| Apply { playbook: dirs.root.join(path), tags: Vec::new() }).collect()
    }

    /// Who issues the host's certificates.
    pub fn issuer(&self) -> Issuer {
        // What cannot be had was refused when the plan was made.
        self.options.issuer(self.profile.certificate.as_ref()).unwrap_or(Issuer::Internal)
    }

    /// The certificate tier, with how it is had.
    pub fn tier(&self) -> String {
        let name = self.options.certs.name();
        match self.issuer() {
            Issuer::Internal | Issuer::LetsEncrypt => name.to_owned(),
            Issuer::Rehearsal => format!("{name} (rehearsed)"),
        }
    }

    /// The playbook side.
    pub fn controller(&self, dirs: &Dirs) -> Controller {
        Controller {
            host: self.host.clone(),
            repo: self.repo.clone(),
            inventory: self.repo.join(&self.profile.inventory),
            groups: self.profile.groups.clone(),
            overlays: self.overlays.clone(),
            user: self.options.extra_vars.clone(),
            private: None,
            folder: Folder::at(VmDir::of(dirs, &self.host).ansible()),
            bin: crate::ansible::command::find_bin(&self.repo),
            outer: crate::ansible::command::outer_environment(),
        }
    }

    /// How the playbook side reaches the VM: by the way that answered last, once there is a VM.
    pub fn connection(&self, dirs: &Dirs) -> Connection {
        let place = VmDir::of(dirs, &self.host);
        let fresh = Ways::fresh(self.net.vm.ip, &self.profile.user);
        let Ways { current, .. } = Ways::load(&place.ways()).unwrap_or(fresh);
        Connection {
            host: self.host.clone(),
            address: self.net.vm.ip,
            port: current.port,
            user: current.user,
            key: place.ssh_key(),
            known_hosts: place.known_hosts(),
        }
    }
}

fn repository(dirs: &Dirs, host: &HostName, profile: &Profile, options: &Options) -> Result<Utf8PathBuf, PlanError> {
    let given = options.repo.as_ref().map(|repo| match std::env::current_dir() {
        Ok(here) => Utf8Path::from_path(&here).unwrap_or(Utf8Path::new("/")).join(repo),
        Err(_) => repo.clone(),
    });
    let own = profile.repo.as_ref().map(|repo| dirs.root.join(repo));
    let repo = given.or(own).ok_or_else(|| PlanError::NoRepo { host: host.clone() })?;
    repo.canonicalize_utf8().map_err(|_| PlanError::Missing { what: "the playbook repository", path: repo })
}

/// The revision that is applied first, with all that the profile names.
fn revision(repo: &Utf8Path, rev: &str, profile: &Profile) -> Result<Revision, RevisionError> {
    let found = Revision::of(repo, rev)?;
    found.must_have(&named(profile).collect::<Vec<_>>())?;
    Ok(found)
}

/// What the profile names in the playbook repository.
fn named(profile: &Profile) -> impl Iterator<Item = (&'static str, Utf8PathBuf)> {
    let playbooks = profile.applies.iter().map(|apply| ("the playbook", apply.playbook.clone()));
    [("the inventory", profile.inventory.clone())].into_iter().chain(playbooks)
}

fn overlays(dirs: &Dirs, profile: &Profile, options: &Options) -> Vec<Utf8PathBuf> {
    let own = profile.extra_vars_files.iter().map(|file| dirs.root.join(file));
    own.chain([options::certs_overlay(&dirs.root, options.certs)]).collect()
}

fn must_exist(dirs: &Dirs, profile: &Profile, repo: &Utf8Path, overlays: &[Utf8PathBuf]) -> Result<(), PlanError> {
    let mut wanted: Vec<_> = named(profile).map(|(what, path)| (what, repo.join(path))).collect();
    wanted.extend(profile.verify.playbooks().map(|path| ("the verify playbook", dirs.root.join(path))));
    wanted.extend(profile.prepare.playbooks.iter().map(|path| ("the playbook of prepare", dirs.root.join(path))));
    let scenarios = profile.all_scenarios();
    let sides = scenarios.values().flat_map(Scenario::overlays);
    wanted.extend(sides.map(|(what, path)| (what, dirs.root.join(path))));
    wanted.extend(overlays.iter().map(|path| ("the overlay", path.clone())));
    match wanted.into_iter().find(|(_, path)| !path.exists()) {
        None => Ok(()),
        Some((what, path)) => Err(PlanError::Missing { what, path }),
    }
}

/// The address of the card of whoever has this address in this network: a machine that goes on from a template has the
/// template's card.
fn mac(net: &NetFile) -> Result<Mac, Failure> {
    mac_of(&format!("{} in {}", net.vm, net.subnet))
}

/// An address that follows from a text. 52:54:00 is the locally administered prefix that QEMU's own addresses have.
fn mac_of(text: &str) -> Result<Mac, Failure> {
    let seen = Sha256::digest(text);
    Ok(format!("52:54:00:{:02x}:{:02x}:{:02x}", seen[0], seen[1], seen[2]).parse()?)
}

fn network(dirs: &Dirs, profile: &Profile, options: &Options, vm: &VmName) -> Result<NetPlan, Failure> {
    let path = dirs.root.join("net/boma-it.json");
    let file = NetFile::read(&path)?;
    let mac = mac(&file)?;
    let authority = authority(&file, &path, profile, options)?;
    let mut net = file.plan(options.net, vm.clone(), "boma-it-t0".parse()?, mac);
    net.egress = options.egress;
    net.authority = authority;
    for (name, to) in &profile.dns {
        // The profile's own check leaves "vm" and addresses only.
        net.stubs.insert(name.clone(), to.parse().unwrap_or(net.vm.ip));
    }
    for allow in &profile.allow {
        let Some(to) = &allow.to else { continue };
        let exception = Allow {
            name: to.clone(),
            to: to.parse().map_err(|_| PlanError::Allow { to: to.clone() })?,
            port: None,
            why: allow.why.clone(),
        };
        match allow.side {
            Side::Guest => net.allow.push(exception),
            Side::Controller => net.controller_allow.push(exception),
        }
    }
    net.check()?;
    Ok(net)
}

/// The authority on the VM's network, if this run has one.
fn authority(
    file: &NetFile,
    path: &Utf8Path,
    profile: &Profile,
    options: &Options,
) -> Result<Option<Authority>, Failure> {
    match (&profile.certificate, options.issuer(profile.certificate.as_ref())?) {
        (Some(certificate), Issuer::Rehearsal) => {
            let address = file.authority.ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    format!("{path} has no `authority`, where a rehearsal of certificates answers"),
                )
                .next(format!("add an address of {} that is nobody's and that DHCP does not give", file.subnet))
            })?;
            Ok(Some(Authority { address, zone: certificate.zone.clone(), names: certificates::names() }))
        }
        _ => Ok(None),
    }
}

fn data_disks(profile: &Profile, place: &VmDir) -> Vec<Disk> {
    let disk = |(n, disk): (usize, &DataDisk)| Disk {
        path: place.path().join(format!("data{n}.qcow2")),
        size: MiB(disk.size_gib << 10),
        bus: disk.bus.unwrap_or(profile.disk_bus),
        format: DiskFormat::Qcow2,
        serial: disk.serial(n),
    };
    profile.disks.iter().enumerate().map(disk).collect()
}

/// The further network cards. Two cards with one address would be two faults in one network.
fn cards(profile: &Profile, net: &NetPlan) -> Result<Vec<Card>, Failure> {
    let mut macs = vec![net.vm.mac.clone()];
    let mut cards = Vec::new();
    for (n, nic) in profile.nics.iter().enumerate() {
        let mac =
            nic.mac.clone().map_or_else(|| mac_of(&format!("card {n} of {} in {}", net.vm.ip, net.subnet)), Ok)?;
        if macs.contains(&mac) {
            return Err(Failure::new(Exit::Usage, format!("nics: two network cards have the address {mac}"))
                .next("give each its own `mac`, or leave it out"));
        }
        macs.push(mac.clone());
        cards.push(Card { mac, isolated: nic.isolated.clone() });
    }
    Ok(cards)
}

fn machine(
    profile: &Profile,
    place: &VmDir,
    vm: &VmName,
    net: &NetPlan,
    accel: Accel,
    seen: &[u8],
) -> Result<Machine, Failure> {
    Ok(Machine {
        name: vm.clone(),
        uuid: qemu::uuid(seen),
        mem: profile.mem_mib,
        vcpus: profile.vcpus,
        accel,
        cpu: None,
        storage: Storage::Overlay(Overlay {
            disk: place.disk(),
            bus: profile.disk_bus,
            golden: None,
            memory: place.memory(),
            seed: place.seed(),
            uefi: None,
            disks: data_disks(profile, place),
        }),
        user: None,
        mac: net.vm.mac.clone(),
        cable: Cable::Tap { tap: net.vm.tap.clone(), bridge: net.bridge.clone() },
        cards: cards(profile, net)?,
        smbios_serial: boot_media::seed::smbios_serial(vm),
        template: None,
    })
}
