//! The tools that people have already, by `examples/`, against a VM that an ordinary user runs.

use crate::applied::{Applied, applied};
use crate::modes::{boot_id, is_a_reset};
use camino::Utf8Path;
use std::process::Command;

/// A command of the examples, with the fixture's Python before the machine's.
fn example(vm: &Applied, path: &str, args: &[&str]) -> Command {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = vm.lane.dir.join("examples");
    if !examples.exists() {
        let copied = Command::new("cp").args(["-a", root.join("examples").as_str(), examples.as_str()]).status();
        assert!(copied.unwrap().success());
    }
    let program = if path.contains('/') { examples.join(path) } else { path.into() };
    let mut command = vm.lane.other(program.as_str(), args);
    let bin = root.join("tests/fixtures/boma/.venv/bin");
    command.env("BOMA", vm.lane.dir.join("boma-qemu")).env("PYTHONDONTWRITEBYTECODE", "1");
    // Ansible and ssh keep no connection that outlives them: the VM goes on to other tests.
    command.env("ANSIBLE_SSH_ARGS", "-o ControlMaster=no");
    command.env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap()));
    command
}

#[track_caller]
fn passes(command: &mut Command) -> String {
    let out = command.output().unwrap();
    let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(out.status.success(), "{command:?}: {said}");
    said
}

#[test]
fn testinfra_and_an_inventory_script_reach_the_vm_as_any_host() {
    let vm = applied();
    let said = passes(&mut example(&vm, "testinfra/run", &["askari", "-q"]));
    assert!(said.contains("3 passed"), "{said}");
    let inventory = vm.lane.dir.join("examples/ansible/inventory");
    let said = passes(&mut example(&vm, "ansible", &["-i", inventory.as_str(), "offsite_hosts", "-m", "ping"]));
    assert!(said.contains("askari | SUCCESS"), "{said}");
}

#[test]
fn the_script_for_a_real_host_suggests_what_holds_on_the_vm() {
    let vm = applied();
    // Neither the script nor what it prints is for the test's own output.
    let quiet = |args: &[&str]| {
        let out = vm.lane.other(vm.lane.dir.join("boma-qemu").as_str(), args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let script = quiet(&["observe", "--script"]).replace('\'', r"'\''");
    let live = vm.lane.dir.join("askari.live");
    std::fs::write(&live, quiet(&["ssh", "askari", "--", &format!("sudo -n sh -c '{script}'")])).unwrap();
    let suggested = |args: &[&str]| {
        let ran = vm.boma(&[&["checks", "suggest", "askari", "--json"], args].concat());
        let said: serde_json::Value = serde_json::from_str(ran.exits(0).out()).unwrap();
        assert_eq!(said["unseen"], serde_json::json!({}), "{said}");
        (said["verify"].clone(), said["left_out"].clone())
    };
    let (now, left_out) = suggested(&[]);
    assert_eq!(left_out, serde_json::json!([]));
    assert_eq!(now, suggested(&["--from-live", live.as_str()]).0);
    let probes: Vec<_> = now.as_array().unwrap().iter().map(|one| one["probe"].clone()).collect();
    assert!(probes.contains(&serde_json::json!({"tcp": {"port": 443, "expect": "open"}})), "{probes:?}");
    assert!(probes.len() > 4, "{probes:?}");
}

#[test]
fn a_molecule_scenario_has_the_vm_restarted_as_its_side_effect() {
    let vm = applied();
    let before = boot_id(&vm.lane);
    let mut molecule = example(&vm, "molecule/run", &["askari"]);
    let said = passes(molecule.env("BOMA_VIA", "reset").env("NO_COLOR", "1"));
    assert!(said.contains("default > verify: Executed: Successful"), "{said}");
    is_a_reset(&vm.lane, &vm.lane.result()["reboot"], &before);
    vm.root("cat /var/lib/kept");
}

#[test]
fn rsync_and_scp_bring_a_file_to_the_vm_and_back() {
    let vm = applied();
    vm.root("apt-get update -qq && apt-get install -y -qq rsync >/dev/null 2>&1");
    let said = passes(&mut example(&vm, "rsync/run", &["askari"]));
    assert!(said.contains("the same three times"), "{said}");
}

#[test]
#[ignore = "a reboot of its own: make soak"]
fn a_pytest_fixture_reboots_the_vm_and_has_the_proof() {
    let vm = applied();
    let said = passes(&mut example(&vm, "pytest/run", &["askari", "-q"]));
    assert!(said.contains("1 passed"), "{said}");
}
