//! The end of the shared VM: a change that goes wrong, its repair, and the removal. By its name the last of all tests.

use crate::access::failure;
use crate::applied::{Applied, applied};
use crate::modes::signs;
use serde_json::{Value, json};

/// A comma too many.
const BREAK: &str = "printf '{\"log-driver\": \"journald\",}' >/etc/docker/daemon.json";
const MEND: &str = "rm /etc/docker/daemon.json
systemctl reset-failed docker.service docker.socket
systemctl restart docker.service";

/// A reboot that is red because Docker does not start.
fn a_red_reboot(vm: &Applied) {
    vm.root(BREAK);
    let boots = vm.lane.events("boot").len();
    vm.boma(&["reboot", "askari", "--via", "kexec", "--timeout", "900"]).exits(6);
    let result = vm.lane.result();
    let kexec = &result["reboot"];
    assert_eq!(signs(kexec), ["boot without a RESET"], "the console's second kernel, and nothing else");
    assert!(kexec["last_words"]["console"].as_str().unwrap().contains("Starting new kernel"));
    assert_eq!(vm.lane.events("boot").len(), boots + 1, "the console is cut where the new kernel begins");
    // All that Docker had made is gone with it, and is one finding.
    let findings = result["state"]["judged"]["findings"].as_array().unwrap();
    let first: &Value = &findings[0];
    assert_eq!(first["id"], "units/docker.service/active", "{first}");
    assert!(first["consequences"].as_array().unwrap().len() > 10, "{first:#}");
    assert!(findings.iter().all(|one| one == first || one["severity"] == "minor"), "{findings:#?}");
    let said = failure(vm);
    assert!(said.contains("docker.service") && said.contains("daemon.json"), "{said}");
}

/// What runs has not booted since `why`.
fn has_not_booted(vm: &Applied, why: &str) {
    assert!(vm.lane.result()["reboot"].is_null());
    vm.boma(&["assert", "askari"]).exits(0).says(&["NOT REBOOTED"]);
    assert_eq!(vm.lane.result()["verdict"], json!({"kind": "not-rebooted", "why": {"changed": why}}));
}

#[test]
fn a_red_reboot_that_is_taken_back_leaves_a_state_that_has_not_booted_and_down_leaves_nothing() {
    let vm = applied();
    a_red_reboot(&vm);
    vm.boma(&["reset", "askari"]).exits(0);
    has_not_booted(&vm, "restored");
    vm.boma(&["down", "askari"]).exits(0);
    vm.host.is_now();
    vm.lane.is_empty();
}

#[test]
#[ignore = "two boots and a run of the playbooks: make soak"]
fn a_red_reboot_that_is_mended_and_applied_has_not_booted_until_it_is_rebooted() {
    let vm = applied();
    a_red_reboot(&vm);
    vm.root(MEND);
    vm.boma(&["apply", "askari", "--no-snapshot"]).exits(0);
    has_not_booted(&vm, "applied");
    vm.boma(&["reboot", "askari", "--timeout", "900"]).exits(0);
    vm.boma(&["assert", "askari"]).exits(0).says(&["PASSED"]);
    assert_eq!(vm.lane.result()["verdict"]["kind"], "passed");
}
