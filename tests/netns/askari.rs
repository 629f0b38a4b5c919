//! The real host and everything that leads to it, beside a VM that bears its name: an ssh server at
//! 198.51.100.136 that lets the user in, live ssh masters of the user's to it, an agent's and a Docker
//! daemon's socket behind which somebody with the host's network sits. What leaves the host for that
//! address is counted.

use crate::at_hand::{ansible, fixtures};
use crate::driver::{Job, Play};
use crate::guest::Guest;
use crate::world::{Held, Who, World, holding_behind, tried};
use boma_qemu::ansible::UserVars;
use camino::Utf8PathBuf;
use std::process::Output;
use vm::network::{Mode, NetPlan};

/// The real host.
pub(crate) const REAL: &str = "198.51.100.136";

/// An ssh server that lets root in with a key of $KEYS, at $AT. Its pid namespace takes its sessions along.
const SERVER: &str = r#"
set -e; mount -t tmpfs -o mode=700 tmpfs /root; mkdir -m 700 /root/.ssh
install -m 600 "$KEYS/id_ed25519.pub" /root/.ssh/authorized_keys
echo; exec dropbear -F -E -s -r "$KEYS/host" -p "$AT:22" -P "$KEYS/$AT.pid" 2>/dev/null
"#;

/// What the user's own ssh and Ansible do: share connections, and keep them. Nothing is sent when nothing is done.
const SHARE: &str = "-o ControlMaster=auto -o ControlPersist=yes -o TCPKeepAlive=no";

pub(crate) struct Site {
    // In the order in which they are dropped: with the servers end the masters.
    servers: Vec<Held>,
    _lures: Held,
    _guest: Guest,
    pub(crate) world: World,
    plan: NetPlan,
    /// The control socket of the user's own Ansible.
    master: String,
    /// A control socket that leads to the real host, by the name that Ansible would give to the VM's.
    lie: String,
}

impl Site {
    pub(crate) fn new(who: Who, mode: Mode) -> Self {
        let world = World::new(who);
        let plan = world.plan(mode);
        world.ensure(&plan).unwrap();
        lay_out(&world, &plan);
        let guest = Guest::plug(&world, &plan);
        guest.dhcp(&world, &plan);
        let vm = plan.vm.ip.to_string();
        let servers = [(world.outside_pid(), REAL), (guest.pid(), &vm)].map(|(pid, at)| server(&world, pid, at));
        let outside = ["nsenter", "-t", &world.outside_pid().to_string(), "-n"].map(str::to_owned);
        world.until("the real host answers", || tried(&outside, &format!("nc -z {REAL} 22")).status.success());
        world.until("the VM answers", || guest.connects(&vm, 22));
        let home = world.path("home");
        let names = vec![format!("{home}/.docker/run.sock"), world.path("agent/sock").into(), "@boma-lure".into()];
        let target = format!("{REAL}:22").parse().unwrap();
        let lures = world.held(&world.onto_host(), &Job::Lure { names, target });
        let mut site = Self {
            servers: servers.into(),
            _lures: lures,
            _guest: guest,
            world,
            plan,
            master: String::new(),
            lie: String::new(),
        };
        site.masters();
        site
    }

    /// Make the masters, as they come to be: by the user's own Ansible, and by the user's own ssh.
    fn masters(&mut self) {
        let out = self.unconfined_play("delegates_to_the_real_host.yml");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        let cp = self.world.path("home/.ansible/cp");
        self.master = self.world.run_as_who(&format!("find {cp} -type s | head -n 1"));
        assert!(!self.master.is_empty(), "Ansible shares its connections: {}", String::from_utf8_lossy(&out.stdout));
        let name = format!("printf %s {}-22-root | sha1sum | cut -c 1-10", self.plan.vm.ip);
        self.lie = format!("{cp}/{}", self.world.run_as_who(&name));
        let share = format!("ssh -f -N -M -S {} {SHARE} {REAL} >/dev/null 2>&1; ssh {REAL} echo in", self.lie);
        assert_eq!(self.world.run_as_who(&share), "in");
        assert!(self.world.path("home/.ssh/cm-root@198.51.100.136:22").exists());
    }

    /// The user's own Ansible runs one of the playbooks with the real inventory.
    pub(crate) fn unconfined_play(&self, playbook: &str) -> Output {
        let script = format!(
            "cd {} && exec env ANSIBLE_SSH_ARGS='{SHARE}' {}/ansible-playbook -e ansible_user=root --limit askari:real -e real_master={} adversarial/{playbook}",
            self.world.path("repo"),
            self.world.path("bin"),
            self.master
        );
        self.world.command(&["bash".into(), "-c".into(), script])
    }

    /// Run one of the playbooks as a cycle does, after the guard has seen some.
    pub(crate) fn play(&self, playbook: &str, guarded: &[&str], user: Vec<UserVars>) -> Result<usize, String> {
        let adversarial = |name: &&str| Utf8PathBuf::from(format!("adversarial/{name}"));
        let guarded = guarded.iter().map(adversarial).collect();
        self.run(Play { user, guarded, ..self.described(self.world.path("bin"), adversarial(&playbook)) })
    }

    /// The same of any playbook, by the Ansible in a folder.
    pub(crate) fn play_by(&self, bin: Utf8PathBuf, playbook: Utf8PathBuf) -> Result<usize, String> {
        self.run(Play { guarded: vec![playbook.clone()], ..self.described(bin, playbook) })
    }

    fn described(&self, bin: Utf8PathBuf, playbook: Utf8PathBuf) -> Play {
        let path = |name: &str| self.world.path(name);
        Play {
            state: path("state"),
            name: self.plan.name.clone(),
            vm: self.plan.vm.ip,
            keys: path("home/.ssh"),
            repo: path("repo"),
            bin: Some(bin),
            visible: vec![path("bin"), path("venv")],
            playbook,
            user: Vec::new(),
            guarded: Vec::new(),
            log: path("state/ansible.log"),
        }
    }

    fn run(&self, play: Play) -> Result<usize, String> {
        let env = ["env".to_owned()].into_iter().chain(self.environment());
        self.world.ask(&self.world.onto_host().into_iter().chain(env).collect::<Vec<_>>(), &Job::Play(Box::new(play)))
    }

    /// The prefix to where the VM's ssh server has its files.
    pub(crate) fn on_the_vm(&self) -> Vec<String> {
        let unshare = self.servers[1].pid();
        let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap();
        let server = children.split_whitespace().next().unwrap().to_owned();
        ["nsenter".into(), "-t".into(), server, "-m".into()].into()
    }

    /// The caller's environment has more in it than Ansible may see.
    pub(crate) fn environment(&self) -> [String; 2] {
        let (agent, docker) = (self.world.path("agent/sock"), self.world.path("home/.docker/run.sock"));
        [format!("SSH_AUTH_SOCK={agent}"), format!("DOCKER_HOST=unix://{docker}")]
    }

    pub(crate) fn real_master(&self) -> &str {
        &self.master
    }

    pub(crate) fn lying_master(&self) -> &str {
        &self.lie
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.world.path("state/ansible.log")).unwrap_or_default()
    }

    pub(crate) fn plan(&self) -> &NetPlan {
        &self.plan
    }

    /// Packets that have left the host for the real host, once there come no more.
    pub(crate) fn packets(&self) -> u64 {
        let count = || {
            let text = self.world.root("nft list chain inet count out");
            text.split("packets ").nth(1).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let (mut before, mut now) = (u64::MAX, count());
        while now != before {
            // The end of a connection takes more than one packet.
            std::thread::sleep(std::time::Duration::from_millis(100));
            (before, now) = (now, count());
        }
        now
    }
}

/// The counter, an account for the user, keys, a repository, Ansible in a place that every user can reach.
fn lay_out(world: &World, plan: &NetPlan) {
    let dir = world.path("");
    let bin = ansible().expect("Ansible in a venv: make venv, or name its bin folder in $BOMA_TEST_ANSIBLE");
    let venv = bin.parent().unwrap();
    world.root(&format!(
        "set -e; cd {dir}; nft add table inet count
         nft add chain inet count out '{{ type filter hook postrouting priority 300; }}'
         nft add rule inet count out ip daddr {REAL} counter
         printf '%s\\n' root:x:0:0::$PWD/home:/bin/sh tester:x:40042:40042::$PWD/home:/bin/sh > passwd; mount --bind passwd /etc/passwd
         mkdir venv bin repo agent; chmod 777 agent; mount --bind {venv} venv
         printf '#!/bin/sh\\nexec %s -m ansible playbook \"$@\"\\n' $PWD/venv/bin/python > bin/ansible-playbook; chmod 755 bin/ansible-playbook
         tar -C {fixtures}/boma --exclude .venv -c . | tar -C repo -x; cp -r {fixtures}/adversarial repo/",
        fixtures = fixtures()
    ));
    world.run_as_who(
        "mkdir -p -m 700 $HOME/.ssh $HOME/.docker $HOME/.ansible; ssh-keygen -q -t ed25519 -N '' -f $HOME/.ssh/id_ed25519",
    );
    let user = world.as_who().join(" ");
    world.root(&format!(
        "cd {dir}/home/.ssh; dropbearkey -t ed25519 -f host | sed -n 's/^ssh-ed25519 .*/{REAL},{vm} &/p' > known_hosts
         {user} sh -c 'printf \"Host {REAL}\\n User root\\n ControlMaster auto\\n ControlPath ~/.ssh/cm-%%r@%%h:%%p\\n ControlPersist yes\\n TCPKeepAlive no\\n\" > config'",
        vm = plan.vm.ip
    ));
}

fn server(world: &World, pid: u32, at: &str) -> Held {
    let keys = world.path("home/.ssh");
    let prefix =
        format!("nsenter -t {pid} -n unshare --mount --pid --fork --kill-child --mount-proc env KEYS={keys} AT={at}");
    holding_behind(&prefix.split(' ').map(str::to_owned).collect::<Vec<_>>(), SERVER)
}
