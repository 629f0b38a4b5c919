//! The Debian package on machines that have never seen this project: apt finds what it depends on, and `doctor` finds that
//! in its place.

use crate::lane::{Lane, User};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where the package lies in the guest.
const DEB: &str = "/tmp/boma-qemu.deb";
/// apt without a question and without progress.
const APT: &str = "DEBIAN_FRONTEND=noninteractive apt-get -qq -y";
/// All that is missing: the guest has less memory than a run takes.
const LACKS: &str = "memory";
/// The checks that only a package which is installed and works can pass.
const BROUGHT: [&str; 10] =
    ["qemu", "qemu-devices", "qemu-img", "ip", "nft", "dnsmasq", "pasta", "confinement", "ssh", "ssh-keygen"];

/// What `make deb` has made.
fn package() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debian");
    let files = std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let found: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
    let [package] = &found[..] else { panic!("{found:?} in {}, not one package: make deb", folder.display()) };
    package.clone()
}

/// A machine of that image with the package in its `/tmp` and apt's lists fetched.
fn machine(image: &str) -> Lane {
    let lane = Lane::new(User::Caller);
    let package = std::fs::File::open(package()).unwrap();
    lane.boma(&["up", "askari", "--image", image, "--timeout", "1800"]).exits(0);
    let mut put = lane.command(&["ssh", "askari", "--", &format!("cat > {DEB}")]);
    assert!(put.stdin(package).status().unwrap().success());
    lane.guest_as_root("apt-get update -qq");
    lane
}

/// What apt would do, or why it would not.
fn would(lane: &Lane) -> String {
    lane.guest_as_root(&format!("apt-get install --simulate --install-recommends {DEB} 2>&1 || true"))
}

/// Install it, look at it as root and as the ordinary user, and remove it.
fn lives_and_goes(lane: &Lane, recommended: &[&str]) {
    let installed = would(lane);
    for package in recommended {
        assert!(installed.contains(&format!("\nInst {package} ")), "{package}: {installed}");
    }
    lane.guest_as_root(&format!("{APT} install --no-install-recommends {DEB} >/dev/null"));
    for who in ["sudo -n", ""] {
        let (code, checks) = doctor(lane, who);
        let result = |id: &str| checks.iter().find(|check| check["id"] == id).unwrap()["result"].clone();
        let failed: Vec<_> = checks.iter().filter(|check| check["result"] == "fail").map(|one| &one["id"]).collect();
        assert_eq!((code, failed), (3, vec![&Value::from(LACKS)]), "{who}: {checks:#?}");
        for id in BROUGHT {
            assert_eq!(result(id), "ok", "{who}: {checks:#?}");
        }
    }
    let project = "/usr/share/doc/boma-qemu/examples/project";
    lane.guest(&format!("boma-qemu plan askari --root {project}"));
    lane.guest("bash -c '. /usr/share/bash-completion/completions/boma-qemu && complete -p boma-qemu'");
    lane.guest("zcat /usr/share/man/man1/boma-qemu-cycle.1.gz | grep -q '^.SH EXAMPLES'");
    lane.guest_as_root(&format!("{APT} purge boma-qemu >/dev/null"));
    assert_eq!(
        lane.guest("ls -d /usr/bin/boma-qemu* /usr/share/*/boma-qemu* /usr/share/man/man1/boma-qemu* || true"),
        ""
    );
    lane.boma(&["down", "askari"]).exits(0);
    lane.is_empty();
}

/// The exit code of `doctor`, and its checks.
fn doctor(lane: &Lane, who: &str) -> (i64, Vec<Value>) {
    let said = lane.guest(&format!("cd /; {who} boma-qemu doctor --json; echo $?"));
    let (lines, code) = said.rsplit_once('\n').unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let checks: Vec<_> = lines.map(|line| line["check"].clone()).filter(|check| !check.is_null()).collect();
    (code.parse().unwrap(), checks)
}

#[test]
#[ignore = "a boot of its own, and packages from the network: make soak"]
fn on_a_clean_debian_13_the_package_brings_all_that_a_run_takes() {
    lives_and_goes(&machine("debian-13"), &["ansible-core", "ovmf", "mmdebstrap", "uidmap"]);
}

#[test]
#[ignore = "a boot of its own, and packages from the network: make soak"]
fn on_a_clean_debian_12_the_package_asks_for_the_qemu_of_backports_and_takes_no_other() {
    let lane = machine("debian-12");
    let refused = would(&lane);
    assert!(refused.contains("qemu-system-x86 (>= 1:8.0)") && !refused.contains("\nInst "), "{refused}");
    // As the README says; the mirror is the one that the machine uses.
    lane.guest_as_root(&format!(
        "site=$(apt-get indextargets --format '$(SITE)' 'Codename: bookworm' | sort -u | head -n 1)
         echo \"deb $site bookworm-backports main\" >/etc/apt/sources.list.d/backports.list
         apt-get update -qq
         {APT} install --no-install-recommends -t bookworm-backports qemu-system-x86 qemu-utils >/dev/null"
    ));
    lives_and_goes(&lane, &["ovmf", "mmdebstrap", "uidmap"]);
}
