//! A plan made anew while its VM is up: the profile and its files as they are now, on the machine that is there.
//!
//! The user's options stay those of `up`: they are of the VM. What the machine, its network and its first boot were made
//! of cannot become something else while it runs, and is refused by name.

use super::{Plan, machine, must_exist, network, overlays, repository};
use crate::profile::{Allow, Profile};
use evidence::record::Changed;
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use vm::machine::VmDir;

impl Plan {
    /// The plan as it has to be now. An error if that asks for another machine or another network.
    pub fn renewed(&self, dirs: &Dirs) -> Result<Self, Failure> {
        let profile = Profile::load(dirs, &self.host)?;
        let options = &self.options;
        let restart = options.restart.request(profile.via)?;
        // A path on the command line was relative to where `up` ran.
        let repo = match options.repo {
            Some(_) => self.repo.clone(),
            None => repository(dirs, &self.host, &profile, options)?,
        };
        let overlays = overlays(dirs, &profile, options);
        must_exist(dirs, &profile, &repo, &overlays)?;
        let image = options.image.clone().unwrap_or_else(|| profile.image.clone());
        let plan = Self { made_with: Some(Box::new(self.made_with().clone())), ..self.clone() };
        let plan = Self { profile, repo, image, overlays, restart, ..plan };
        plan.refuse_another_machine(self, dirs)?;
        let as_made = plan.changed().is_empty();
        Ok(Self { made_with: plan.made_with.filter(|_| !as_made), ..plan })
    }

    /// The profile as it was when the VM was made.
    fn made_with(&self) -> &Profile {
        self.made_with.as_deref().unwrap_or(&self.profile)
    }

    /// What of the profile is not as it was when the VM was made, key by key.
    pub fn changed(&self) -> Vec<Changed> {
        let (was, is) = (keys(self.made_with()), keys(&self.profile));
        let all: BTreeSet<_> = was.keys().chain(is.keys()).collect();
        let value = |of: &Map<String, Value>, key: &str| of.get(key).cloned().unwrap_or_default();
        let each = all.into_iter().map(|key| Changed { key: key.clone(), was: value(&was, key), is: value(&is, key) });
        each.filter(|changed| changed.was != changed.is).collect()
    }

    fn refuse_another_machine(&self, before: &Self, dirs: &Dirs) -> Result<(), Failure> {
        let was = before.made_with();
        let mut fixed = fixed(was, &self.profile);
        fixed.extend((self.image != before.image).then_some("image"));
        fixed.extend((self.repo != before.repo).then_some("repo"));
        let changed = self.changed();
        let named = changed.iter().filter(|changed| fixed.contains(&changed.key.as_str()));
        let mut named: Vec<_> = named.map(ToString::to_string).collect();
        // Neither key says so where a link leads elsewhere now.
        if named.is_empty() && self.repo != before.repo {
            named.push(format!("repo: {} -> {}", before.repo, self.repo));
        }
        let net = network(dirs, was, &before.options, &before.vm)?;
        named.extend((net != before.net).then(|| "the network (net/boma-it.json)".to_owned()));
        let place = VmDir::of(dirs, &self.host);
        let seen = Sha256::digest(self.vm.as_str());
        let made = machine(&self.profile, &place, &self.vm, &before.net, before.machine.accel, &seen)?;
        // What no key above says and the machine has all the same.
        if named.is_empty() && made != before.machine {
            named.push("what the machine is made of".to_owned());
        }
        if named.is_empty() {
            return Ok(());
        }
        let host = &self.host;
        let what = format!(
            "profiles/{host}.json has changed since `up` in what a VM that is up cannot change: {}",
            named.join("; ")
        );
        let next = format!(
            "make the VM anew, by `boma-qemu down {host}` and `boma-qemu up {host}`; or take the change back until then"
        );
        Err(Failure::new(Exit::Usage, what).next(next))
    }
}

/// The keys that are part of the machine, its network or its first boot, and are not as they were. Each key of the profile
/// stands here, so that a new one has to be decided on.
fn fixed(was: &Profile, is: &Profile) -> Vec<&'static str> {
    let Profile {
        inventory,
        user,
        mem_mib,
        vcpus,
        disk_gib,
        disk_bus,
        firmware,
        disks,
        interface,
        nics,
        prepare,
        dns,
        break_glass,
        certificate,
        package_lists,
        allow,
        console,
        // Compared as they were resolved.
        image: _,
        repo: _,
        // Read anew with each `apply`.
        comment: _,
        groups: _,
        applies: _,
        extra_vars_files: _,
        verify: _,
        never: _,
        never_unresolved: _,
        state: _,
        via: _,
        red: _,
        schema: _,
        scenarios: _,
    } = was;
    // A socket is shown to each command when it starts; an address is a rule of the network.
    let rules = |all: &[Allow]| all.iter().filter(|allow| allow.to.is_some()).cloned().collect::<Vec<_>>();
    let compared = [
        ("inventory", *inventory != is.inventory),
        ("user", *user != is.user),
        ("mem_mib", *mem_mib != is.mem_mib),
        ("vcpus", *vcpus != is.vcpus),
        ("disk_gib", *disk_gib != is.disk_gib),
        ("disk_bus", *disk_bus != is.disk_bus),
        ("firmware", *firmware != is.firmware),
        ("disks", *disks != is.disks),
        ("interface", *interface != is.interface),
        ("nics", *nics != is.nics),
        ("prepare", *prepare != is.prepare),
        ("dns", *dns != is.dns),
        ("break_glass", *break_glass != is.break_glass),
        ("certificate", *certificate != is.certificate),
        ("package_lists", *package_lists != is.package_lists),
        ("allow", rules(allow) != rules(&is.allow)),
        // The VM's monitor has read it when it started.
        ("console", *console != is.console),
    ];
    compared.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

fn keys(profile: &Profile) -> Map<String, Value> {
    match serde_json::to_value(profile) {
        Ok(Value::Object(keys)) => keys,
        // Plain data with string keys: serialising it cannot fail.
        _ => Map::new(),
    }
}

#[cfg(test)]
#[path = "renew_tests.rs"]
mod tests;
