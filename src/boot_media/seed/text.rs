//! The three texts of a seed. All are JSON, which is YAML: nothing needs quoting rules of its own.

use super::{RESCUE_USER, Seed};
use serde_json::{Value, json};

/// `meta-data`.
pub(super) fn meta_data(seed: &Seed) -> String {
    pretty(&json!({ "instance-id": seed.instance, "local-hostname": seed.host.guest() }))
}

/// `network-config` (netplan's format). The lease is asked for by MAC address, not by machine id, so
/// that a fixed lease matches at the first boot too; the interface keeps the name that the image gives it, unless the real host
/// has another. Then netplan knows it by that, so that what a role says of it is of the same one.
pub(super) fn network_config(seed: &Seed) -> String {
    let mut card = json!({ "match": { "macaddress": seed.mac }, "dhcp4": true, "dhcp-identifier": "mac" });
    if let Some(name) = &seed.interface {
        card["set-name"] = name.as_str().into();
    }
    let id = seed.interface.as_ref().map_or("boma", |name| name.as_str());
    pretty(&json!({ "version": 2, "ethernets": { id: card } }))
}

/// `user-data`. What is not named here stays as the image has it.
pub(super) fn user_data(seed: &Seed) -> String {
    let config = json!({
        "hostname": seed.host.guest(),
        // Makes sure that the name resolves, and leaves every other line of /etc/hosts to the roles;
        // `true` would write the file anew at each boot, so a role's line would not survive a reboot.
        "manage_etc_hosts": "localhost",
        "users": [login(seed), rescue(seed)],
        "write_files": [rescue_sudo(), no_passwords_by_ssh()],
        "ssh_pwauth": false,
        // A host whose inventory logs in as root is mirrored as it is.
        "disable_root": seed.user != "root",
        // Host keys of all the kinds that cloud-init makes, but ours: so the client can pin them before the guest exists.
        "ssh_deletekeys": true,
        "ssh_keys": host_keys(seed),
        "ssh": { "emit_keys_to_console": false },
        "no_ssh_fingerprints": true,
        "growpart": { "mode": "auto", "devices": ["/"] },
        "resize_rootfs": true,
        "apt": { "preserve_sources_list": true },
        "package_update": false,
        "package_upgrade": false,
    });
    format!("#cloud-config\n{}", pretty(&config))
}

fn host_keys(seed: &Seed) -> Value {
    let halves = seed.secrets.host.iter().flat_map(|key| {
        let (private, public) = (key.pair.private(), key.pair.public());
        [(format!("{}_private", key.kind), private.into()), (format!("{}_public", key.kind), public.into())]
    });
    Value::Object(halves.collect())
}

/// The user that Ansible logs in as: by key only.
fn login(seed: &Seed) -> Value {
    if seed.user == "root" {
        return json!({ "name": "root", "lock_passwd": true, "ssh_authorized_keys": seed.secrets.authorized() });
    }
    json!({
        "name": seed.user,
        "gecos": "Ansible",
        "shell": "/bin/bash",
        "lock_passwd": true,
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": seed.secrets.authorized(),
    })
}

/// The rescue user: by password, on the console only (no key, and sshd takes no passwords). A system
/// user, so that the host's own users get the uids that they would get without it.
fn rescue(seed: &Seed) -> Value {
    json!({
        "name": RESCUE_USER,
        "gecos": "boma-qemu break-glass",
        "system": true,
        "homedir": "/",
        "shell": "/bin/bash",
        "lock_passwd": false,
        "hashed_passwd": seed.secrets.rescue_hash,
    })
}

/// In a file of its own, not in cloud-init's: hardening roles remove that one.
fn rescue_sudo() -> Value {
    json!({
        "path": format!("/etc/sudoers.d/{RESCUE_USER}"),
        "permissions": "0440",
        "content": format!("{RESCUE_USER} ALL=(ALL:ALL) NOPASSWD: ALL\n"),
    })
}

/// The file that cloud-init makes of `ssh_pwauth: false`, to the byte, but written before sshd first
/// starts. Finding it so, cloud-init does not restart sshd in the middle of the boot, which would refuse
/// a login soon after one has succeeded.
fn no_passwords_by_ssh() -> Value {
    json!({
        "path": "/etc/ssh/sshd_config.d/50-cloud-init.conf",
        "permissions": "0600",
        "content": "PasswordAuthentication no\n",
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
