//! What a confined command could talk to that is no network: each attempt gets through without the confinement, and
//! none within it.

use crate::controller::Site;
use crate::world::{Held, Who, enter, holding_behind};
use rstest::rstest;
use std::process::{Command, Output};
use vm::network::Mode;

/// Who gets through with an attempt that is not confined.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Everybody,
    Root,
}
use Without::{Everybody, Root};

const ATTEMPTS: [(&str, Without, &str); 22] = [
    ("a socket that was bound in another mount namespace", Everybody, "stream /srv/other/db.sock"),
    ("a socket that was moved after the bind", Everybody, "stream /srv/moved/x.sock"),
    ("a socket that was bound through a descriptor", Everybody, "stream /srv/fd/l.sock"),
    ("another name of a socket", Everybody, "stream /srv/linked"),
    ("a socket through another mount", Everybody, "stream $W/alias/plain"),
    ("a datagram socket", Everybody, "datagram /srv/datagrams"),
    ("a FIFO", Everybody, "fifo /srv/fifo"),
    ("a socket in the repository", Everybody, "stream $W/repo/deep/er/socket"),
    ("a FIFO in the repository", Everybody, "fifo $W/repo/deep/fifo"),
    ("a socket in the home", Everybody, "stream $W/home/socket"),
    ("a FIFO in the home", Everybody, "fifo $W/home/fifo"),
    ("a socket in the VM's folder", Everybody, "stream $W/state/vms/askari/control"),
    ("a socket in the folder of the command's own", Everybody, "stream $W/state/vms/askari/ansible/socket"),
    ("a device", Everybody, "device /dev/net/tun"),
    ("the hypervisor's sockets", Everybody, "family 40 1"),
    ("packets of its own", Root, "family 17 3"),
    ("io_uring", Everybody, "ring"),
    ("the user's keyring", Everybody, "key"),
    ("System V shared memory", Everybody, "memory"),
    ("a message queue", Everybody, "queue"),
    ("a file system of another host", Everybody, "device /mnt/far/production"),
    ("the terminal", Everybody, "device /dev/tty"),
];

/// What makes an attempt, and says REACHED if it got through.
const TRY: &str = r#"
import ctypes, fcntl, os, platform, socket, sys, termios
libc = ctypes.CDLL(None, use_errno=True)
def done(result):
    if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def stream(path):
    s = socket.socket(socket.AF_UNIX); s.settimeout(2); s.connect(path)
def datagram(path): socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', path)
def fifo(path): os.write(os.open(path, os.O_WRONLY | os.O_NONBLOCK), b'x')
def device(path): os.open(path, os.O_RDWR if path.startswith('/dev') else os.O_PATH)
def family(number, kind): socket.socket(int(number), int(kind))
def ring(): done(libc.syscall(425, 1, ctypes.create_string_buffer(120)))
def key(): done(libc.syscall({'x86_64': 248, 'aarch64': 217}[platform.machine()], b'user', b'boma', b'x', 1, -3))
def memory(): done(libc.shmget(0x626f6d61, 0, 0))
def queue(): done(libc.mq_open(b'/boma', os.O_WRONLY))
def types(): fcntl.ioctl(0, termios.TIOCSTI, b'\0')
try:
    globals()[sys.argv[1]](*sys.argv[2:])
    print('REACHED')
except OSError as error: print(error)
"#;

/// What there is to reach: `$W` is the first argument. Says an empty line when all is there.
const SERVE: &str = r#"
import ctypes, os, socket, struct, subprocess, sys, threading
W = sys.argv[1]; libc = ctypes.CDLL(None); os.umask(0); kept = []
def listen(path, then=None):
    s = socket.socket(socket.AF_UNIX); s.bind(path); s.listen(9); kept.append(s)
    if then: os.rename(path, then)
def fifo(path): os.mkfifo(path); kept.append(os.open(path, os.O_RDWR))
for path in ['/srv/other', '/srv/moved', '/srv/fd', '/srv/in', '/mnt/far', W + '/alias', W + '/repo/deep/er']: os.makedirs(path, exist_ok=True)
listen('/srv/plain'); listen('/srv/x.sock', '/srv/moved/x.sock'); os.link('/srv/plain', '/srv/linked')
fd = os.open('/srv/fd', os.O_PATH); listen(f'/proc/self/fd/{fd}/l.sock')
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('/srv/datagrams'); kept.append(s)
for path in ['/repo/deep/er/socket', '/home/socket', '/state/vms/askari/control', '/state/vms/askari/ansible/socket']: listen(W + path)
for path in ['/srv/fifo', W + '/repo/deep/fifo', W + '/home/fifo']: fifo(path)
subprocess.run(['mount', '--bind', '/srv', W + '/alias'], check=True)
# As a container does: the kernel knows the name that the socket has inside.
inner = "import socket,time; s=socket.socket(socket.AF_UNIX); s.bind('/srv/in/db.sock'); s.listen(9); print(flush=True); time.sleep(1000)"
shell = 'mount --bind /srv/other /srv/in && exec "$0" -c "$1"'
p = subprocess.Popen(['unshare', '--mount', '--propagation', 'private', 'sh', '-c', shell, sys.executable, inner], stdout=subprocess.PIPE,
    preexec_fn=lambda: libc.prctl(1, 9))
p.stdout.readline()
libc.shmget(0x626f6d61, 4096, 0o1666); libc.mq_open(b'/boma', os.O_CREAT | os.O_RDWR, 0o666, None)
# A file system that is as far as one of sshfs, with one file.
fuse = os.open('/dev/fuse', os.O_RDWR)
assert libc.mount(b'u@production:', b'/mnt/far', b'fuse.sshfs', 0, f'fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other'.encode()) == 0
def answer():
    attr = lambda node: struct.pack('<6Q10I', node, 0, 0, 0, 0, 0, 0, 0, 0, 0o40777 if node == 1 else 0o100666, 1, 0, 0, 0, 4096, 0)
    while True:
        said = os.read(fuse, 1 << 20)
        _, call, unique, node = struct.unpack('<IIQQ', said[:24])
        body = {26: struct.pack('<4I2H2I2H8I', 7, 31, 4096, 0, 1, 1, 4096, 1, 1, 0, *[0] * 8),
            1: struct.pack('<4Q2I', 2, 0, 0, 0, 0, 0) + attr(2), 3: struct.pack('<Q2I', 0, 0, 0) + attr(node)}.get(call)
        if call not in (2, 42): os.write(fuse, struct.pack('<IiQ', 16 + len(body or b''), 0 if body else -38, unique) + (body or b''))
threading.Thread(target=answer, daemon=True).start()
print(flush=True); threading.Event().wait()
"#;

struct Reach {
    // In the order in which they are dropped.
    server: Held,
    site: Site,
}

impl Reach {
    fn new(who: Who, mode: Option<Mode>) -> Self {
        let site = Site::of(who, mode, &[]);
        let world = &site.world;
        for (name, text) in [("try.py", TRY), ("serve.py", SERVE)] {
            std::fs::write(world.path(name), text).unwrap();
        }
        world.root("mount -t tmpfs -o mode=755 tmpfs /srv; mount -t tmpfs -o mode=755 tmpfs /mnt");
        let script = format!("exec unshare --ipc /usr/bin/python3 {} {}", world.path("serve.py"), world.path(""));
        Self { server: holding_behind(&enter(world.host_pid()), &script), site }
    }

    /// Run an attempt behind a prefix, in a terminal, as the one who runs boma-qemu.
    fn attempt(&self, prefix: &[String], attempt: &str) -> String {
        let world = &self.site.world;
        let attempt = attempt.replace("$W", world.path("").as_str().trim_end_matches('/'));
        let words = attempt.split(' ').map(str::to_owned);
        let python = "/usr/bin/python3".to_owned();
        let command = [prefix, &[python.clone(), world.path("try.py").into()], &words.collect::<Vec<_>>()].concat();
        let terminal = [python, "-c".into(), "import pty,sys; pty.spawn(sys.argv[1:])".into()];
        let out = self.run(&[&terminal, &command[..]].concat());
        String::from_utf8_lossy(&out.stdout).trim().to_owned() + String::from_utf8_lossy(&out.stderr).trim()
    }

    fn run(&self, argv: &[String]) -> Output {
        let world = &self.site.world;
        let ipc = ["nsenter", "-t", &self.server.pid().to_string(), "-i"].map(str::to_owned);
        let there = ["sh", "-c", "cd \"$0\" && exec \"$@\"", world.path("").as_str()].map(str::to_owned);
        let argv = [&enter(world.host_pid())[..], &ipc, &there, &world.as_who(), argv].concat();
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).env("HOME", world.path("home")).stdin(std::process::Stdio::null());
        command.output().unwrap()
    }
}

#[rstest]
#[case::namespace_as_root(Who::Root, Some(Mode::Namespace))]
#[case::namespace_as_a_user(Who::User, Some(Mode::Namespace))]
#[case::host(Who::Root, Some(Mode::Host))]
#[case::before_a_network_as_root(Who::Root, None)]
#[case::before_a_network_as_a_user(Who::User, None)]
fn a_confined_command_finds_nobody_to_talk_to(#[case] who: Who, #[case] mode: Option<Mode>) {
    let reach = Reach::new(who, mode);
    for (name, without, attempt) in ATTEMPTS {
        let control = reach.attempt(&[], attempt);
        let reached = without == Everybody || who == Who::Root;
        assert_eq!(control == "REACHED", reached, "{name}: the test would prove nothing: {control}");
    }
    let through = ATTEMPTS.iter().filter_map(|(name, _, attempt)| {
        let said = reach.attempt(&reach.site.prefix, attempt);
        println!("{name}: {said}");
        // It must have been tried.
        (said == "REACHED" || !said.starts_with("[Errno ")).then(|| format!("{name}: {said}"))
    });
    assert_eq!(through.collect::<Vec<_>>(), Vec::<String>::new());
    // And they are still there.
    assert_eq!(reach.attempt(&[], "stream /srv/other/db.sock"), "REACHED");
}

/// From Linux 6.2 on a host may forbid it to everybody but root (`dev.tty.legacy_tiocsti`).
#[rstest]
#[case::namespace_as_root(Who::Root, Some(Mode::Namespace))]
#[case::namespace_as_a_user(Who::User, Some(Mode::Namespace))]
#[case::host(Who::Root, Some(Mode::Host))]
#[case::before_a_network_as_root(Who::Root, None)]
#[case::before_a_network_as_a_user(Who::User, None)]
fn a_confined_command_types_nothing_into_the_terminal_that_it_was_started_from(
    #[case] who: Who,
    #[case] mode: Option<Mode>,
) {
    let reach = Reach::new(who, mode);
    let forbidden = std::fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|text| text.trim() == "0");
    let control = reach.attempt(&[], "types");
    // The terminal shows what is typed.
    assert!(control.ends_with("REACHED") || (forbidden && who == Who::User), "the test would prove nothing: {control}");
    let said = reach.attempt(&reach.site.prefix, "types");
    assert!(said.starts_with("[Errno 1] "), "{said}");
}

#[rstest]
#[case::namespace_as_root(Who::Root, Some(Mode::Namespace))]
#[case::namespace_as_a_user(Who::User, Some(Mode::Namespace))]
#[case::host(Who::Root, Some(Mode::Host))]
#[case::before_a_network_as_root(Who::Root, None)]
#[case::before_a_network_as_a_user(Who::User, None)]
fn what_playbooks_need_is_there_and_only_the_repository_is_changed(#[case] who: Who, #[case] mode: Option<Mode>) {
    let site = Site::of(who, mode, &[]);
    let world = &site.world;
    world.run_as_who(
        "/usr/bin/python3 -m venv --without-pip $HOME/venv; /usr/bin/python3 -m venv --without-pip repo/.venv
         mkdir elsewhere; echo role > elsewhere/role; ln -s $PWD/elsewhere repo/roles; ln -s repo link; echo mine > $HOME/.profile",
    );
    let shared = format!("/var/tmp/boma-reach-{}", world.host_pid());
    world.root(&format!(
        "mkdir -m 755 {shared}; echo there > {shared}/file; ln -s {shared} {}",
        world.path("repo/shared")
    ));
    let start = std::time::Instant::now();
    assert_eq!(site.run("true").0, 0);
    println!("confined in {} ms", start.elapsed().as_millis());
    let link = world.path("link");
    for (script, expected) in [
        ("$HOME/venv/bin/python -c 'print(6 * 7)'", "42"),
        ("repo/.venv/bin/python -c 'print(6 * 7)'", "42"),
        ("cat repo/roles/role repo/shared/file | xargs", "role there"),
        (&format!("cd {link} && echo kept > kept && cat kept"), "kept"),
        ("(: > repo/.venv/new) 2>/dev/null || echo refused", "refused"),
        ("(: > /usr/new) 2>/dev/null || echo refused", "refused"),
        ("echo forgotten > $HOME/.profile; mkdir -p $HOME/.ansible/tmp; cat $HOME/.profile", "forgotten"),
        (
            "for d in /tmp /var/tmp /run /dev/shm; do [ -z \"$(ls -A $d | grep -v boma-reach | grep -v '^[.]tmp')\" ] || echo $d; done",
            "",
        ),
        ("touch /tmp/own /run/own /dev/shm/own 2>/dev/null; ls /tmp/own", "/tmp/own"),
        (
            "/usr/bin/python3 -c 'import multiprocessing; multiprocessing.Lock(); import os; os.openpty(); print(1)'",
            "1",
        ),
        (
            // As ssh shares a connection.
            "cd state/vms/askari/ansible/cp && /usr/bin/python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind(\"m\"); s.listen(); \
             c = socket.socket(socket.AF_UNIX); c.connect(\"m\"); print(\"shared\")'",
            "shared",
        ),
    ] {
        assert_eq!(site.run(script).1, expected, "{script}");
    }
    let outside = world.run_as_who("cat repo/kept $HOME/.profile; ls -A $HOME state/vms/askari/ansible/cp | grep -x -e .ansible -e m; rm -rf repo/shared");
    assert_eq!(outside, "kept\nmine");
    world.root(&format!("rm -r {shared}"));
}
