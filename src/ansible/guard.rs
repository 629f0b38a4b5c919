//! The last look before the first task: which hosts the playbooks select, and which way the connection goes.
//!
//! Nothing is contacted. The hosts come from `--list-hosts`; it shows neither `delegate_to` nor an address, so the
//! way comes from the ssh plugin itself, asked with the very extra-vars of the run (`plugins/boma_resolved.py`).

use super::command::{Controller, Invocation};
use super::error::AnsibleError;
use super::local;
use super::preflight::refused;
use super::{Connection, Selection, connection};
use camino::Utf8Path;
use evidence::playbook::events::{self, Event};
use serde_json::{Map, Value, json};

/// Assert that these playbooks would run on the VM and on nothing else: by the very commands that will run them.
/// The folder has been written ([`Controller::write_folder`]).
pub fn check(
    controller: &Controller,
    connection: &Connection,
    playbooks: &[Invocation],
    prefix: &[String],
) -> Result<(), AnsibleError> {
    let (hosts, way) = std::thread::scope(|scope| {
        let hosts = scope.spawn(|| playbooks.iter().try_for_each(|playbook| check_hosts(controller, playbook, prefix)));
        let way = check_way(controller, connection, prefix);
        (hosts.join(), way)
    });
    hosts.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    way
}

fn check_hosts(controller: &Controller, run: &Invocation, prefix: &[String]) -> Result<(), AnsibleError> {
    // The playbook is the last word of the command.
    let playbook = run.argv.last().map(Utf8Path::new).unwrap_or(&controller.repo);
    let mut invocation = run.clone();
    invocation.argv.push("--list-hosts".into());
    let output = succeed(&invocation, prefix)?;
    let host = controller.host.to_string();
    let listed = parse_hosts(&output);
    let others: Vec<_> = listed.hosts.iter().filter(|name| **name != host).cloned().collect();
    if !others.is_empty() {
        return Err(AnsibleError::OtherHosts { playbook: playbook.to_owned(), hosts: others.join(", "), host });
    }
    match listed.hosts.is_empty() {
        true => Err(AnsibleError::NoHost { playbook: playbook.to_owned(), patterns: listed.patterns.join(", "), host }),
        false => Ok(()),
    }
}

fn check_way(controller: &Controller, connection: &Connection, prefix: &[String]) -> Result<(), AnsibleError> {
    let folder = &controller.folder;
    let events = folder.path().join("guard.ndjson");
    // What an earlier run left there would answer for this one.
    match std::fs::remove_file(&events) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(AnsibleError::Io { path: events, source });
        }
        _ => {}
    }
    let mut invocation = controller.playbook(&folder.guard(), &Selection::default(), &[]);
    invocation.env.retain(|(name, _)| name != "BOMA_EVENTS");
    invocation.env.push(("BOMA_EVENTS".into(), events.to_string()));
    invocation.env.push(("ANSIBLE_ACTION_PLUGINS".into(), folder.actions().to_string()));
    let output = succeed(&invocation, prefix)?;
    let text = std::fs::read_to_string(&events).unwrap_or_default();
    let events = events::parse(&text).map_err(|why| AnsibleError::Unreadable { playbook: folder.guard(), why })?;
    let mut resolved = events.into_iter().filter_map(|event| match event {
        Event::Result(result) if result.host == controller.host.as_str() => result.resolved,
        _ => None,
    });
    match resolved.next() {
        Some(resolved) => compare(&resolved, &expected(connection, folder)),
        None => Err(AnsibleError::Refused {
            command: invocation.to_string(),
            status: "no answer".into(),
            said: output.lines().last().unwrap_or_default().to_owned(),
            stage: super::Stage::Apply,
        }),
    }
}

/// What every value of the way has to be, the plugin itself first: another one has other values.
fn expected(connection: &Connection, folder: &super::Folder) -> [(&'static str, &'static str, Value); 11] {
    [
        ("connection", "the plugin", json!("ssh")),
        ("host", "the address", json!(connection.address.to_string())),
        ("port", "the port", json!(connection.port)),
        ("remote_user", "the user", json!(connection.user)),
        ("private_key_file", "the key", json!(connection.key)),
        ("host_key_checking", "host key checking", json!(true)),
        ("ssh_args", "ssh_args", json!(connection.ssh_args(folder))),
        ("ssh_common_args", "ssh_common_args", json!("")),
        ("ssh_extra_args", "ssh_extra_args", json!("")),
        ("ssh_executable", "ssh_executable", json!(connection::SSH)),
        ("password", "a password", json!(false)),
    ]
}

fn compare(
    resolved: &Map<String, Value>,
    expected: &[(&'static str, &'static str, Value)],
) -> Result<(), AnsibleError> {
    let nothing = Value::Null;
    for (name, what, value) in expected {
        let found = resolved.get(*name).unwrap_or(&nothing);
        if found != value {
            let (found, expected) = (found.to_string(), value.to_string());
            return Err(AnsibleError::WrongWay { what, found, expected });
        }
    }
    Ok(())
}

fn succeed(invocation: &Invocation, prefix: &[String]) -> Result<String, AnsibleError> {
    let (status, output) = local::run(invocation, prefix, Vec::new())?;
    match status.success() {
        true => Ok(output.stdout),
        false => Err(refused(invocation, status, &output.stderr)),
    }
}

/// What `--list-hosts` says of all plays of a playbook.
#[derive(Debug, Default, PartialEq)]
struct Listed {
    patterns: Vec<String>,
    hosts: Vec<String>,
}

/// Each play prints `    pattern: […]`, then `    hosts (N):` and N names, one a line.
fn parse_hosts(text: &str) -> Listed {
    let mut listed = Listed::default();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(pattern) = line.strip_prefix("    pattern: ") {
            listed.patterns.push(pattern.trim_matches(|c| "[]'\"".contains(c)).to_owned());
        }
        let Some(count) = line.strip_prefix("    hosts (").and_then(|rest| rest.strip_suffix("):")) else { continue };
        for name in lines.by_ref().take(count.parse().unwrap_or_default()) {
            if !listed.hosts.iter().any(|seen| seen == name.trim()) {
                listed.hosts.push(name.trim().to_owned());
            }
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_plays_of_a_playbook_are_looked_at() {
        let text = "
playbook: playbooks/site.yml

  play #1 (all): What every host gets\tTAGS: []
    pattern: ['all']
    hosts (1):
      askari

  play #2 (home_hosts): Others\tTAGS: []
    pattern: ['home_hosts']
    hosts (0):

  play #3 (x): y\tTAGS: []
    pattern: ['x', 'z']
    hosts (2):
      askari
      ubongo
";
        let listed = parse_hosts(text);
        assert_eq!(listed.hosts, ["askari", "ubongo"]);
        assert_eq!(listed.patterns, ["all", "home_hosts", "x', 'z"]);
    }

    #[test]
    fn a_value_that_is_not_the_vms_is_named_with_both_values() {
        let connection = Connection {
            host: "askari".parse().unwrap(),
            address: std::net::Ipv4Addr::new(10, 9, 8, 7),
            port: 22,
            user: "ansible".into(),
            key: "/k".into(),
            known_hosts: "/h".into(),
        };
        let expected = expected(&connection, &super::super::Folder::at("/s"));
        let mut resolved: Map<_, _> =
            expected.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())).collect();
        compare(&resolved, &expected).unwrap();
        resolved.insert("host".into(), "198.51.100.136".into());
        let error = compare(&resolved, &expected).unwrap_err().to_string();
        assert!(error.contains("198.51.100.136") && error.contains("10.9.8.7"), "{error}");
        resolved.insert("connection".into(), "local".into());
        let error = compare(&resolved, &expected).unwrap_err().to_string();
        assert!(error.starts_with("the plugin of the connection resolves to \"local\""), "{error}");
    }
}
