//! The plan as text: everything that a run would do, in the order in which it would be done.

use super::Plan;
use crate::ansible::UserVars;
use crate::checks::Question;
use crate::profile::Entry;
use crate::revision::Revision;
use boot_media::seed::{self, Seed};
use host::dirs::Dirs;
use host::presence::{IN_MEMORY, ignore};
use std::fmt::Write;
use vm::machine::VmDir;
use vm::network::{self, Mode, NetDir};
use vm::qemu::{self, Fds};

/// The whole plan as text. Keys and passwords, which are made new for each run, are shown as placeholders.
pub fn text(plan: &Plan, dirs: &Dirs, own_keys: Vec<String>) -> String {
    let mut out = String::new();
    ignore(write(plan, dirs, own_keys, &mut out), IN_MEMORY);
    out
}

fn write(plan: &Plan, dirs: &Dirs, own_keys: Vec<String>, out: &mut String) -> std::fmt::Result {
    let place = VmDir::of(dirs, &plan.host);
    let net = &plan.net;
    heading(out, "run")?;
    writeln!(out, "host        {} (the VM is called {})", plan.host, plan.vm)?;
    writeln!(out, "state       {}", place.path())?;
    writeln!(out, "evidence    {}/<time>-{}", dirs.runs, plan.host)?;
    writeln!(out, "image       {} (cache {})", plan.image, dirs.cache)?;
    writeln!(out, "overlay     {} ({} GiB, thin)", place.disk(), plan.profile.disk_gib)?;
    writeln!(out, "accelerator {} ({})", plan.machine.accel, plan.accel_why)?;
    writeln!(out, "removed     {} by itself, if nobody has by then", plan.options.ttl)?;
    heading(out, "network")?;
    writeln!(out, "bridge {} {}, VM {} {}", net.bridge, net.subnet, net.vm.ip, net.vm.mac)?;
    writeln!(
        out,
        "{}",
        match net.mode {
            Mode::Namespace => {
                "in a user and network namespace of its own, and the playbooks in another below it; when it is up, \
                 `boma-qemu net show` prints the line that enters it by hand (nsenter --target PID --user --net)"
            }
            Mode::Host => "on the host itself; the playbooks in a network namespace of their own",
        }
    )?;
    writeln!(
        out,
        "never reached: every host of {}, of the inventories beside it, and of those in ansible.cfg",
        plan.profile.inventory
    )?;
    for name in &plan.profile.never {
        writeln!(out, "never reached: {name}")?;
    }
    heading(out, "nft")?;
    out.push_str(&network::nft::guest(net));
    out.push_str(&network::nft::ports(net));
    heading(out, "nft, the controller side")?;
    out.push_str(&network::nft::controller(net));
    heading(out, "dnsmasq")?;
    out.push_str(&network::dnsmasq::config(net, NetDir::of(dirs, &net.name).path()));
    heading(out, "seed")?;
    let seed = Seed {
        instance: plan.vm.clone(),
        host: plan.host.clone(),
        mac: net.vm.mac.clone(),
        interface: plan.profile.interface.clone(),
        user: plan.profile.user.clone(),
        secrets: seed::Secrets::shown(own_keys),
    };
    for file in seed.files() {
        writeln!(out, "--- {}", file.name)?;
        writeln!(out, "{}", String::from_utf8_lossy(&file.bytes).trim_end())?;
    }
    heading(out, "qemu")?;
    writeln!(
        out,
        "{}",
        qemu::argv(&plan.machine, &Fds::shown(&plan.machine)).join(" \\\n  ").replace(" \\\n  -", "\n  -")
    )?;
    let disk = plan.machine.overlay().map_or("no disk", |overlay| overlay.disk.as_str());
    writeln!(out, "(behind descriptor 6: {disk}, and a write cache that loses what was not flushed)")?;
    write_ansible(plan, dirs, out)
}

fn write_ansible(plan: &Plan, dirs: &Dirs, out: &mut String) -> std::fmt::Result {
    let controller = plan.controller(dirs);
    heading(out, "inventory")?;
    let none = crate::ansible::inventory::Inline::default();
    let text = crate::ansible::inventory::text(&plan.host, &plan.profile.groups, &controller.inventory, &none);
    writeln!(out, "{}", text.trim_end())?;
    writeln!(out, "(and what the real inventory says inline, but for the connection)")?;
    heading(out, "connection, the last of the extra-vars")?;
    writeln!(out, "{}", plan.connection(dirs).extra_vars(&controller.folder).trim_end())?;
    if let Some(from) = &plan.from {
        write_from(plan, from, dirs, out)?;
    }
    let prepare = &plan.profile.prepare;
    if !prepare.is_empty() {
        heading(out, "before the change")?;
        if !prepare.packages.is_empty() {
            writeln!(out, "apt-get install {}", prepare.packages.join(" "))?;
        }
        for apply in plan.prepares(dirs) {
            writeln!(out, "{}", controller.apply(&apply))?;
        }
    }
    heading(out, "playbooks")?;
    writeln!(out, "cd {}", plan.repo)?;
    for apply in &plan.profile.applies {
        writeln!(out, "{}", controller.apply(apply))?;
    }
    for vars in &plan.options.extra_vars {
        if let UserVars::Pair { key, .. } = vars {
            writeln!(out, "({key} is given in a file of its own; its value is not shown)")?;
        }
    }
    heading(out, "restart, then verify")?;
    writeln!(out, "by {}: {}", plan.restart, plan.restart.mode.help())?;
    writeln!(out, "it must show: {}", plan.restart.mode.row())?;
    for entry in plan.profile.verify.entries() {
        match entry {
            Entry::Playbook(path) => writeln!(out, "{}", controller.verify(&dirs.root.join(path)))?,
            Entry::Probe(Question { name, probe, within }) => {
                let place = if probe.is_inside() { "in the guest" } else { "from the controller" };
                let asked = serde_json::to_string(probe).unwrap_or_default();
                writeln!(out, "{name}: {asked}, {place}, for {within} s")?;
            }
            Entry::Run(program) => {
                let invocation = controller.users_program(&program.run, &dirs.root, plan.net.vm.ip);
                let format = serde_json::to_string(&program.format).unwrap_or_default();
                writeln!(out, "{}: {invocation} (in {}; its {format} is read)", program.name, dirs.root)?;
            }
        }
    }
    write_scenarios(plan, out)
}

/// What `prove` would try.
fn write_scenarios(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let all = plan.profile.all_scenarios();
    if all.is_empty() {
        return Ok(());
    }
    heading(out, "scenarios, for prove")?;
    for (name, scenario) in &all {
        let is_default = plan.profile.red_scenario() == Some(name);
        let mark = if is_default { " (the one that is run if none is named)" } else { "" };
        writeln!(out, "{name}{mark}: {}", scenario.shows)?;
        let fixed = scenario.fixed.as_ref().map_or("as the profile is", |path| path.as_str());
        writeln!(out, "  red    {}: {}", scenario.broken, scenario.demands().join("; "))?;
        writeln!(out, "  green  {fixed}")?;
    }
    Ok(())
}

/// What is applied first.
fn write_from(plan: &Plan, from: &Revision, dirs: &Dirs, out: &mut String) -> std::fmt::Result {
    heading(out, "playbooks of the revision that is applied first")?;
    writeln!(out, "revision {}, commit {}, of {}", from.rev, from.commit, from.top)?;
    let base = plan.by(&dirs.state.join("from-<random>/tree").join(&from.within));
    writeln!(
        out,
        "cd {} (a copy, removed when it is applied; what git ignores is linked from the work tree)",
        base.repo
    )?;
    base.profile.applies.iter().try_for_each(|apply| writeln!(out, "{}", base.controller(dirs).apply(apply)))?;
    writeln!(out, "then, on top of it, the work tree's:")
}

fn heading(out: &mut String, title: &str) -> std::fmt::Result {
    writeln!(out, "{}## {title}", if out.is_empty() { "" } else { "\n" })
}
