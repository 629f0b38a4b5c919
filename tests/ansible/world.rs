//! A VM's stand-in: an ssh server in a network namespace, where the real host's address would answer too.

use crate::at_hand::{ansible, block_on};
use boma_qemu::ansible::inventory::Inline;
use boma_qemu::ansible::preflight::{self, Preflight};
use boma_qemu::ansible::run::{Applied, Outcome, Runner};
use boma_qemu::ansible::{AnsibleError, Connection, Controller, Folder, guard};
use boma_qemu::profile::Apply;
use camino::{Utf8Path, Utf8PathBuf};
use evidence::playbook::checks::Check;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use vm::network::confine::Confinement;

/// The VM's address.
pub(crate) const VM: Ipv4Addr = Ipv4Addr::new(10, 99, 7, 2);
/// For a playbook that is to end by itself: a machine that is busy with a VM is slow.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);
/// The real host's, in every inventory here; a server listens there, and what it gets is counted.
pub(crate) const REAL: &str = "198.51.100.136";

/// Sets the namespace up and becomes the VM's ssh server. $1: folder with the keys, $2: VM, $3: real host.
const SETUP: &str = r#"
set -eu
ip link set lo up
ip address add "$2/32" dev lo
ip address add "$3/32" dev lo
nft add table inet count
nft add chain inet count out '{ type filter hook output priority 0; }'
nft add rule inet count out ip daddr "$3" counter
mount -t tmpfs -o mode=700 tmpfs /root
mkdir -m 700 /root/.ssh
install -m 600 "$1/id_ed25519.pub" /root/.ssh/authorized_keys
setpriv --pdeathsig KILL dropbear -F -E -s -r "$1/host" -p "$3:22" -P "$1/real.pid" 2>/dev/null &
exec dropbear -F -E -s -r "$1/host" -p "$2:2222" -P "$1/vm.pid"
"#;

/// The stand-in for one VM, and a folder for everything that a test writes.
pub(crate) struct World {
    dir: tempfile::TempDir,
    vm: Option<Child>,
    server: i32,
}

/// A profile's entry of a playbook.
pub(crate) fn entry(playbook: &str) -> Apply {
    Apply { playbook: playbook.into(), tags: Vec::new() }
}

impl World {
    /// A folder without a VM, for what comes before one boots.
    pub(crate) fn without_vm() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), vm: None, server: 0 }
    }

    /// A VM that answers.
    pub(crate) fn new() -> Self {
        let mut world = Self::without_vm();
        assert!(rustix::process::geteuid().is_root(), "these tests make network namespaces: run them as root");
        let keys = world.path("keys");
        std::fs::create_dir(&keys).unwrap();
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", keys.join("id_ed25519").as_str()]);
        let said = run("dropbearkey", &["-t", "ed25519", "-f", keys.join("host").as_str()]);
        let host_key = said.lines().find(|line| line.starts_with("ssh-ed25519 ")).unwrap();
        std::fs::write(keys.join("known_hosts"), format!("{VM} {host_key}\n")).unwrap();

        let mut unshare = Command::new("setpriv");
        unshare.args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ]);
        unshare.args(["sh", "-c", SETUP, "sh", keys.as_str(), &VM.to_string(), REAL]);
        let mut child = unshare.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("setpriv, of util-linux");
        let mut said = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // dropbear says "Not backgrounding" once it listens.
        loop {
            match lines.next() {
                Some(Ok(line)) if line.contains("Not backgrounding") => break,
                Some(Ok(line)) => said.push_str(&line),
                _ => panic!("the stand-in for the VM did not start (it needs dropbear, ip, nft, unshare): {said}"),
            }
        }
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        world.server = std::fs::read_to_string(children).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        world.vm = Some(child);
        world
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.dir.path().join(name)).unwrap()
    }

    /// Write a file of a playbook repository, `repo/<name>`.
    pub(crate) fn write(&self, name: &str, text: &str) -> Utf8PathBuf {
        let path = self.path("repo").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A repository with an inventory, where host_vars say the real address in all its spellings.
    pub(crate) fn repo(self) -> Self {
        self.write("ansible.cfg", "[defaults]\ninterpreter_python = /usr/bin/python3\ninventory = hosts.yml\n[connection]\npipelining = True\n");
        self.write(
            "hosts.yml",
            &format!("web:\n  hosts:\n    askari: {{ansible_host: {REAL}}}\n    ubongo: {{ansible_host: {REAL}}}\n"),
        );
        self.write("host_vars/askari.yml", &format!("ansible_host: {REAL}\nansible_ssh_host: {REAL}\nansible_port: 22\nansible_ssh_user: nobody\nansible_ssh_common_args: -o ProxyJump={REAL}\n"));
        self
    }

    /// The playbook side for the repository of this world.
    pub(crate) fn controller(&self) -> Controller {
        self.controller_of(&self.path("repo"), "hosts.yml", "web")
    }

    /// The playbook side for another repository.
    pub(crate) fn controller_of(&self, repo: &Utf8Path, inventory: &str, group: &str) -> Controller {
        Controller {
            host: "askari".parse().unwrap(),
            repo: repo.to_owned(),
            inventory: repo.join(inventory),
            groups: vec![group.into()],
            overlays: Vec::new(),
            user: Vec::new(),
            private: None,
            folder: Folder::at(self.path("state")),
            bin: ansible(),
            outer: boma_qemu::ansible::command::outer_environment(),
        }
    }

    pub(crate) fn connection(&self) -> Connection {
        let keys = self.path("keys");
        Connection {
            host: "askari".parse().unwrap(),
            address: VM,
            port: 2222,
            user: "root".into(),
            key: keys.join("id_ed25519"),
            known_hosts: keys.join("known_hosts"),
        }
    }

    /// What confines a command to the VM's network, with a pid namespace that ends with it.
    pub(crate) fn prefix(&self) -> Vec<String> {
        let target = self.server.to_string();
        let enter = ["nsenter", "--target", &target, "--net", "--"];
        let confine = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
        enter.iter().chain(&confine).map(|word| (*word).to_owned()).collect()
    }

    /// Packets that went to the real host's address.
    pub(crate) fn packets_to_the_real_host(&self) -> u64 {
        let mut argv = self.prefix();
        argv.extend(["nft", "list", "chain", "inet", "count", "out"].map(str::to_owned));
        let args: Vec<_> = argv[1..].iter().map(String::as_str).collect();
        let said = run(&argv[0], &args);
        said.split("packets ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
    }

    /// Look at all inputs, as `up` does.
    pub(crate) fn look(&self, controller: &Controller, playbooks: &[Utf8PathBuf]) -> Result<Preflight, AnsibleError> {
        self.look_with(controller, playbooks, &[])
    }

    /// The same, with sockets of this host in reach.
    pub(crate) fn look_with(
        &self,
        controller: &Controller,
        playbooks: &[Utf8PathBuf],
        sockets: &[Utf8PathBuf],
    ) -> Result<Preflight, AnsibleError> {
        let mut allowed = Confinement { writable: vec![controller.repo.clone()], ..Confinement::default() };
        allowed.keep_sockets.extend_from_slice(sockets);
        allowed.visible = controller.reads();
        let exe = Utf8Path::new(env!("CARGO_BIN_EXE_boma-qemu"));
        preflight::check(controller, playbooks, &self.path(""), exe, &allowed)
    }

    /// Write the folder, ask the guard, run the playbook.
    pub(crate) fn apply(&self, controller: &Controller, playbook: &str) -> Result<Outcome, AnsibleError> {
        let connection = self.connection();
        controller.write_folder(&connection, &Inline::default())?;
        guard::check(controller, &connection, &[controller.apply(&entry(playbook))], &self.prefix())?;
        self.run(controller, playbook, LIMIT)
    }

    /// The same without the guard, where it has nothing to say.
    pub(crate) fn play(&self, controller: &Controller, playbook: &str) -> Result<Outcome, AnsibleError> {
        controller.write_folder(&self.connection(), &Inline::default())?;
        self.run(controller, playbook, LIMIT)
    }

    /// Only run the playbook.
    pub(crate) fn run(
        &self,
        controller: &Controller,
        playbook: &str,
        limit: Duration,
    ) -> Result<Outcome, AnsibleError> {
        let apply = entry(playbook);
        let (prefix, log) = (self.prefix(), self.path("ansible.log"));
        let runner = Runner { controller, address: VM, prefix: &prefix, log: &log, limit };
        block_on(runner.apply(&apply, &mut |_| {})).and_then(Applied::passed)
    }

    /// Run a verify playbook.
    pub(crate) fn verify(
        &self,
        controller: &Controller,
        playbook: &Utf8Path,
    ) -> Result<(Outcome, Vec<Check>), AnsibleError> {
        controller.write_folder(&self.connection(), &Inline::default())?;
        let (prefix, log, limit) = (self.prefix(), self.path("ansible.log"), LIMIT);
        let runner = Runner { controller, address: VM, prefix: &prefix, log: &log, limit };
        block_on(runner.verify(playbook, &mut |_| {}))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("ansible.log")).unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(vm) = &mut self.vm {
            vm.kill().unwrap();
            vm.wait().unwrap();
        }
    }
}

pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let done = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
