//! `connect`, `ssh-config` and `inventory`: the VM for the tools that people have already.

use super::say::Say;
use crate::jobs::Context;
use crate::jobs::bring_up::own_exe;
use crate::jobs::target::Target;
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::shell::quoted;
use host::visible::line;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use vm::connect;
use vm::machine::VmDir;
use vm::ssh::{Ways, foreign};

/// `connect`: become a connection to a port of the VM, on standard input and output.
pub(super) fn to(ctx: &Context<'_>, host: &HostName, port: u16) -> Result<u8, Failure> {
    let target = Target::open(ctx.dirs, host)?;
    let mut argv = target.vm.network()?.enter();
    let to = SocketAddr::from((target.vm.end().ip, port));
    argv.extend([own_exe()?.into(), connect::NAME.to_owned(), to.to_string()]);
    Err(super::shell::become_(&argv))
}

/// `ssh-config`: a Host block for the user's own ssh configuration.
pub(super) fn ssh_config(dirs: &Dirs, host: &HostName, say: &Say) -> Result<u8, Failure> {
    let target = Target::open(dirs, host)?;
    let options = options(&target)?;
    say.object(
        &json!({"event": "ssh-config", "host": host, "options": options.iter().cloned().collect::<BTreeMap<_, _>>()}),
    );
    say.text(host_block(host, &options));
    Ok(0)
}

/// One Host block, an option a line.
fn host_block(host: &HostName, options: &[(&str, String)]) -> String {
    let lines: Vec<_> = options.iter().map(|(name, value)| format!("    {name} {}", line(value))).collect();
    format!("Host {host}\n{}", lines.join("\n"))
}

/// `inventory`: what Ansible asks of an inventory script, of the VMs that are up.
pub(super) fn inventory(dirs: &Dirs, only: Option<&HostName>, one: Option<&HostName>) -> Result<u8, Failure> {
    let mut hostvars = Map::new();
    let mut groups: Map<String, Value> = Map::new();
    let mut all = Vec::new();
    for of in dirs.all()? {
        all.extend(VmDir::list(&of)?.into_iter().map(|(host, dir)| (of.clone(), host, dir)));
    }
    for (dirs, host, dir) in &all {
        // One that boots from media has no user to log in as.
        if only.is_some_and(|only| only != host) || dir.presence().is_gone() || !dir.plan().exists() {
            continue;
        }
        let target = Target::open(dirs, host)?;
        for group in &target.plan.profile.groups {
            let entry = groups.entry(group.clone()).or_insert_with(|| json!({"hosts": []}));
            entry["hosts"].as_array_mut().into_iter().for_each(|hosts| hosts.push(host.as_str().into()));
        }
        hostvars.insert(host.to_string(), variables(&target)?);
    }
    if let Some(only) = only.filter(|only| !hostvars.contains_key(only.as_str())) {
        return Err(Failure::new(Exit::Usage, format!("there is no VM of {only} that playbooks could run on"))
            .next(format!("start one with `boma-qemu up {only}`")));
    }
    let answer = match one {
        Some(host) => hostvars.remove(host.as_str()).unwrap_or_else(|| json!({})),
        None => {
            let names: Vec<_> = hostvars.keys().cloned().collect();
            groups.insert("all".into(), json!({"hosts": names}));
            groups.insert("_meta".into(), json!({"hostvars": hostvars}));
            groups.into()
        }
    };
    host::print::object_pretty(&answer);
    Ok(0)
}

/// The options of ssh that lead to the VM, by their names in its configuration.
fn options(target: &Target<'_>) -> Result<Vec<(&'static str, String)>, Failure> {
    let dir = target.vm.dir();
    let ways = Ways::load(&dir.ways()).map_err(|error| Failure::new(Exit::Lost, error.to_string()))?;
    let dirs = target.dirs;
    // ssh runs it from anywhere, by the user's shell.
    let proxy = format!(
        "env BOMA_STATE={} {} --root {} connect {} %p",
        quoted(dirs.state.as_str()),
        quoted(own_exe()?.as_str()),
        quoted(dirs.root.as_str()),
        target.vm.host()
    );
    Ok(foreign(dir, &ways).into_iter().chain([("ProxyCommand", proxy)]).collect())
}

/// The variables by which Ansible's own ssh reaches the VM.
fn variables(target: &Target<'_>) -> Result<Value, Failure> {
    let (mut own, mut rest) = (BTreeMap::new(), Vec::new());
    for (name, value) in options(target)? {
        match name {
            "HostName" | "Port" | "User" | "IdentityFile" => drop(own.insert(name, value)),
            _ => rest.push(format!("-o {}", quoted(&format!("{name}={value}")))),
        }
    }
    Ok(json!({
        "ansible_host": own.get("HostName"),
        "ansible_port": own.get("Port"),
        "ansible_user": own.get("User"),
        "ansible_ssh_private_key_file": target.vm.dir().ssh_key(),
        "ansible_ssh_common_args": rest.join(" "),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_block_has_an_option_a_line() {
        let options = [("HostName", "192.0.2.1".to_owned()), ("User", "deploy\nHost *".to_owned())];
        let block = host_block(&"web1".parse().unwrap(), &options);
        let lines: Vec<_> = block.lines().collect();
        assert_eq!(lines[..2], ["Host web1", "    HostName 192.0.2.1"]);
        assert_eq!(lines.len(), 3, "what a value holds begins no line of its own: {block}");
    }
}
