//! The folder of a VM's playbook side: the transient inventory, the extra-vars that we make, the logs.

use camino::{Utf8Path, Utf8PathBuf};

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
        /// Our plugins for Ansible.
        plugins = "plugins";
        /// What our callback plugin saw, one JSON object per line; new with each playbook run.
        events = "events.ndjson";
        /// One line for each time that ssh has logged in to the VM; new with each playbook run.
        logins = "logins";
        /// Sockets of shared ssh connections.
        control = "cp";
        /// Ansible's own temporary files on this side.
        tmp = "tmp";
        /// The playbook that asks Ansible what it resolved.
        guard = "guard.yml";
        /// Where the verify playbook hands over what it found.
        checks = "checks.json";
        /// The extra-vars that tell it so.
        checks_vars = "checks-vars.json";
    }
}
