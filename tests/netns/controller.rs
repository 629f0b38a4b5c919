//! The controller's side: what a playbook could try, tried.

use crate::driver::Job;
use crate::guest::Guest;
use crate::world::{Who, World};
use camino::Utf8PathBuf;
use rstest::rstest;
use std::path::PathBuf;
use vm::network::confine::{Confinement, NOT_RUN};
use vm::network::{Mode, NetPlan};

/// A world with a network, and the prefix that confines.
pub(crate) struct Site {
    pub(crate) world: World,
    plan: NetPlan,
    pub(crate) prefix: Vec<String>,
}

impl Site {
    pub(crate) fn new(who: Who, mode: Mode, keep_sockets: &[&str]) -> Self {
        Self::of(who, Some(mode), keep_sockets)
    }

    /// Without a mode: before there is a network.
    pub(crate) fn of(who: Who, mode: Option<Mode>, keep_sockets: &[&str]) -> Self {
        let world = World::new(who);
        let plan = world.plan(mode.unwrap_or(Mode::Namespace));
        let folder = world.path("state/vms/askari/ansible");
        let keep = keep_sockets.iter().map(|name| world.path(name)).collect();
        world.root(&format!("mkdir -m 777 {}", world.path("repo")));
        let make = world.command(&["mkdir".into(), "-p".into(), folder.join("cp").into()]);
        assert!(make.status.success());
        let allowed = Confinement { keep_sockets: keep, writable: vec![world.path("repo")], ..Confinement::default() };
        let job = match mode {
            None => Job::ConfineAlone { exe: world.path("boma-qemu"), folder, allowed },
            Some(_) => {
                world.ensure(&plan).unwrap();
                Job::Confine { state: world.path("state"), name: plan.name.clone(), folder, allowed }
            }
        };
        let prefix = world.job(&job);
        Self { world, plan, prefix }
    }

    /// Run a script confined: its exit code and all its words.
    pub(crate) fn run(&self, script: &str) -> (i32, String) {
        let argv = [self.prefix.clone(), ["sh", "-c", script].map(str::to_owned).to_vec()].concat();
        let out = self.world.command(&argv);
        let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        (out.status.code().unwrap(), text.trim().to_owned())
    }

    fn fetch(&self, to: &str, port: u16) -> String {
        self.run(&format!("nc -w 1 {to} {port} </dev/null 2>/dev/null")).1
    }
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn the_controller_reaches_the_vm_and_the_resolver_and_nothing_else(#[case] who: Who, #[case] mode: Mode) {
    let site = Site::new(who, mode, &[]);
    let Site { world, plan, .. } = &site;
    let guest = Guest::plug(world, plan);
    guest.dhcp(world, plan);
    let _service = world.held(guest.prefix(), &Job::Serve { port: 443 });
    let vm = plan.vm.ip.to_string();
    assert_eq!(site.fetch(&vm, 443), "hello");
    assert_eq!(site.run("getent ahostsv4 stub.test | cut -d' ' -f1 | sort -u"), (0, vm), "the guest's stubs");
    for forbidden in crate::FORBIDDEN.into_iter().chain(["203.0.113.7", "127.0.0.1", "2001:db8::1", "2001:db8::2"]) {
        assert_eq!(site.fetch(forbidden, 80), "", "{forbidden}");
    }
    assert_eq!(world.seen(), "");
    // And nobody reaches it: not the guest, on any port.
    let argv = [site.prefix.clone(), ["nc", "-l", "8080"].map(str::to_owned).to_vec()].concat();
    let _listener = world.start(&argv);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!guest.connects(&plan.controller.to_string(), 8080));
}

#[test]
fn an_exception_for_the_controller_opens_that_port_and_no_other() {
    let world = World::new(Who::User);
    let mut plan = world.plan(Mode::Namespace);
    for (port, address) in [(Some(80), "10.99.0.5"), (Some(81), "172.20.0.5")] {
        let (to, why) = (address.parse().unwrap(), "a test".to_owned());
        plan.controller_allow.push(vm::network::plan::Allow { name: "vault".into(), to, port, why });
    }
    world.ensure(&plan).unwrap();
    let folder = world.path("home");
    let job =
        Job::Confine { state: world.path("state"), name: plan.name.clone(), folder, allowed: Confinement::default() };
    let site = Site { prefix: world.job(&job), world, plan };
    assert_eq!(site.fetch("10.99.0.5", 80), "hello");
    assert_eq!(site.fetch("172.20.0.5", 80), "");
    let guest = Guest::plug(&site.world, &site.plan);
    guest.dhcp(&site.world, &site.plan);
    assert_eq!(guest.fetch("10.99.0.5", 80), None, "it is the controller's exception, not the guest's");
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn no_capability_no_process_and_no_socket_of_the_host_is_in_reach(#[case] who: Who, #[case] mode: Mode) {
    let site = Site::new(who, mode, &["vault.sock"]);
    let Site { world, .. } = &site;
    let none = "0000000000000000";
    let (_, text) = site.run("grep -E 'Cap(Prm|Eff|Bnd|Amb)|NoNew' /proc/self/status | tr -s '\\t\\n' ' '");
    assert_eq!(text, format!("CapPrm: {none} CapEff: {none} CapBnd: {none} CapAmb: {none} NoNewPrivs: 1"));
    let (_, pids) = site.run("for d in /proc/[0-9]*; do echo ${d#/proc/}; done | sort -n | tail -1");
    assert!(pids.parse::<u32>().unwrap() < 10, "its pid namespace is its own: {pids}");
    let (_, ids) = site.run("id -u; pwd");
    assert_eq!(ids, world.run_as_who("id -u; pwd"), "the caller's user and folder");

    // Masters lie in wait, as ssh makes them: bound under one name, renamed to another.
    world.run_as_who("mkdir -p -m 700 $HOME/.ssh $HOME/elsewhere alias && echo 'Host x' > $HOME/.ssh/config");
    world.root(&format!("mount --bind {} {}", world.path("home/elsewhere"), world.path("alias")));
    let made = ["home/.ssh/mux", "home/elsewhere/mux", "mux", "vault.sock"];
    let places = [made.as_slice(), &["alias/mux"]].concat();
    let mut paths: Vec<(PathBuf, PathBuf)> =
        made.iter().map(|place| (world.path(&format!("{place}.Xy1")).into(), world.path(place).into())).collect();
    let outer: Utf8PathBuf = format!("/var/tmp/boma-netns-{}", world.host_pid()).into();
    paths.push((format!("{outer}.x").into(), outer.clone().into()));
    let _masters = world.held(&world.onto_host(), &Job::Sockets { paths });
    let talk = |path: &str| format!("echo x | nc -N -w 1 -U {path} >/dev/null 2>&1 && echo reached");
    for place in places {
        let reached = world.run_as_who(&talk(world.path(place).as_str()));
        assert_eq!(reached, "reached", "{place}: the test would prove nothing");
        let expected = if place == "vault.sock" { "reached" } else { "" };
        assert_eq!(site.run(&talk(world.path(place).as_str())).1, expected, "{place}");
    }
    assert_eq!(site.run(&talk(outer.as_str())).1, "");
    let _ = std::fs::remove_file(&outer);
    assert_eq!(site.run("cat $HOME/.ssh/config").1, "Host x", "files stay, sockets go");
    // One that comes later, in the usual place.
    let script =
        format!("touch repo/started; while [ ! -e repo/later ]; do sleep 0.05; done; {}", talk("$HOME/.ssh/late"));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| site.run(&script).1);
        world.until("the confined command runs", || world.path("repo/started").exists());
        let late = (world.path("home/.ssh/late.1").into(), world.path("home/.ssh/late").into());
        let _late = world.held(&world.onto_host(), &Job::Sockets { paths: vec![late] });
        world.run_as_who("touch repo/later");
        assert_eq!(running.join().unwrap(), "");
    });
}

#[test]
fn what_the_command_does_to_its_mounts_is_undone_by_nobody() {
    let site = Site::new(Who::User, Mode::Namespace, &[]);
    for try_ in
        ["umount /run", "umount -l /proc", "mount -t proc proc /proc", "nsenter -t 1 -n true", "ip link set eth0 down"]
    {
        assert_ne!(site.run(try_).0, 0, "{try_}");
    }
    // A user may always make a user namespace; what is mounted over what it inherits stays so in there.
    let (_, text) =
        site.run("unshare --user --map-root-user --mount sh -c 'umount /run; umount -l /run; ls /run; echo seen'");
    assert!(text.contains("seen") && !text.contains("of-the-host"), "{text}");
    let (_, text) = site.run("unshare --user --map-root-user --net nc -z -w 1 192.0.2.2 80; echo $?");
    assert!(text.ends_with('1'), "{text}");
}

#[test]
fn exit_code_signals_and_leftovers_are_the_commands_own() {
    let site = Site::new(Who::User, Mode::Namespace, &[]);
    assert_eq!(site.run("exit 7").0, 7);
    assert_eq!(site.run("kill -KILL $$").0, 137);
    // A daemon in a session of its own, as ssh's persistent master is, ends with the command.
    let marker = site.world.path("repo/sleeps").to_string();
    site.run(&format!("cp /bin/sleep {marker}; setsid {marker} 1000 & sleep 0.1"));
    site.world.until("the daemon is gone", || !site.world.processes().iter().any(|line| line.contains(&marker)));
    // Whoever starts it can end it.
    let argv = [site.prefix.clone(), vec![marker.clone(), "1000".into()]].concat();
    let mut running = site.world.start(&argv);
    site.world.until("it runs", || site.world.processes().iter().any(|line| line.starts_with(&marker)));
    drop(running.0.kill());
    site.world.until("the command ends when its starter is killed", || {
        !site.world.processes().iter().any(|line| line.starts_with(&marker))
    });
    // Never unconfined: without a network there is no run.
    assert_eq!(site.world.release(&site.plan), []);
    let (code, text) = site.run("echo ran");
    assert_eq!(code, i32::from(NOT_RUN), "{text}");
    assert!(!text.contains("\nran") && text.contains("not run"), "{text}");
}
