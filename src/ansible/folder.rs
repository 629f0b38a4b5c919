//! The folder of a VM's playbook side: the transient inventory, the extra-vars that we make, the logs.

use super::command::Controller;
use super::connection::Connection;
use super::error::AnsibleError;
use super::inventory::{self, Inline, vars_base};
use super::user_vars::UserVars;
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{make_private, write_private};
use serde_json::json;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

/// The folder of one VM's playbook side, `<vm folder>/ansible`; only its owner can enter it.
#[derive(Clone, Debug)]
pub struct Folder {
    path: Utf8PathBuf,
}

macro_rules! places {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub fn $name(&self) -> Utf8PathBuf { self.path.join($file) })*
    };
}

impl Folder {
    /// The folder at a path.
    pub fn at(path: impl Into<Utf8PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The file that the `n`-th `-e KEY=VALUE` of the user goes into: a value may be a secret, and an
    /// argv can be read by everybody.
    pub fn user_vars(&self, n: usize) -> Utf8PathBuf {
        self.path.join(format!("user-{n}.json"))
    }

    places! {
        /// The transient inventory.
        inventory = "inventory/hosts.json";
        /// A link to the real inventory's `group_vars`, where Ansible looks for it: beside the inventory.
        group_vars = "inventory/group_vars";
        /// A link to the real inventory's `host_vars`.
        host_vars = "inventory/host_vars";
        /// The extra-vars that say where the VM is, given last.
        connection = "connection.json";
        /// The only ssh configuration that Ansible's ssh reads.
        ssh_config = "ssh_config";
        /// Our callback plugin for Ansible lies in here.
        callbacks = "plugins/callback";
        /// Our action plugins for Ansible, which no playbook of the user's can use, lie in here.
        actions = "plugins/action";
        /// What our callback plugin saw, one JSON object per line; new with each playbook run.
        events = "events.ndjson";
        /// One line for each time that ssh has logged in to the VM; new with each playbook run.
        logins = "logins";
        /// Sockets of shared ssh connections.
        control = "cp";
        /// Ansible's own temporary files on this side.
        tmp = "tmp";
        /// What may not leave the program, for the commands that come later.
        secrets = "secrets.json";
        /// What is started in place of ssh for every other host of the inventory.
        refuses = "refuses.sh";
        /// The playbook that asks Ansible what it resolved.
        guard = "guard.yml";
        /// Where the verify playbook hands over what it found.
        checks = "checks.json";
        /// An ssh configuration for the user's programs: it has the VM by its host's name and by its address.
        program_ssh_config = "program-ssh-config";
        /// An inventory for the user's programs: it has the VM, with the way to it, and its groups.
        program_inventory = "program-inventory.json";
        /// Where a program of the user's may write its results.
        program_report = "program-report";
        /// The extra-vars that tell it so.
        checks_vars = "checks-vars.json";
    }
}

/// The plugins and playbooks that we bring along: folder, name, text.
const SHIPPED: [(&str, &str); 12] = [
    ("plugins/callback/boma_events.py", include_str!("plugins/boma_events.py")),
    ("plugins/callback/boma_others.py", include_str!("plugins/boma_others.py")),
    ("refuses.sh", include_str!("plugins/refuses.sh")),
    ("plugins/action/boma_resolved.py", include_str!("plugins/boma_resolved.py")),
    ("plugins/action/boma_hosts.py", include_str!("plugins/boma_hosts.py")),
    ("plugins/action/boma_ways.py", include_str!("plugins/boma_ways.py")),
    ("plugins/action/boma_written.py", include_str!("plugins/boma_written.py")),
    ("plugins/action/boma_draft.py", include_str!("plugins/boma_draft.py")),
    ("draft.yml", include_str!("plugins/draft.yml")),
    ("guard.yml", include_str!("plugins/guard.yml")),
    ("addresses.yml", include_str!("plugins/addresses.yml")),
    ("way.yml", include_str!("plugins/way.yml")),
];

impl Folder {
    /// Make the folder with what we bring along.
    pub fn create(&self) -> Result<(), AnsibleError> {
        for dir in [self.path.clone(), self.callbacks(), self.actions(), self.control(), self.tmp()] {
            make_private(&dir)?;
        }
        for (name, text) in SHIPPED {
            write_private(&self.path.join(name), text)?;
        }
        let io = |source| AnsibleError::Io { path: self.refuses(), source };
        std::fs::set_permissions(self.refuses(), Permissions::from_mode(0o700)).map_err(io)
    }
}

impl Controller {
    /// Write everything that the command lines name. Again and again is fine: each call writes it anew.
    pub fn write_folder(&self, connection: &Connection, inline: &Inline) -> Result<(), AnsibleError> {
        let folder = &self.folder;
        folder.create()?;
        make_private(folder.inventory().parent().unwrap_or(folder.path()))?;
        let write = |path: Utf8PathBuf, text: String| write_private(&path, text);
        write(folder.inventory(), inventory::text(&self.host, &self.groups, &self.inventory, inline))?;
        let base = vars_base(&self.inventory);
        link(&base.join("group_vars"), &folder.group_vars())?;
        link(&base.join("host_vars"), &folder.host_vars())?;
        self.write_connection(connection)?;
        write(folder.checks_vars(), format!("{}\n", json!({ "boma_checks_file": folder.checks() })))?;
        self.write_user_vars()
    }

    /// Write where the VM is, which a playbook may have changed.
    pub fn write_connection(&self, connection: &Connection) -> Result<(), AnsibleError> {
        write_private(&self.folder.connection(), connection.extra_vars(&self.folder))?;
        Ok(write_private(&self.folder.ssh_config(), connection.ssh_config(&self.folder))?)
    }

    /// Write what a program of the user's finds the VM by, and remove what an earlier one has reported.
    pub fn write_for_programs(&self, connection: &Connection) -> Result<(), AnsibleError> {
        let folder = &self.folder;
        super::run::remove(&folder.program_report())?;
        write_private(&folder.program_inventory(), connection.inventory(&self.groups))?;
        Ok(write_private(&folder.program_ssh_config(), connection.program_ssh_config())?)
    }

    /// Write what the user gave with `-e` into files: a value may be a secret.
    pub fn write_user_vars(&self) -> Result<(), AnsibleError> {
        for (n, vars) in self.user.iter().enumerate() {
            match vars {
                UserVars::Pair { key, value } => {
                    write_private(&self.folder.user_vars(n), format!("{}\n", json!({ key: value })))?;
                }
                UserVars::Json(text) => write_private(&self.folder.user_vars(n), text)?,
                UserVars::File(_) => {}
            }
        }
        Ok(())
    }
}

/// A link to a folder of the real inventory, if it has it.
fn link(real: &Utf8Path, link: &Utf8Path) -> Result<(), AnsibleError> {
    let io = |source| AnsibleError::Io { path: link.to_owned(), source };
    match std::fs::remove_file(link) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
        _ => {}
    }
    match real.is_dir() {
        true => std::os::unix::fs::symlink(real, link).map_err(io),
        false => Ok(()),
    }
}
