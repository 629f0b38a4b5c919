//! Containers, and Docker's networks and volumes.

use super::there;
use crate::observe::state::{Fact, Facts};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// What the script asks Docker of a container. Its id and its addresses are random, its name is not.
#[derive(Deserialize)]
struct Container {
    name: String,
    image: String,
    state: String,
    health: String,
    restart: String,
    #[serde(default)]
    restarts: u64,
    #[serde(default)]
    error: String,
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    mounts: Option<Vec<Mount>>,
    networks: Option<BTreeMap<String, Endpoint>>,
    ports: Option<BTreeMap<String, Option<Vec<Binding>>>>,
}

impl Container {
    fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    destination: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(rename = "IPAddress")]
    address: String,
    #[serde(rename = "GlobalIPv6Address")]
    address6: String,
    #[serde(rename = "NetworkID")]
    network: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    host_ip: String,
    host_port: String,
}

/// A container's address, the container, and the bridge that it is on.
pub(super) struct Address {
    pub(super) address: String,
    pub(super) container: String,
    pub(super) bridge: String,
}

fn lines<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).map_err(|e| format!("{e} in {line:?}"))).collect()
}

/// Containers, running or not, with what those that run see at the places of their mounts.
pub(super) fn containers(text: &str, mountinfo: &str) -> Result<Facts, String> {
    let mut facts = Facts::new();
    for container in lines::<Container>(text)? {
        let name = container.name().to_owned();
        for Mount { destination } in container.mounts.iter().flatten() {
            let seen = seen_at(mountinfo, container.pid, destination);
            facts.extend(seen.map(|seen| (format!("{name}/mounts{destination}"), Fact::One(seen))));
        }
        there(&mut facts, format!("{name}/state"), container.state);
        there(
            &mut facts,
            format!("{name}/restart"),
            if container.restart.is_empty() { "no".into() } else { container.restart },
        );
        there(&mut facts, format!("{name}/image"), container.image.clone());
        if !container.health.is_empty() {
            there(&mut facts, format!("{name}/health"), container.health);
        }
        let networks = container.networks.unwrap_or_default().into_keys().collect();
        facts.insert(format!("{name}/networks"), Fact::List(networks));
        for (port, bindings) in container.ports.unwrap_or_default() {
            for Binding { host_ip, host_port } in bindings.unwrap_or_default() {
                // Without a number Docker takes any that is free.
                let at = if host_port.is_empty() { "any".to_owned() } else { host_port };
                let ip = if host_ip.is_empty() { "*" } else { &host_ip };
                there(&mut facts, format!("{name}/ports/{ip}:{at}"), port.clone());
            }
        }
        there(&mut facts, name, container.image);
    }
    Ok(facts)
}

/// The file system that a process finds at a place, and the folder of it: the last one mounted there.
fn seen_at(mountinfo: &str, pid: u32, place: &str) -> Option<String> {
    let path = format!("/proc/{pid}/mountinfo:");
    let rows = mountinfo.lines().filter_map(|line| line.strip_prefix(path.as_str()));
    let rows = rows.map(|row| row.split(' ').collect::<Vec<_>>());
    let row = rows.rev().find(|row| row.get(4) == Some(&place))?;
    let dash = row.iter().position(|word| *word == "-")?;
    let (root, kind, source) = (row.get(3)?, row.get(dash + 1)?, row.get(dash + 2)?);
    // A volume without a name has a random one.
    let root = root.split('/').map(|part| if part.len() == 64 { "…" } else { part }).collect::<Vec<_>>().join("/");
    Some(format!("{kind} {source}[{root}]"))
}

/// Podman's containers: those of root, with all that is seen of Docker's, and of those of users which run. A user's are
/// called `name@user`; they are known by the command lines of their monitors (conmon(8)), which begin with `user NAME`.
pub(super) fn podman(text: &str, conmons: &str) -> Result<Facts, String> {
    let mut facts = containers(text, "")?;
    for monitor in format!("\n{conmons}").split("\nuser ").skip(1) {
        let mut words = monitor.lines();
        let user = words.next().unwrap_or_default();
        // The name stands behind `-n`.
        let name = words.skip_while(|word| *word != "-n").nth(1).unwrap_or_default();
        if user != "root" && !name.is_empty() {
            there(&mut facts, format!("{name}@{user}/state"), "running");
        }
    }
    Ok(facts)
}

/// How often Docker has started each container again.
pub(super) fn restarts(text: &str) -> Vec<(String, u64)> {
    let all = lines::<Container>(text).unwrap_or_default().into_iter().filter(|container| container.restarts > 0);
    all.map(|container| (format!("container/{}", container.name()), container.restarts)).collect()
}

/// Why Docker could not start a container, by its name.
pub(super) fn errors(text: &str) -> BTreeMap<String, String> {
    let all = lines::<Container>(text).unwrap_or_default().into_iter().filter(|container| !container.error.is_empty());
    all.map(|container| (container.name().to_owned(), container.error)).collect()
}

/// The addresses that Docker gave its containers: in the order in which they started, so another on the next boot.
pub(super) fn addresses(text: &str) -> Vec<Address> {
    let containers: Vec<Container> = lines(text).unwrap_or_default();
    let mut all = Vec::new();
    for container in containers {
        let name = container.name().to_owned();
        for (network, endpoint) in container.networks.unwrap_or_default() {
            let id = endpoint.network.get(..12).unwrap_or_default();
            let bridge = if network == "bridge" { "docker0".to_owned() } else { format!("br-{id}") };
            for address in [endpoint.address, endpoint.address6].into_iter().filter(|a| !a.is_empty()) {
                all.push(Address { address, container: format!("{name}@{network}"), bridge: bridge.clone() });
            }
        }
    }
    all
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    name: String,
    driver: String,
    scope: String,
    internal: String,
}

/// Docker's networks by name: those that it makes itself get another id at each start.
pub(super) fn networks(text: &str) -> Result<Facts, String> {
    let text_of =
        |n: &Network| format!("{} {}{}", n.driver, n.scope, if n.internal == "true" { " internal" } else { "" });
    Ok(lines::<Network>(text)?.into_iter().map(|n| (n.name.clone(), Fact::One(text_of(&n)))).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    name: String,
    driver: String,
}

/// Docker's volumes that somebody named; the others go with their container.
pub(super) fn volumes(text: &str) -> Result<Facts, String> {
    let anonymous = |name: &str| name.len() == 64 && name.chars().all(|c| c.is_ascii_hexdigit());
    let volumes = lines::<Volume>(text)?.into_iter().filter(|volume| !anonymous(&volume.name));
    Ok(volumes.map(|volume| (volume.name, Fact::One(volume.driver))).collect())
}

#[cfg(test)]
mod tests {
    use super::super::seen;
    use super::*;

    #[test]
    fn a_container_sees_the_folder_that_was_there_when_it_started() {
        let text = r#"{"name":"/db","image":"pg","state":"running","health":"","restart":"always","restarts":3,"error":"","pid":77,"mounts":[{"Destination":"/data"}],"networks":null,"ports":null}"#;
        let row = |root: &str, device: &str| format!("/proc/77/mountinfo:9 8 0:7 {root} /data rw - ext4 {device} rw\n");
        let at = |mountinfo: &str| containers(text, mountinfo).unwrap().get("db/mounts/data").map(Fact::to_string);
        assert_eq!(at(&row("/", "/dev/vdb")).as_deref(), Some("ext4 /dev/vdb[/]"));
        assert_eq!(at(&row("/srv/data", "/dev/vda2")).as_deref(), Some("ext4 /dev/vda2[/srv/data]"));
        assert_eq!(at(""), None, "one that does not run sees nothing");
        assert_eq!(restarts(text), [("container/db".to_owned(), 3)]);
    }

    #[test]
    fn a_users_containers_are_known_by_their_monitors() {
        let conmons =
            "user root\n/usr/bin/conmon\n-c\n0a1b\n-n\nproxy\nuser bob\n/usr/bin/conmon\n-c\n2c3d\n-n\nwiki\n-s\n";
        let seen = seen(podman("", conmons).unwrap());
        assert_eq!(seen, ["wiki@bob/state = running"]);
    }
}
