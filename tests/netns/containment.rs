//! The real Ansible in the real confinement, with playbooks that try to reach the real host: not one
//! packet leaves the host for it. Each attempt that can be made without the confinement is made so
//! first, and then it does send packets: the test would see it.

use crate::askari::{REAL, Site};
use crate::world::Who;
use rstest::rstest;
use serde_json::json;
use std::time::{Duration, Instant};
use vm::network::Mode;

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn no_playbook_sends_a_packet_to_the_real_host(#[case] who: Who, #[case] mode: Mode) {
    let site = Site::new(who, mode);
    let refused = |why: &str| Err(why.to_owned());
    let playbooks = [
        ("moves_the_host.yml", Ok(3)),
        ("delegates_to_the_real_host.yml", refused("is delegated to 198.51.100.136")),
        // The run is for one host, and that is not the one that is added.
        ("adds_the_real_host.yml", refused("ran no task on the VM")),
        ("calls_the_real_host_from_the_controller.yml", refused("ran no task on the VM")),
    ];
    for (playbook, _) in &playbooks {
        let before = site.packets();
        site.unconfined_play(playbook);
        assert!(site.packets() > before, "{playbook}: the test would prove nothing");
    }
    let before = site.packets();
    // Once, and before the first, as a cycle does.
    let mut guarded: Vec<_> = playbooks.iter().map(|(playbook, _)| *playbook).collect();
    for (playbook, expected) in playbooks {
        let done = site.play(
            playbook,
            &std::mem::take(&mut guarded),
            vec![format!("real_master={}", site.real_master()).parse().unwrap()],
        );
        println!("{playbook}: {done:?}");
        assert_eq!(site.packets() - before, 0, "{playbook}: {done:?}\n{}", site.log());
        let as_expected = match (&done, &expected) {
            (Err(said), Err(why)) => said.contains(why),
            _ => done == expected,
        };
        assert!(as_expected, "{playbook}: {done:?}\n{}", site.log());
    }
    // They were there all the time.
    site.world.run_as_who(&format!("ssh -S {} {REAL} true", site.real_master()));
    assert!(site.packets() > before);
}

/// Who gets through with an attempt that is not confined.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Everybody,
    Root,
    /// It undoes the confinement, or does what only makes sense in it.
    Nobody,
}
use Without::{Everybody, Nobody, Root};

/// Into another network namespace: only if it is that of the test's own host is the real host called. Any other
/// that is not the confinement's own is a way out, too, and is written down.
const CALL: &str = r#"net=$(readlink /proc/self/ns/net)
if [ "$net" = "$HOST_NET" ]; then echo > /dev/tcp/$REAL/22; elif [ "$net" != "$OWN_NET" ]; then echo "into $net" >> "$OUT"; fi"#;

const ATTEMPTS: [(&str, Without, &str); 21] = [
    ("a TCP connection", Everybody, "nc -z -w 2 $REAL 22"),
    ("a TCP connection of bash's", Everybody, "echo > /dev/tcp/$REAL/22"),
    ("a UDP datagram", Everybody, "echo > /dev/udp/$REAL/53"),
    ("a ping", Root, "ping -c 1 -W 1 $REAL"),
    ("the master of the user's Ansible", Everybody, "ssh -F none -S $MASTER -o BatchMode=yes $REAL true"),
    ("a master with the name of the VM's", Everybody, "ssh -F none -S $LIE -o BatchMode=yes $REAL true"),
    ("the master in ~/.ssh/config", Everybody, "ssh -F ~/.ssh/config -o BatchMode=yes -o ConnectTimeout=2 $REAL true"),
    ("the agent's socket", Everybody, "SSH_AUTH_SOCK=$AGENT ssh-add -l"),
    ("the agent in the environment", Everybody, "ssh-add -l"),
    ("Docker's socket", Everybody, "curl -m 2 --unix-socket $DOCKER http://docker/containers/json"),
    ("the Docker host in the environment", Everybody, "curl -m 2 --unix-socket ${DOCKER_HOST#unix://} http://docker/info"),
    ("an abstract socket", Everybody, "curl -m 2 --abstract-unix-socket boma-lure http://docker/info"),
    ("the network of a process of the host's", Root, "nsenter -t $HOST_PID -n bash -c \"$CALL\""),
    ("the network of process 1", Nobody, "nsenter -t 1 -n bash -c \"$CALL\""),
    ("setns from a user namespace", Nobody, "unshare -Urnm nsenter --net=/proc/1/ns/net bash -c \"$CALL\""),
    ("the first network, through process 1", Nobody, "for ns in /proc/[0-9]*/ns/net /proc/1/task/*/ns/net; do nsenter --net=$ns bash -c \"$CALL\"; done"),
    ("a default route", Nobody, "ip route add default dev eth0; ip route add default via $GATEWAY; nc -z -w 2 $REAL 22"),
    ("a default route in a user namespace", Nobody, "unshare -Ur sh -c 'ip route add default via $GATEWAY; nc -z -w 2 $REAL 22'"),
    ("the VM as a router", Nobody, "ip route add $REAL via $VM; nc -z -w 2 $REAL 22"),
    (
        "unmounting what masks",
        Nobody,
        "unshare -Urm bash -c 'umount -l /proc; umount -l $DOCKER; umount -l /run; umount -l /tmp; umount -l ~/.ssh; umount -l ~/.ansible/cp
         nsenter -t $HOST_PID -n bash -c \"$CALL\"; curl -m 2 --unix-socket $DOCKER http://docker/info; curl -m 2 --unix-socket $AGENT http://agent
         ssh -F none -S $MASTER -o BatchMode=yes $REAL true'",
    ),
    (
        // What is written there makes the kernel run a program outside of every namespace, or stop the machine.
        "a program for the kernel to start",
        Root,
        "for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger /sys/kernel/uevent_helper /sys/kernel/rcu_normal; do
         (: >> $file) && echo \"$file can be written\" >> $OUT; done",
    ),
];

/// The attempt with all that it needs to know, as a script for bash.
fn script(site: &Site, attempt: &str) -> String {
    let (pid, path) = (site.world.host_pid(), |name: &str| site.world.path(name));
    let host_net = std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let words = [
        ("REAL", REAL.to_owned()),
        ("VM", site.plan().vm.ip.to_string()),
        ("GATEWAY", site.plan().gateway.to_string()),
        ("MASTER", site.real_master().to_owned()),
        ("LIE", site.lying_master().to_owned()),
        ("AGENT", path("agent/sock").into()),
        ("DOCKER", path("home/.docker/run.sock").into()),
        ("OUT", path("repo/said/out").into()),
        ("HOST_PID", pid.to_string()),
        ("HOST_NET", host_net.display().to_string()),
        ("CALL", CALL.to_owned()),
    ];
    let words: String = words.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    format!("{words}export OWN_NET=$(readlink /proc/self/ns/net)\n(\n{attempt}\n) </dev/null\n")
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn no_shell_command_of_a_playbook_finds_a_way_out(#[case] who: Who, #[case] mode: Mode) {
    let site = Site::new(who, mode);
    let place = site.world.path("repo/said");
    site.world.root(&format!("mkdir -m 777 {place}"));
    let out = || std::fs::read_to_string(place.join("out")).unwrap_or_default();
    for (name, without, attempt) in ATTEMPTS {
        if without == Nobody || (without == Root && who != Who::Root) {
            continue;
        }
        let before = site.packets();
        let env = [&["env".to_owned()], &site.environment()[..], &["bash".into(), "-c".into(), script(&site, attempt)]];
        let done = site.world.command(&env.concat());
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(site.packets() > before || !out().is_empty(), "{name}: the test would prove nothing: {said}");
        site.world.root(&format!("rm -f {place}/out"));
    }
    let before = site.packets();
    // After each attempt Ansible waits until its packets are counted.
    let attempts = ATTEMPTS.iter().enumerate().map(|(n, (name, _, attempt))| {
        let wait = format!("touch {place}/tried-{n}; until [ -e {place}/next-{n} ]; do sleep 0.05; done");
        json!({ "name": name, "script": script(&site, attempt) + &wait })
    });
    let attempts = json!({ "attempts": attempts.collect::<Vec<_>>() }).to_string().parse().unwrap();
    let through = std::thread::scope(|scope| {
        let running = scope.spawn(|| site.play("tries_every_way_out.yml", &[], vec![attempts]));
        let mut through = Vec::new();
        for (n, (name, ..)) in ATTEMPTS.iter().enumerate() {
            let start = Instant::now();
            while !place.join(format!("tried-{n}")).exists() {
                if running.is_finished() {
                    panic!("before {name}: {:?}\n{}", running.join(), site.log());
                }
                assert!(start.elapsed() < Duration::from_secs(180), "{name}: {}", site.log());
                std::thread::sleep(Duration::from_millis(20));
            }
            let (packets, said) = (site.packets() - before, out());
            println!("{name}: {packets} packets so far {said}");
            if packets > 0 || !said.is_empty() {
                through.push(format!("{name}: {packets} packets so far, {said}"));
            }
            site.world.run_as_who(&format!("rm -f {place}/out; touch {place}/next-{n}"));
        }
        assert_eq!(running.join().unwrap(), Ok(1), "{}", site.log());
        through
    });
    assert_eq!(through, Vec::<String>::new(), "{}", site.log());
    assert_eq!(site.packets(), before, "the VM's own attempt");
}
