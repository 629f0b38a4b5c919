//! Probes and programs of `verify`, asked through a network namespace and over ssh, without a VM and without Ansible.

use crate::at_hand::block_on;
use crate::world::{LIMIT, VM, World};
use boma_qemu::ansible::inventory::Inline;
use boma_qemu::ansible::run::Runner;
use boma_qemu::checks::output::{self, End};
use boma_qemu::checks::{Program, Question};
use boma_qemu::jobs::verify::ask::{Ways, poll};
use evidence::playbook::checks::Check;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use vm::machine::VmDir;
use vm::ssh::{self, Kept, Ssh, Way};

/// What probes of this world's VM are asked by; its folder is the world's own.
fn ways(world: &World, port: u16) -> Ways {
    let vm = VmDir::at(world.path(""));
    let mut ways = ssh::Ways::fresh(VM, "root");
    ways.current = Way { port, user: "root".into() };
    ssh::write_ways(&vm, &ways).unwrap();
    Ways {
        exe: env!("CARGO_BIN_EXE_boma-qemu").into(),
        enter: world.prefix(),
        vm: VM,
        resolver: VM,
        ssh: Ssh::new(&vm, world.prefix()),
        kept: Kept::default(),
    }
}

fn questions(all: &Value) -> Vec<Question> {
    let named = |(at, probe): (usize, &Value)| {
        serde_json::from_value(json!({"name": format!("{at}"), "probe": probe, "within": 1})).unwrap()
    };
    all.as_array().unwrap().iter().enumerate().map(named).collect()
}

fn asked(ways: &Ways, all: &Value) -> Vec<Check> {
    block_on(ask(ways, all))
}

async fn ask(ways: &Ways, all: &Value) -> Vec<Check> {
    let all = questions(all);
    poll(ways, &all.iter().collect::<Vec<_>>()).await
}

/// `+` green, `-` red, `?` did not look.
fn letters(checks: &[Check]) -> String {
    let letter = |check: &Check| match (check.ok, check.looked) {
        (true, _) => '+',
        (false, true) => '-',
        (false, false) => '?',
    };
    checks.iter().map(letter).collect()
}

/// A server in the namespace, until it is dropped.
struct Server(Child);

impl Server {
    fn start(world: &World, script: &str) -> Self {
        let mut argv = world.prefix();
        argv.extend(["setpriv", "--pdeathsig", "KILL", "sh", "-c", script].map(str::to_owned));
        Self(Command::new(&argv[0]).args(&argv[1..]).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn ports_are_asked_in_the_vms_network_and_the_guest_over_one_session() {
    let world = World::new();
    let all = json!([
        {"tcp": {"port": 2222}},
        {"tcp": {"port": 81}},
        {"tcp": {"port": 81, "expect": "refused"}},
        {"listening": {"port": 2222, "address": VM.to_string()}},
        {"listening": {"port": 2222, "address": "0.0.0.0"}},
        {"mount": {"path": "/root", "type": "tmpfs"}},
        {"mount": {"path": "/root", "type": "ext4"}},
        {"sysctl": {"key": "kernel.ostype", "value": "Linux"}},
        {"sysctl": {"key": "kernel.nothing", "value": "1"}},
        {"file": {"path": "/root/.ssh/authorized_keys", "mode": "600", "owner": "root", "contains": "^ssh-ed25519 "}},
        {"file": {"path": "/root/nothing", "exists": false}},
        {"command": {"run": "id -u", "stdout": "^0$"}},
        {"command": {"run": ["false"]}},
        {"command": {"run": ["no-such-program"]}}
    ]);
    let checks = asked(&ways(&world, 2222), &all);
    assert_eq!(letters(&checks), "+-++-+-+-+++-?", "{checks:#?}");
}

#[test]
fn what_comes_true_in_its_time_is_green() {
    let world = World::new();
    let file = world.path("later");
    let server = format!(
        "sleep 2; touch {file}; exec dropbear -F -E -s -r {}/keys/host -p {VM}:8022 2>/dev/null",
        world.path("")
    );
    let _server = Server::start(&world, &server);
    let question = |name: &str, probe: Value| {
        serde_json::from_value::<Question>(json!({"name": name, "probe": probe, "within": 60})).unwrap()
    };
    let all = [question("port", json!({"tcp": {"port": 8022}})), question("file", json!({"file": {"path": file}}))];
    let checks = block_on(poll(&ways(&world, 2222), &all.iter().collect::<Vec<_>>()));
    assert_eq!(letters(&checks), "++", "{checks:#?}");
}

#[test]
fn the_connection_of_one_stage_serves_the_next_and_one_that_has_died_is_made_anew() {
    let world = World::new();
    let ways = ways(&world, 2222);
    let all = json!([{"file": {"path": "/etc/passwd"}}]);
    // One runtime, as a command has: a connection's pipes are of the runtime that opened them.
    block_on(async {
        let session = async || ways.kept.session(&ways.ssh, LIMIT).await.unwrap();
        assert_eq!(letters(&ask(&ways, &all).await), "+");
        let first = session().await;
        assert_eq!(letters(&ask(&ways, &all).await), "+");
        assert!(std::sync::Arc::ptr_eq(&first, &session().await), "one login");
        let mut sockets = std::fs::read_dir(world.path("keys")).unwrap().map(|entry| entry.unwrap().path());
        let socket = sockets.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with('m')).unwrap();
        let end = ["-S", socket.to_str().unwrap(), "-O", "exit"];
        let argv = ways.ssh.argv(&end, &[]);
        assert!(Command::new(&argv[0]).args(&argv[1..]).stderr(Stdio::null()).status().unwrap().success());
        assert_eq!(letters(&ask(&ways, &all).await), "+");
    });
}

#[test]
fn a_guest_that_cannot_be_asked_is_red_by_its_own_cause_and_its_ports_are_asked_all_the_same() {
    let world = World::new();
    let checks = asked(&ways(&world, 81), &json!([{"tcp": {"port": 2222}}, {"file": {"path": "/etc/passwd"}}]));
    assert_eq!(letters(&checks), "+?", "{checks:#?}");
    assert!(checks[1].detail.contains("cannot log in"), "{checks:#?}");
}

#[test]
fn where_nobody_can_look_from_outside_nothing_is_green() {
    let world = World::new();
    let nowhere = Ways { enter: vec!["/no/such/program".into()], ..ways(&world, 2222) };
    let checks =
        asked(&nowhere, &json!([{"tcp": {"port": 81, "expect": "closed"}}, {"file": {"path": "/etc/passwd"}}]));
    assert_eq!(letters(&checks), "?+", "{checks:#?}");
}

/// What a program of this script says, and how it ended.
fn program(world: &World, script: &str, format: &str) -> (Vec<Check>, End) {
    let value = json!({"name": "t", "run": ["sh", "-c", script], "format": format, "limit": 60});
    let program: Program = serde_json::from_value(value).unwrap();
    let controller = world.controller();
    controller.write_folder(&world.connection(), &Inline::default()).unwrap();
    let (prefix, log) = (world.prefix(), world.path("ansible.log"));
    let runner = Runner { controller: &controller, address: VM, prefix: &prefix, log: &log, limit: LIMIT };
    let left = block_on(runner.program(&program, &world.path("repo"), &world.connection(), &mut |_| {})).unwrap();
    (output::checks(&program, &left), left.end)
}

#[test]
fn a_program_finds_the_vm_by_its_environment_and_no_other_host() {
    let world = World::new().repo();
    let script = r#"
        echo 1..3
        ssh -F "$BOMA_SSH_CONFIG" "$BOMA_HOST" true && echo 'ok 1 - by name' || echo 'not ok 1'
        ssh -F "$BOMA_SSH_CONFIG" "$BOMA_ADDRESS" true && echo 'ok 2 - by address' || echo 'not ok 2'
        ssh -F "$BOMA_SSH_CONFIG" 198.51.100.136 true && echo 'not ok 3' || echo 'ok 3 - no other'"#;
    let (checks, end) = program(&world, script, "tap");
    assert_eq!((letters(&checks).as_str(), end), ("+++", End::Code(0)), "{checks:#?}\n{}", world.log());
    assert_eq!(checks[0].id, "t: by name");
    assert_eq!(world.packets_to_the_real_host(), 0);
    let (checks, _) = program(&world, r#"grep -q "\"ansible_host\": \"$BOMA_ADDRESS\"" "$BOMA_INVENTORY""#, "exit");
    assert_eq!(letters(&checks), "+", "{checks:#?}");
}

#[test]
fn a_report_is_read_in_place_of_the_output_and_one_of_an_earlier_run_is_not() {
    let world = World::new().repo();
    let report = r#"echo noise; echo '<testsuite tests="1"><testcase name="a"/></testsuite>' > "$BOMA_REPORT""#;
    assert_eq!(letters(&program(&world, report, "junit").0), "+");
    assert_eq!(letters(&program(&world, "echo noise", "junit").0), "?");
    assert_eq!(letters(&program(&world, "exec no-such-program", "exit").0), "?");
}
