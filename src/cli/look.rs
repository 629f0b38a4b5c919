//! The commands that look and change nothing.

use super::init;
use super::say::Say;
use super::script;
use crate::doctor::DoctorInput;
use crate::image::{Cache, Catalogue};
use crate::jobs::ttl::Expiry;
use crate::plan::Plan;
use crate::plan::options::Options;
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{DirError, Dirs};
use host::failure::{Exit, Failure, with_causes};
use host::ledger::folder::{self, Whose};
use host::names::HostName;
use host::presence::Presence;
use host::print;
use host::promise::{self, Place};
use std::io::{Read, Seek, SeekFrom, Write};
use vm::console::gap;
use vm::fault::{InForce, in_force};
use vm::machine::VmDir;
use vm::monitor::events::read_all;
use vm::network::{self, Mode, NetDir, NetFile};
use vm::qemu::Machine;

/// `doctor`. Whoever has no project yet wants to know as well: then what a new one begins with is looked at.
pub(super) fn doctor(root: Option<&Utf8Path>, mode: Mode, repo: Option<Utf8PathBuf>, say: &Say) -> Result<u8, Failure> {
    let (dirs, is_project) = match Dirs::resolve(root) {
        Err(DirError::NoRoot { .. }) => (Dirs::outside()?, false),
        dirs => (dirs?, true),
    };
    let (net, catalogue) = match is_project {
        true => {
            let file = |name| dirs.root.join(name);
            (NetFile::read(&file("net/boma-it.json"))?, Catalogue::read(&file("profiles/images.json"))?)
        }
        false => init::beginning()?,
    };
    let input = DoctorInput {
        dirs: dirs.clone(),
        mode,
        net,
        repo: repo.or_else(|| if is_project { only_repo(&dirs) } else { None }),
        image_there: has_an_image(&dirs, catalogue),
        min_free: crate::doctor::MIN_FREE,
        path: host::programs::path(),
    };
    let checks = crate::doctor::examine(&input);
    for check in &checks {
        say.object(&serde_json::json!({"event": "check", "check": check}));
    }
    say.painted(&crate::doctor::table(&checks));
    if !is_project {
        say.text("there is no project here yet; `boma-qemu init HOST --root DIR --repo REPO` begins one");
    }
    let can = crate::doctor::can_run(&checks);
    let project = is_project.then_some(&dirs.root);
    say.object(&serde_json::json!({"event": "doctor", "can_run": can, "project": project}));
    Ok(if can { 0 } else { Exit::Host.code() })
}

/// Whether a run finds an image that it may take. A folder that is not used is told by its own check.
fn has_an_image(dirs: &Dirs, catalogue: Catalogue) -> bool {
    Cache::of(dirs).pinned(catalogue).list().is_ok_and(|all| all.iter().any(|one| one.current))
}

/// The repository of the only profile, if there is only one: where its Ansible would be.
fn only_repo(dirs: &Dirs) -> Option<Utf8PathBuf> {
    let hosts: Vec<_> = crate::profile::names(dirs, crate::profile::Kind::Host);
    let [host] = &hosts[..] else { return None };
    let profile = crate::profile::Profile::load(dirs, host).ok()?;
    profile.repo.map(|repo| dirs.root.join(repo))
}

/// `report`.
pub(super) fn report(dirs: &Dirs, run: Option<Utf8PathBuf>, say: &Say) -> Result<u8, Failure> {
    let folder = run.unwrap_or_else(|| dirs.runs.join("latest"));
    let page = match folder.join(crate::jobs::audit::page::FILE).exists() {
        true => crate::jobs::audit::page::again(&folder)?,
        false => evidence::page::again(&folder)?,
    };
    say.object(&serde_json::json!({"event": "report", "page": page}));
    say.result(page);
    Ok(0)
}

/// `plan`.
pub(super) fn plan(dirs: &Dirs, host: &HostName, options: Options, say: &Say) -> Result<u8, Failure> {
    // Always the same VM name, so that two plans can be compared.
    let plan = Plan::resolve(dirs, host, options, "0000")?;
    let own = std::env::var("HOME").map(|home| vm::keys::own_keys(Utf8Path::new(&home))).unwrap_or_default();
    let mut shown = serde_json::json!({"event": "plan", "plan": plan});
    // A value on the command line may be a secret.
    shown["plan"]["options"]["extra_vars"] = serde_json::json!(plan.options.extra_vars.len());
    say.object(&shown);
    say.text(crate::plan::text(&plan, dirs, own).trim_end());
    Ok(0)
}

/// `status`.
pub(super) fn status(dirs: &Dirs, say: &Say) -> Result<u8, Failure> {
    let (mut vms, mut networks) = (Vec::new(), Vec::new());
    for of in dirs.all()? {
        vms.extend(VmDir::list(&of)?);
        networks.extend(NetDir::list(&of)?.into_iter().map(|name| (of.clone(), name)));
    }
    if vms.is_empty() && networks.is_empty() {
        say.result("nothing is running");
    }
    for (host, vm) in vms {
        let presence = vm.presence();
        let alive = !presence.is_gone();
        let plan: Option<Plan> = std::fs::read(vm.plan()).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let events = read_all(&vm.events());
        // Not known is not none: then there is no list, and no number.
        let faults = match &events {
            Ok(events) if alive => Some(in_force(events)),
            Ok(_) => Some(Vec::new()),
            Err(_) => None,
        };
        let text = match (&plan, alive) {
            _ if let Presence::Unknown(why) = &presence => {
                format!("{host}: not known whether it is running: {why}")
            }
            // What runs stands in the machine's own file; the plan knows what it was to be.
            (plan, true) => {
                let at = plan.as_ref().map(|plan| format!(" at {}", plan.net.vm.ip)).unwrap_or_default();
                match Machine::load(&vm.machine()) {
                    Ok(machine) => format!("{host}: running as {}{at}, {}", machine.name, machine.accel),
                    Err(_) => format!("{host}: running{at}"),
                }
            }
            (_, false) => format!("{host}: {}", left_of(vm.path())),
        };
        say.result(text);
        let expiry = Expiry::of(&vm)?;
        if let Some(expiry) = &expiry {
            say.result(format!("  {}", expiry.told()));
        }
        let forwards = vm::forward::list(&vm)?;
        for forwarded in &forwards {
            say.result(format!("  forwards {forwarded}"));
        }
        if let (Err(error), true) = (&events, alive) {
            say.result(format!("  which faults are in force is not known: {error}"));
        }
        for InForce { fault, seq } in faults.iter().flatten() {
            say.result(format!(
                "  fault {fault} is in force since event {seq}; `boma-qemu fault {host} {}` undoes it",
                fault.opposite()
            ));
        }
        say.object(&serde_json::json!({
            "event": "vm", "host": host, "folder": vm.path(), "faults": faults,
            "alive": (!matches!(presence, Presence::Unknown(_))).then_some(alive),
            "since": events.as_ref().ok().map(|events| events.last().map_or(0, |event| event.seq)),
            "vm": plan.as_ref().map(|p| &p.vm), "address": plan.as_ref().map(|p| p.net.vm.ip),
            "forwards": forwards,
            "ttl_left_s": expiry.as_ref().map(|expiry| expiry.left().as_secs()),
        }));
    }
    for (of, name) in networks {
        show_net(&of, &name, say)?;
    }
    promises(dirs, say);
    Ok(0)
}

/// What memory is promised on this host, whose VMs ever they are.
fn promises(dirs: &Dirs, say: &Say) {
    let place = Place::find(&dirs.state);
    let (held, beside) = match promise::look(&place) {
        Ok(seen) => seen,
        Err(error) => return say.result(format!("memory: what is promised is not known: {}", with_causes(&error))),
    };
    for held in &held {
        say.result(format!("memory: {held}"));
    }
    if !held.is_empty() {
        say.result(format!("memory: {beside} are available beside that"));
    }
    let entries: Vec<_> = held.iter().map(|held| &held.entry).collect();
    say.object(&serde_json::json!({
        "event": "memory", "available_mib": beside, "promised": entries, "others_unseen": place.alone(),
    }));
}

/// What to do about the folder of something that does not run.
fn left_of(folder: &Utf8Path) -> String {
    match folder::whose(folder) {
        Whose::NotOurs(why) | Whose::Unseen(why) => format!("{folder}: {why}"),
        Whose::Ours | Whose::Begun | Whose::Gone => "dead; `boma-qemu prune` removes what is left of it".into(),
    }
}

/// `net show`.
pub(super) fn net(dirs: &Dirs, say: &Say) -> Result<u8, Failure> {
    let mut none = true;
    for of in dirs.all()? {
        for name in NetDir::list(&of)? {
            none = false;
            show_net(&of, &name, say)?;
        }
    }
    if none {
        say.result("no network is up");
    }
    Ok(0)
}

fn show_net(dirs: &Dirs, name: &host::names::IfName, say: &Say) -> Result<(), Failure> {
    let net = network::open(dirs, name)?;
    let text = match &net {
        None => format!("network {name}: {}", left_of(NetDir::of(dirs, name).path())),
        Some(net) => {
            let plan = net.plan();
            let enter = match net.enter_by_hand() {
                Some(line) => format!("\n  enter it by hand: {line}"),
                None => String::new(),
            };
            let namespace = net.namespace().unwrap_or_else(|| "gone".into());
            let whose = if net.enter_by_hand().is_some() { "its own" } else { "the host's" };
            let cut = if net.is_cut() { ", cut off by a fault" } else { "" };
            format!(
                "network {name}: up, {} on {}, {:?} mode, egress {:?}{cut}\n  in {whose} network namespace, {namespace}{enter}",
                plan.subnet, plan.bridge, plan.mode, plan.egress
            )
        }
    };
    say.text(text);
    say.object(&serde_json::json!({"event": "network", "name": name, "alive": net.is_some(), "egress": net.as_ref().map(|n| n.egress()), "namespace": net.as_ref().and_then(|n| n.namespace()), "enter": net.as_ref().and_then(|n| n.enter_by_hand()), "plan": net.as_ref().map(|n| n.plan())}));
    Ok(())
}

/// `console`: the log, and what is added to it.
pub(super) fn console(dirs: &Dirs, host: &HostName, follow: bool) -> Result<u8, Failure> {
    let vm = VmDir::of(dirs, host);
    let read = |source: std::io::Error| {
        Failure::new(Exit::Usage, format!("there is no console of {host}: {source}"))
            .next(format!("start a VM with `boma-qemu up {host}`; the consoles of past runs are in the evidence"))
    };
    let mut file = std::fs::File::open(vm.console()).map_err(read)?;
    let mut out = print::pass_through();
    let mut buffer = vec![0; 65536];
    loop {
        let gap = gap::mark(gap::skip(&file).map_err(read)?);
        if out.write_all(&gap).is_err() {
            return Ok(0);
        }
        match file.read(&mut buffer) {
            Ok(0) if !follow || !vm.is_alive() || script::reader_is_gone() => return Ok(0),
            // A regular file cannot be polled; ten looks a second are enough for a reader.
            Ok(0) => std::thread::sleep(host::deadline::PROBE_PERIOD),
            Ok(n) if out.write_all(&buffer[..n]).and_then(|()| out.flush()).is_err() => return Ok(0),
            Ok(_) => {}
            Err(error) => return Err(read(error)),
        }
        // A log that was cut begins again.
        if let (Ok(meta), Ok(at)) = (file.metadata(), file.stream_position())
            && meta.len() < at
        {
            file.seek(SeekFrom::Start(0)).map_err(read)?;
        }
    }
}
