//! Where this runs, in words. Nothing is judged by it: what a place forbids is found by the checks that try it.

use super::{Finding, Site};
use camino::Utf8Path;

/// Variables that CI systems set, and whose they are.
const RUNNERS: [(&str, &str); 8] = [
    ("GITHUB_ACTIONS", "GitHub Actions"),
    ("GITEA_ACTIONS", "Gitea Actions"),
    ("GITLAB_CI", "GitLab CI"),
    ("JENKINS_URL", "Jenkins"),
    ("BUILDKITE", "Buildkite"),
    ("CIRCLECI", "CircleCI"),
    ("DRONE", "Drone"),
    ("CI", "a CI runner"),
];

/// What container managers leave for programs inside, and whose it is. systemd's list of names for `container` is in
/// systemd.io/CONTAINER_INTERFACE.
const LEFT: [(&str, &str); 3] = [(".dockerenv", "Docker"), ("run/.containerenv", "Podman"), ("dev/.lxc", "LXC")];

pub(super) fn check(_: &Site) -> Finding {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "false");
    Finding::ok(told(Utf8Path::new("/"), &set))
}

/// Every sign of a place that there is below a root.
fn told(root: &Utf8Path, set: &dyn Fn(&str) -> bool) -> String {
    let read = |name: &str| std::fs::read(root.join(name)).map_or_else(|_| String::new(), |bytes| text(&bytes));
    let mut places: Vec<String> = Vec::new();
    let left = LEFT.iter().filter(|(name, _)| root.join(name).exists());
    places.extend(left.map(|(name, whose)| format!("a container of {whose} (/{name})")));
    let named = read("run/systemd/container");
    // Only root may look at the first process.
    let begun = read("proc/1/environ").split('\0').find_map(|line| line.strip_prefix("container=").map(str::to_owned));
    let kind = [named.trim().to_owned(), begun.unwrap_or_default()].into_iter().find(|kind| !kind.is_empty());
    if let Some(kind) = kind.filter(|kind| places.is_empty() && kind != "wsl") {
        places.push(format!("a container ({kind})"));
    }
    let release = read("proc/sys/kernel/osrelease").to_lowercase();
    if release.contains("microsoft") {
        places.push(format!("WSL{} (kernel {})", if release.contains("wsl2") { "2" } else { "" }, release.trim()));
    }
    // All ids are mapped to themselves in the first user namespace (user_namespaces(7)).
    let map: Vec<_> = read("proc/self/uid_map").split_whitespace().map(str::to_owned).collect();
    if !map.is_empty() && map != ["0", "0", "4294967295"] {
        places.push("a user namespace".into());
    }
    if read("proc/cpuinfo").lines().any(|line| line.starts_with("flags") && line.contains(" hypervisor")) {
        let maker = read("sys/class/dmi/id/sys_vendor");
        let maker = if maker.trim().is_empty() { String::new() } else { format!(" ({})", maker.trim()) };
        let vsock = if root.join("dev/vsock").exists() { " with a vsock" } else { "" };
        places.push(format!("a virtual machine{maker}{vsock}"));
    }
    places.extend(RUNNERS.iter().find(|(name, _)| set(name)).map(|(name, whose)| format!("{whose} ({name} is set)")));
    match places.is_empty() {
        true => "no container, no virtual machine and no CI runner that shows itself".into(),
        false => places.join("; "),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::testing::scratch;

    fn of(files: &[(&str, &str)], variables: &[&str]) -> String {
        let (_keep, dir) = scratch();
        for (name, content) in files {
            std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.join(name), content).unwrap();
        }
        told(&dir, &|name| variables.contains(&name))
    }

    #[test]
    fn each_place_is_told_by_what_it_leaves() {
        let first = ("proc/self/uid_map", "         0          0 4294967295\n");
        let guest = ("proc/cpuinfo", "flags\t\t: fpu vme hypervisor lahf_lm\n");
        for (files, variables, expected) in [
            (vec![first], vec![], "no container, no virtual machine and no CI runner that shows itself"),
            (
                vec![first, (".dockerenv", "")],
                vec!["CI", "GITLAB_CI"],
                "a container of Docker (/.dockerenv); GitLab CI (GITLAB_CI is set)",
            ),
            (
                vec![("run/.containerenv", ""), ("proc/self/uid_map", "0 1000 1\n")],
                vec![],
                "a container of Podman (/run/.containerenv); a user namespace",
            ),
            (vec![("proc/1/environ", "PATH=/bin\0container=lxc\0")], vec![], "a container (lxc)"),
            (vec![("run/systemd/container", "systemd-nspawn\n")], vec![], "a container (systemd-nspawn)"),
            (
                vec![("proc/sys/kernel/osrelease", "6.6.87.2-microsoft-standard-WSL2\n"), guest],
                vec![],
                "WSL2 (kernel 6.6.87.2-microsoft-standard-wsl2); a virtual machine",
            ),
            (
                vec![guest, ("sys/class/dmi/id/sys_vendor", "QEMU\n"), ("dev/vsock", "")],
                vec![],
                "a virtual machine (QEMU) with a vsock",
            ),
        ] {
            assert_eq!(of(&files, &variables), expected);
        }
    }
}
