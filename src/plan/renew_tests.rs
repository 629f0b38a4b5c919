use super::super::options::{Certs, Options, Ttl};
use super::*;
use camino::{Utf8Path, Utf8PathBuf};
use host::names::HostName;

/// A project with a copy of askari's profile, and the plan that `up` would make of it.
struct World {
    _keep: tempfile::TempDir,
    dirs: Dirs,
}

impl World {
    fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
        let real = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["overrides", "certs", "verify", "tests"] {
            std::os::unix::fs::symlink(real.join(name), root.join(name)).unwrap();
        }
        for name in ["profiles/askari.json", "net/boma-it.json"] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::copy(real.join(name), root.join(name)).unwrap();
        }
        let at = |name: &str| root.join(name);
        let dirs = Dirs { root: root.clone(), state: at("s"), cache: at("c"), runs: at("r") };
        Self { _keep: keep, dirs }
    }

    fn plan(&self) -> Plan {
        let options = Options {
            certs: Certs::Internal,
            extra_vars: Vec::new(),
            repo: None,
            image: None,
            net: vm::network::Mode::Namespace,
            egress: vm::network::Egress::Nat,
            accel: vm::qemu::accel::Wanted::Tcg,
            template: false,
            accepted: Vec::new(),
            min_free_mib: 1,
            wait: false,
            from: None,
            timeout_s: 60,
            ttl: Ttl::default(),
            restart: vm::reboot::Choice::default(),
        };
        Plan::resolve(&self.dirs, &host(), options, "0a1b").unwrap()
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.dirs.root.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {file}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    fn profile(&self, from: &str, to: &str) {
        self.edit("profiles/askari.json", from, to);
    }
}

fn host() -> HostName {
    "askari".parse().unwrap()
}

fn keys_of(plan: &Plan) -> Vec<String> {
    plan.changed().into_iter().map(|changed| changed.key).collect()
}

/// As it is kept in the VM's directory and read by the next command.
fn kept(plan: &Plan) -> Plan {
    serde_json::from_slice(&serde_json::to_vec(plan).unwrap()).unwrap()
}

#[test]
fn a_profile_that_is_as_it_was_makes_the_same_plan() {
    let world = World::new();
    let plan = world.plan();
    let again = kept(&plan).renewed(&world.dirs).unwrap();
    assert_eq!(serde_json::to_value(&plan).unwrap(), serde_json::to_value(&again).unwrap());
    assert!(again.changed().is_empty());
}

#[test]
fn what_the_playbooks_and_the_checks_go_by_changes_and_is_told_since_up_until_it_is_taken_back() {
    let world = World::new();
    let plan = world.plan();
    world.profile(
        "\"never\": [",
        "\"via\": \"acpi\", \"state\": {\"allow\": [{\"id\": \"x\", \"why\": \"y\"}]}, \"never\": [",
    );
    world.profile("\"tags\": []", "\"tags\": [\"base\"]");
    world.profile(
        "\"verify\": \"verify/verify.yml\"",
        "\"verify\": [\"verify/verify.yml\", {\"name\": \"ssh\", \"probe\": {\"tcp\": {\"port\": 22}}}]",
    );
    world.profile("\"extra_vars_files\": [", "\"extra_vars_files\": [\"overrides/askari.red.yml\", ");
    let first = kept(&plan).renewed(&world.dirs).unwrap();
    assert_eq!(keys_of(&first), ["applies", "extra_vars_files", "state", "verify", "via"]);
    assert_eq!((first.restart.mode, first.overlays.len()), (vm::reboot::Mode::Acpi, plan.overlays.len() + 1));
    assert_eq!(first.profile.verify.questions().count(), 1);
    assert_eq!((&first.vm, &first.net, &first.machine), (&plan.vm, &plan.net, &plan.machine));
    world.profile("\"groups\": [", "\"groups\": [\"web\", ");
    let second = kept(&first).renewed(&world.dirs).unwrap();
    assert_eq!(keys_of(&second), ["applies", "extra_vars_files", "groups", "state", "verify", "via"], "since `up`");
    std::fs::copy(
        Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/askari.json"),
        world.dirs.root.join("profiles/askari.json"),
    )
    .unwrap();
    let back = kept(&second).renewed(&world.dirs).unwrap();
    assert!(back.changed().is_empty() && back.made_with.is_none());
}

#[test]
fn what_the_machine_its_network_or_its_first_boot_is_made_of_is_refused_by_its_key() {
    for (key, from, to) in [
        ("mem_mib", "\"mem_mib\": 3072", "\"mem_mib\": 4096"),
        ("vcpus", "\"vcpus\": 2", "\"vcpus\": 4"),
        ("disk_gib", "\"disk_gib\": 20", "\"disk_gib\": 30"),
        ("disk_bus", "\"vcpus\"", "\"disk_bus\": \"virtio-scsi\", \"vcpus\""),
        ("disks", "\"vcpus\"", "\"disks\": [{\"size_gib\": 1}], \"vcpus\""),
        ("firmware", "\"firmware\": \"bios\"", "\"firmware\": \"uefi\""),
        ("image", "\"image\": \"debian-13-docker\"", "\"image\": \"debian-13\""),
        ("user", "\"user\": \"ansible\"", "\"user\": \"admin\""),
        ("dns", "\"askari.example.net\": \"vm\"", "\"other.example.net\": \"vm\""),
        ("allow", "\"allow\": []", "\"allow\": [{\"for\": \"guest\", \"to\": \"10.1.0.0/16\", \"why\": \"w\"}]"),
        ("package_lists", "\"package_lists\": \"leave\"", "\"package_lists\": \"fetch\""),
        ("console", "\"vcpus\"", "\"console\": {\"allow\": [{\"id\": \"oom-kill\", \"why\": \"w\"}]}, \"vcpus\""),
        ("repo", "\"repo\": \"tests/fixtures/boma\"", "\"repo\": \"tests/fixtures/boma/../estate\""),
    ] {
        let world = World::new();
        let plan = world.plan();
        world.profile(from, to);
        // One that could change does not hide it, and is not named as if it could not.
        world.profile("\"tags\": []", "\"tags\": [\"base\"]");
        if key == "repo" {
            world.profile("inventories/production/offsite.yml", "hosts");
            world.profile("playbooks/site.yml", "site.yml");
            world.profile("playbooks/offsite.yml", "site.yml");
        }
        let refused = plan.renewed(&world.dirs).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage, "{key}");
        let said = refused.chain.join(": ");
        assert!(
            said.contains(&format!("cannot change: {key}: ")) || said.contains(&format!("; {key}: ")),
            "{key}: {said}"
        );
        assert!(!said.contains("tags"), "{key}: {said}");
        let next = refused.next.unwrap();
        assert!(next.contains("boma-qemu down askari") && next.contains("boma-qemu up askari"), "{next}");
    }
}

#[test]
fn all_that_cannot_change_is_told_at_once() {
    let world = World::new();
    let plan = world.plan();
    world.profile("\"mem_mib\": 3072", "\"mem_mib\": 4096");
    world.profile("\"vcpus\": 2", "\"vcpus\": 4");
    world.edit("net/boma-it.json", "10.213.77.10", "10.213.77.11");
    let said = plan.renewed(&world.dirs).unwrap_err().to_string();
    for words in ["mem_mib: 3072 -> 4096", "vcpus: 2 -> 4", "net/boma-it.json"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_key_that_a_choice_of_up_stands_above_changes_nothing_of_the_machine() {
    let world = World::new();
    let mut plan = world.plan();
    (plan.options.image, plan.image) = (Some("debian-12".into()), "debian-12".into());
    world.profile("\"image\": \"debian-13-docker\"", "\"image\": \"debian-13\"");
    let again = plan.renewed(&world.dirs).unwrap();
    assert_eq!((again.image.as_str(), keys_of(&again)), ("debian-12", vec!["image".to_owned()]));
}

#[test]
fn a_profile_that_is_not_right_any_more_is_refused_as_up_would_refuse_it() {
    let world = World::new();
    let plan = world.plan();
    world.profile("playbooks/site.yml", "playbooks/gone.yml");
    let said = plan.renewed(&world.dirs).unwrap_err().to_string();
    assert!(said.contains("playbooks/gone.yml does not exist"), "{said}");
    world.profile("\"vcpus\"", "\"vcpu\"");
    assert!(plan.renewed(&world.dirs).unwrap_err().to_string().contains("unknown field `vcpu`"));
}

#[test]
fn a_plan_of_an_earlier_version_has_the_profile_of_up() {
    let world = World::new();
    let mut old = serde_json::to_value(world.plan()).unwrap();
    old.as_object_mut().unwrap().remove("made_with");
    let old: Plan = serde_json::from_value(old).unwrap();
    world.profile("\"groups\": [", "\"groups\": [\"web\", ");
    assert_eq!(keys_of(&old.renewed(&world.dirs).unwrap()), ["groups"]);
}
