//! The profile is edited while the VM is up, and a part of the playbooks is applied: what takes effect, what is refused, and
//! that no part is taken for a whole.

use crate::applied::{Applied, applied};
use serde_json::json;

/// A VM whose profile is put back when the test has ended, however it ends.
struct Edited<'a> {
    vm: &'a Applied,
    before: String,
}

impl<'a> Edited<'a> {
    fn new(vm: &'a Applied) -> Self {
        let before = std::fs::read_to_string(path(vm)).unwrap();
        Self { vm, before }
    }

    fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(path(self.vm)).unwrap();
        assert!(text.contains(from), "{from} is not in the profile");
        std::fs::write(path(self.vm), text.replacen(from, to, 1)).unwrap();
    }
}

impl Drop for Edited<'_> {
    fn drop(&mut self) {
        let _ = std::fs::write(path(self.vm), &self.before);
    }
}

fn path(vm: &Applied) -> camino::Utf8PathBuf {
    vm.lane.dir.join("profiles/askari.json")
}

/// The names of the last checks.
fn checks(result: &serde_json::Value) -> Vec<String> {
    let last = result["checks"].as_array().unwrap().last().unwrap()["checks"].as_array().unwrap();
    last.iter().map(|check| check["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_edited_profile_takes_effect_or_is_refused_and_a_part_is_no_whole_until_it_is_taken_back() {
    let vm = applied();
    let profile = Edited::new(&vm);
    profile.edit("\"mem_mib\": 3072", "\"mem_mib\": 4096");
    let (record, events) = (vm.lane.evidence("result.json"), vm.last_event());
    vm.boma(&["apply", "askari"]).exits(2).says(&["mem_mib: 3072 -> 4096", "boma-qemu down askari"]);
    profile.edit("\"mem_mib\": 4096", "\"mem_mib\": 3072");
    vm.boma(&["apply", "askari", "--only", "nosuch"]).exits(2).says(&["playbooks/site.yml, playbooks/offsite.yml"]);
    assert_eq!(vm.lane.evidence("result.json"), record, "a refusal leaves no trace");
    assert_eq!(vm.last_event(), events);

    profile.edit("\"never\": [", "\"never\": [\"198.51.100.77\", ");
    let probe = "{\"name\": \"the ssh port\", \"probe\": {\"tcp\": {\"port\": 22}}}";
    profile.edit("\"verify/verify.yml\"", &format!("[\"verify/verify.yml\", {probe}]"));
    let ran = vm.boma(&["apply", "askari", "--only", "site", "--tags", "sshd"]);
    ran.exits(0).says(&["changed since `up`: never: + \"198.51.100.77\"", "changed since `up`: verify: "]);
    let result = vm.lane.result();
    assert_eq!(result["partial"], json!({"only": "playbooks/site.yml", "tags": ["sshd"]}));
    let keys: Vec<_> = result["changed"].as_array().unwrap().iter().map(|changed| changed["key"].clone()).collect();
    assert_eq!(keys, ["never", "verify"]);
    assert_eq!(result["playbooks"].as_array().unwrap().last().unwrap()["tasks"], 1, "the task with the tag");
    assert!(vm.lane.evidence("net/nft.txt").contains("198.51.100.77"), "it is out of reach at once");

    vm.boma(&["assert", "askari"]).exits(0).says(&["only a part of the playbooks", "PARTLY APPLIED", "--tags sshd"]);
    assert_eq!(vm.lane.result()["verdict"]["kind"], "partly-applied");
    assert!(checks(&vm.lane.result()).contains(&"the ssh port".to_owned()), "{:?}", checks(&vm.lane.result()));

    // The snapshot of the last whole has its own profile.
    vm.boma(&["reset", "askari"]).exits(0);
    let result = vm.lane.result();
    assert_eq!((result.get("partial"), result.get("changed")), (None, None));
    vm.boma(&["assert", "askari"]).exits(0).says(&["NOT REBOOTED"]);
    assert!(!checks(&vm.lane.result()).contains(&"the ssh port".to_owned()));
}
