//! What runs code of the repository before anything boots: an inventory script, the vault's password program, a plugin, a
//! lookup in a group's variables. Each tries what it could reach on this host; the same attempt beside it gets through.

use crate::executable;
use crate::world::World;
use boma_qemu::ansible::preflight::Preflight;
use boma_qemu::ansible::{AnsibleError, Controller};
use camino::Utf8PathBuf;
use host::failure::Failure;
use std::os::unix::net::UnixListener;
use std::process::Command;

/// Tries each thing of this host that is named to it, and keeps what it got to: a line for each, in the repository.
const TRY: &str = r#"#!/usr/bin/python3
import os, socket, sys
W = '$W'
def connect(path):
    s = socket.socket(socket.AF_UNIX); s.settimeout(2); s.connect(path)
def tcp(): socket.create_connection(('127.0.0.1', int(open(W + '/repo/port').read())), 2)
# What is not there is not made.
def write(path): open(path, 'r+').write('changed')
for name, attempt in {
    'socket': lambda: connect(W + '/agent'),
    'socket in the repository': lambda: connect(W + '/repo/agent'),
    'fifo': lambda: os.open(W + '/fifo', os.O_WRONLY | os.O_NONBLOCK),
    'network': tcp,
    'vsock': lambda: socket.socket(40, socket.SOCK_STREAM),
    'terminal': lambda: os.open('/dev/tty', os.O_RDWR),
    'process': lambda: os.kill(int(open(W + '/repo/pid').read()), 0),
    'file': lambda: write(W + '/mine'),
}.items():
    try:
        attempt()
        said = 'REACHED'
    except OSError as error:
        said = str(error)
    open(W + '/repo/tried', 'a').write('%s: %s\n' % (name, said))
"#;

/// How it is run by Ansible: what it says after the attempts, and the file with that.
struct Way {
    what: &'static str,
    write: fn(&World),
}

const INVENTORY: &str =
    r#"print('{"_meta": {"hostvars": {"askari": {"ansible_host": "198.51.100.136"}}}, "web": {"hosts": ["askari"]}}')"#;

const WAYS: [Way; 4] = [
    Way { what: "an inventory script", write: |world| script(world, "hosts", &format!("{TRY}{INVENTORY}\n")) },
    Way {
        what: "the vault's password program",
        write: |world| {
            world.write("ansible.cfg", "[defaults]\nvault_password_file = password\ninventory = hosts\n");
            script(world, "password", &format!("{TRY}print('p')\n"));
        },
    },
    Way {
        what: "an inventory plugin",
        write: |world| {
            world.write(
                "ansible.cfg",
                "[defaults]\ninventory_plugins = plugins\ninventory = hosts\n[inventory]\nenable_plugins = mine\n",
            );
            let class = "from ansible.plugins.inventory import BaseInventoryPlugin\nclass InventoryModule(BaseInventoryPlugin):\n    NAME = 'mine'\n    \
                         def verify_file(self, path): return True\n    def parse(self, inventory, loader, path, cache=True):\n        \
                         inventory.add_group('web'); inventory.add_host('askari', 'web')\n        \
                         inventory.set_variable('askari', 'ansible_host', '198.51.100.136')\n";
            script(world, "plugins/mine.py", &format!("{TRY}{class}"));
        },
    },
    Way {
        what: "a lookup in the address",
        write: |world| {
            script(world, "try", TRY);
            let try_ = world.path("repo/try");
            world.write("hosts", &format!("web:\n  hosts:\n    askari: {{ansible_host: '{{{{ lookup(\"pipe\", \"{try_}; echo 198.51.100.136\") }}}}'}}\n"));
        },
    },
];

/// `$W` is the world's folder.
fn script(world: &World, name: &str, text: &str) {
    let path = world.path("repo").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    executable::write(path, &text.replace("$W", world.path("").as_str().trim_end_matches('/')));
}

/// A host with something to reach, and a repository beside it.
struct Host {
    world: World,
    agents: [UnixListener; 2],
    _fifo: std::fs::File,
    _tcp: std::net::TcpListener,
}

impl Host {
    fn new() -> Self {
        let world = World::without_vm();
        world.write("ansible.cfg", "[defaults]\ninventory = hosts\n");
        world.write("hosts", "web:\n  hosts:\n    askari: {ansible_host: 198.51.100.136}\n");
        let agents = ["agent", "repo/agent"].map(|name| UnixListener::bind(world.path(name)).unwrap());
        let fifo = world.path("fifo");
        nix::unistd::mkfifo(fifo.as_std_path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let fifo = std::fs::File::options().read(true).write(true).open(fifo).unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        world.write("port", &tcp.local_addr().unwrap().port().to_string());
        world.write("pid", &std::process::id().to_string());
        std::fs::write(world.path("mine"), "mine").unwrap();
        Self { world, agents, _fifo: fifo, _tcp: tcp }
    }

    fn controller(&self) -> Controller {
        self.world.controller_of(&self.world.path("repo"), "hosts", "web")
    }

    fn look(&self, sockets: &[Utf8PathBuf]) -> Result<Preflight, AnsibleError> {
        self.world.look_with(&self.controller(), &[], sockets)
    }

    /// What was reached since the last look, by name.
    fn reached(&self) -> Vec<String> {
        let path = self.world.path("repo/tried");
        let told = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(told.lines().count() >= 8, "it was not run: {told}");
        std::fs::remove_file(path).unwrap();
        let mut reached: Vec<_> =
            told.lines().filter_map(|line| line.strip_suffix(": REACHED")).map(str::to_owned).collect();
        reached.sort();
        reached.dedup();
        reached
    }

    fn mine(&self) -> String {
        std::fs::read_to_string(self.world.path("mine")).unwrap()
    }
}

#[test]
fn what_runs_the_repositorys_code_before_a_boot_reaches_nothing_of_this_host() {
    for Way { what, write } in WAYS {
        let host = Host::new();
        write(&host.world);
        let real = host.look(&[]).unwrap_or_else(|error| panic!("{what}: {error}")).real;
        assert_eq!(real.hosts["askari"], ["198.51.100.136"], "{what}");
        assert_eq!(host.reached(), Vec::<String>::new(), "{what}");
        assert_eq!(host.mine(), "mine", "{what}");
        // The same code as the user would run it, in a terminal.
        script(&host.world, "try", TRY);
        let spawn = "import pty, sys; pty.spawn(sys.argv[1:])";
        let done = Command::new("/usr/bin/python3")
            .args(["-c", spawn, host.world.path("repo/try").as_str()])
            .output()
            .unwrap();
        assert!(done.status.success());
        let mut all = host.reached();
        // The kernel may have no vsock.
        all.retain(|name| name != "vsock");
        assert_eq!(
            all,
            ["fifo", "file", "network", "process", "socket", "socket in the repository", "terminal"],
            "{what}"
        );
        assert_eq!(host.mine(), "changed");
    }
}

#[test]
fn a_vault_agent_is_reached_where_the_profile_allows_its_socket_and_the_error_says_so_where_it_does_not() {
    let host = Host::new();
    let agent = "#!/usr/bin/python3\nimport socket\ns = socket.socket(socket.AF_UNIX)\n\
                 s.connect('$W/agent')\nprint(s.recv(9).decode())\n";
    host.world.write("ansible.cfg", "[defaults]\nvault_password_file = password\ninventory = hosts\n");
    script(&host.world, "password", agent);
    let listener = host.agents[0].try_clone().unwrap();
    std::thread::spawn(move || {
        for mut asked in listener.incoming().map_while(Result::ok) {
            let _ = std::io::Write::write_all(&mut asked, b"p\n");
        }
    });
    host.look(&[host.world.path("agent")]).unwrap();
    let failure = Failure::from(host.look(&[]).unwrap_err());
    assert_eq!(failure.exit.code(), 2, "{failure}");
    let next = failure.next.clone().unwrap_or_default();
    assert!(next.contains("reaches no socket of this host") && next.contains("`allow`"), "{failure}");
}

#[test]
fn an_inventory_that_has_to_ask_the_network_is_told_with_the_way_out() {
    let host = Host::new();
    script(&host.world, "hosts", "#!/bin/sh\necho cannot connect to the cloud >&2; exit 1\n");
    let failure = Failure::from(host.look(&[]).unwrap_err());
    assert_eq!(failure.exit.code(), 2, "{failure}");
    let next = failure.next.clone().unwrap_or_default();
    assert!(next.contains("has no network here") && next.contains("ansible-inventory --list"), "{failure}");
}

#[test]
fn an_inventory_beside_other_things_outside_of_the_repository_is_read() {
    let host = Host::new();
    let inventory = host.world.path("elsewhere/hosts.yml");
    std::fs::create_dir_all(inventory.parent().unwrap().join("host_vars")).unwrap();
    std::fs::write(&inventory, "web:\n  hosts:\n    askari:\n").unwrap();
    std::fs::write(inventory.with_file_name("host_vars").join("askari.yml"), "ansible_host: 203.0.113.9\n").unwrap();
    let controller = Controller { inventory, ..host.controller() };
    assert_eq!(host.world.look(&controller, &[]).unwrap().real.hosts["askari"], ["203.0.113.9", "198.51.100.136"]);
}
