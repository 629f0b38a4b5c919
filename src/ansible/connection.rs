//! Where the VM is, as extra-vars that nothing in a repository can override.
//!
//! Extra-vars are the strongest variables that Ansible knows, but one option can be set through several of them, and
//! then the *last in the plugin's own list* wins, whatever its source: `ansible_ssh_host` in a `host_vars` file
//! beats `ansible_host` in extra-vars. So every variable of the ssh plugin that says where to, as whom or how is set
//! (the list is `ansible-doc -t connection ssh` of ansible-core 2.18 to 2.19). `ansible_connection` is not:
//! extra-vars reach `localhost` too, and would send its tasks to the VM.

use super::folder::Folder;
use camino::{Utf8Path, Utf8PathBuf};
use host::names::HostName;
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;

/// The ssh program, found in `PATH`.
pub const SSH: &str = "ssh";

/// Seconds that ssh has for connecting: an emulated guest needs many.
const CONNECT_SECONDS: u32 = 60;

/// A socket's path holds 107 bytes; ssh adds `/`, 40 hex digits (`%C`), a dot and 16 random letters.
const LONGEST_CONTROL_FOLDER: usize = 107 - 58;

/// How Ansible reaches the VM.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The mirrored host, whose name the VM bears in the inventory.
    pub host: HostName,
    /// The VM's address.
    pub address: Ipv4Addr,
    /// Its ssh port.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// Our private key.
    pub key: Utf8PathBuf,
    /// The file that pins the VM's host key.
    pub known_hosts: Utf8PathBuf,
}

/// Variables that say where to connect to, as whom, or how.
const TARGET: [&str; 24] = [
    "ansible_host",
    "ansible_ssh_host",
    "ansible_port",
    "ansible_ssh_port",
    "ansible_user",
    "ansible_ssh_user",
    "ansible_private_key_file",
    "ansible_ssh_private_key_file",
    "ansible_host_key_checking",
    "ansible_ssh_host_key_checking",
    "ansible_ssh_args",
    "ansible_ssh_common_args",
    "ssh_common_args",
    "ansible_ssh_extra_args",
    "ansible_sftp_extra_args",
    "ansible_scp_extra_args",
    "ansible_ssh_executable",
    "ansible_sftp_executable",
    "ansible_scp_executable",
    "ansible_control_path",
    "ansible_control_path_dir",
    "ansible_ssh_timeout",
    "ansible_ssh_password_mechanism",
    "ansible_sshpass_prompt",
];

/// Variables that hold other keys and passwords; null means "not set".
const CREDENTIALS: [&str; 8] = [
    "ansible_password",
    "ansible_ssh_pass",
    "ansible_ssh_password",
    "ansible_private_key",
    "ansible_ssh_private_key",
    "ansible_private_key_passphrase",
    "ansible_ssh_private_key_passphrase",
    "ansible_ssh_pkcs11_provider",
];

/// Whether a variable is one that this module decides.
pub fn is_about_connecting(name: &str) -> bool {
    TARGET.contains(&name) || CREDENTIALS.contains(&name)
}

impl Connection {
    /// The extra-vars, as the JSON of the last `-e @file`.
    pub fn extra_vars(&self, folder: &Folder) -> String {
        let value = |name: &str| -> Value {
            match name {
                "ansible_host" | "ansible_ssh_host" => self.address.to_string().into(),
                "ansible_port" | "ansible_ssh_port" => self.port.into(),
                "ansible_user" | "ansible_ssh_user" => self.user.as_str().into(),
                "ansible_private_key_file" | "ansible_ssh_private_key_file" => self.key.as_str().into(),
                "ansible_host_key_checking" | "ansible_ssh_host_key_checking" => true.into(),
                "ansible_ssh_args" => self.ssh_args(folder).into(),
                "ansible_ssh_executable" => SSH.into(),
                "ansible_sftp_executable" => "sftp".into(),
                "ansible_scp_executable" => "scp".into(),
                "ansible_control_path_dir" => folder.control().as_str().into(),
                "ansible_ssh_timeout" => CONNECT_SECONDS.into(),
                "ansible_control_path" | "ansible_ssh_password_mechanism" | "ansible_sshpass_prompt" => Value::Null,
                _ => "".into(),
            }
        };
        let mut vars: Map<_, _> = TARGET.iter().map(|name| ((*name).to_owned(), value(name))).collect();
        vars.extend(CREDENTIALS.iter().map(|name| ((*name).to_owned(), Value::Null)));
        // Plain data with string keys: serialising it cannot fail.
        serde_json::to_string_pretty(&json!(vars)).unwrap_or_default() + "\n"
    }

    /// The arguments that come first on every ssh, sftp and scp command line; with ssh the first value counts.
    /// Sharing a connection stands here and not in the configuration file because Ansible looks for it here.
    pub fn ssh_args(&self, folder: &Folder) -> String {
        let config = quoted(&folder.ssh_config());
        let control = folder.control();
        let share = match control.as_str().len() <= LONGEST_CONTROL_FOLDER {
            // %C is made of the address, port and user: another host never gets the VM's connection.
            true => {
                format!("-o ControlMaster=auto -o ControlPersist=60s -o ControlPath={}", quoted(&control.join("%C")))
            }
            // One connection per task: slower, and never wrong.
            false => "-o ControlMaster=no -o ControlPath=none".into(),
        };
        format!("-F {config} -o StrictHostKeyChecking=yes {share}")
    }

    /// The ssh configuration: the VM's key pinned, nothing of the user's, and no other host at all.
    ///
    /// `LocalCommand` runs after a login has succeeded; its lines are the proof that a playbook reached the VM.
    pub fn ssh_config(&self, folder: &Folder) -> String {
        let Self { address, port, user, .. } = self;
        let (key, known_hosts) = (token(&self.key), token(&self.known_hosts));
        let logins = token(&folder.logins());
        format!(
            "# Written by boma-qemu; the only ssh configuration that its Ansible reads.\n\
             Host {address}\n\
             \x20   ProxyCommand none\n\
             Host *\n\
             \x20   HostKeyAlias {address}\n\
             \x20   ProxyCommand echo 'boma-qemu: %h is not the VM' >&2; exit 1\n\
             \x20   User {user}\n\
             \x20   Port {port}\n\
             \x20   IdentityFile \"{key}\"\n\
             \x20   IdentitiesOnly yes\n\
             \x20   IdentityAgent none\n\
             \x20   AddKeysToAgent no\n\
             \x20   ForwardAgent no\n\
             \x20   ForwardX11 no\n\
             \x20   UserKnownHostsFile \"{known_hosts}\"\n\
             \x20   GlobalKnownHostsFile /dev/null\n\
             \x20   StrictHostKeyChecking yes\n\
             \x20   UpdateHostKeys no\n\
             \x20   VerifyHostKeyDNS no\n\
             \x20   CanonicalizeHostname no\n\
             \x20   PreferredAuthentications publickey\n\
             \x20   BatchMode yes\n\
             \x20   ServerAliveInterval 15\n\
             \x20   ServerAliveCountMax 8\n\
             \x20   PermitLocalCommand yes\n\
             \x20   LocalCommand echo %h >> '{logins}'\n\
             \x20   LogLevel ERROR\n"
        )
    }
}

impl Connection {
    /// The ssh configuration for the user's programs: the VM by its host's name and by its address, and no other host.
    pub fn program_ssh_config(&self) -> String {
        let Self { host, address, port, user, .. } = self;
        let (key, known_hosts) = (token(&self.key), token(&self.known_hosts));
        format!(
            "# Written by boma-qemu for the programs of `verify`.\n\
             Host {host} {address}\n\
             \x20   HostName {address}\n\
             \x20   ProxyCommand none\n\
             Host *\n\
             \x20   ProxyCommand echo 'boma-qemu: %h is not the VM' >&2; exit 1\n\
             \x20   HostKeyAlias {address}\n\
             \x20   User {user}\n\
             \x20   Port {port}\n\
             \x20   IdentityFile \"{key}\"\n\
             \x20   IdentitiesOnly yes\n\
             \x20   IdentityAgent none\n\
             \x20   ForwardAgent no\n\
             \x20   UserKnownHostsFile \"{known_hosts}\"\n\
             \x20   GlobalKnownHostsFile /dev/null\n\
             \x20   StrictHostKeyChecking yes\n\
             \x20   UpdateHostKeys no\n\
             \x20   PreferredAuthentications publickey\n\
             \x20   BatchMode yes\n\
             \x20   ConnectTimeout {CONNECT_SECONDS}\n\
             \x20   LogLevel ERROR\n"
        )
    }

    /// An inventory for the user's programs: the VM, the way to it, and the groups that it is in.
    pub fn inventory(&self, groups: &[String]) -> String {
        let key = quoted(&self.known_hosts);
        let vars = json!({
            "ansible_host": self.address.to_string(),
            "ansible_port": self.port,
            "ansible_user": self.user,
            "ansible_ssh_private_key_file": self.key,
            "ansible_ssh_common_args": format!("-F none -o HostKeyAlias={} -o UserKnownHostsFile={key} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o IdentityAgent=none", self.address),
        });
        let own = json!({self.host.as_str(): null});
        let children: Map<_, _> = groups.iter().map(|group| (group.clone(), json!({"hosts": own}))).collect();
        let text = json!({"all": {"hosts": {self.host.as_str(): vars}, "children": children}});
        serde_json::to_string_pretty(&text).unwrap_or_default() + "\n"
    }
}

/// A path as one word of a shell-like command line.
fn quoted(path: &Utf8Path) -> String {
    host::shell::quoted(path.as_str())
}

/// A path in an ssh configuration, where `%` begins a token.
fn token(path: &Utf8Path) -> String {
    path.as_str().replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection {
            host: "askari".parse().unwrap(),
            address: Ipv4Addr::new(10, 9, 8, 7),
            port: 22,
            user: "ansible".into(),
            key: "/s/keys/id_ed25519".into(),
            known_hosts: "/s/keys/known_hosts".into(),
        }
    }

    #[test]
    fn extra_vars_decide_every_variable_of_the_ssh_plugin_and_not_the_plugin_itself() {
        let text = connection().extra_vars(&Folder::at("/s/ansible"));
        assert!(!text.contains("\"ansible_connection\""));
        insta::assert_snapshot!(text, @r#"
        {
          "ansible_host": "10.9.8.7",
          "ansible_ssh_host": "10.9.8.7",
          "ansible_port": 22,
          "ansible_ssh_port": 22,
          "ansible_user": "ansible",
          "ansible_ssh_user": "ansible",
          "ansible_private_key_file": "/s/keys/id_ed25519",
          "ansible_ssh_private_key_file": "/s/keys/id_ed25519",
          "ansible_host_key_checking": true,
          "ansible_ssh_host_key_checking": true,
          "ansible_ssh_args": "-F /s/ansible/ssh_config -o StrictHostKeyChecking=yes -o ControlMaster=auto -o ControlPersist=60s -o ControlPath=/s/ansible/cp/%C",
          "ansible_ssh_common_args": "",
          "ssh_common_args": "",
          "ansible_ssh_extra_args": "",
          "ansible_sftp_extra_args": "",
          "ansible_scp_extra_args": "",
          "ansible_ssh_executable": "ssh",
          "ansible_sftp_executable": "sftp",
          "ansible_scp_executable": "scp",
          "ansible_control_path": null,
          "ansible_control_path_dir": "/s/ansible/cp",
          "ansible_ssh_timeout": 60,
          "ansible_ssh_password_mechanism": null,
          "ansible_sshpass_prompt": null,
          "ansible_password": null,
          "ansible_ssh_pass": null,
          "ansible_ssh_password": null,
          "ansible_private_key": null,
          "ansible_ssh_private_key": null,
          "ansible_private_key_passphrase": null,
          "ansible_ssh_private_key_passphrase": null,
          "ansible_ssh_pkcs11_provider": null
        }
        "#);
    }

    #[test]
    fn the_ssh_configuration_knows_the_vm_and_refuses_every_other_host() {
        insta::assert_snapshot!(connection().ssh_config(&Folder::at("/s/ansible")), @r#"
        # Written by boma-qemu; the only ssh configuration that its Ansible reads.
        Host 10.9.8.7
            ProxyCommand none
        Host *
            HostKeyAlias 10.9.8.7
            ProxyCommand echo 'boma-qemu: %h is not the VM' >&2; exit 1
            User ansible
            Port 22
            IdentityFile "/s/keys/id_ed25519"
            IdentitiesOnly yes
            IdentityAgent none
            AddKeysToAgent no
            ForwardAgent no
            ForwardX11 no
            UserKnownHostsFile "/s/keys/known_hosts"
            GlobalKnownHostsFile /dev/null
            StrictHostKeyChecking yes
            UpdateHostKeys no
            VerifyHostKeyDNS no
            CanonicalizeHostname no
            PreferredAuthentications publickey
            BatchMode yes
            ServerAliveInterval 15
            ServerAliveCountMax 8
            PermitLocalCommand yes
            LocalCommand echo %h >> '/s/ansible/logins'
            LogLevel ERROR
        "#);
    }

    #[test]
    fn a_folder_too_long_for_a_socket_costs_the_shared_connection_and_nothing_else() {
        let deep = Folder::at(format!("/{}", "d".repeat(60)));
        let args = connection().ssh_args(&deep);
        assert!(args.contains("ControlPath=none") && args.contains("StrictHostKeyChecking=yes"), "{args}");
    }
}
