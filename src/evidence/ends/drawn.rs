//! What differs between any two machines: identities and keys that are drawn, and what programs write while a machine runs.

/// Files that say nothing about how a machine is set up, or that are seen elsewhere. One that ends with `/` stands for all below.
const PASSED_OVER: [&str; 24] = [
    "/etc/.pwd.lock",
    "/etc/.updated",
    "/etc/adjtime",
    "/etc/apparmor.d/cache/",
    "/etc/blkid.tab",
    "/etc/fake-hwclock.data",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/ld.so.cache",
    "/etc/lvm/archive/",
    "/etc/lvm/backup/",
    "/etc/lvm/cache/",
    "/etc/machine-id",
    "/etc/mtab",
    "/etc/passwd-",
    "/etc/resolv.conf",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/etc/udev/hwdb.bin",
    // Users and groups are compared by name; which number each has follows from the order in which they came.
    "/etc/group",
    "/etc/gshadow",
    "/etc/passwd",
    "/root/.bash_history",
];

/// Files of which every machine has its own.
const OWN: [&str; 4] = ["/etc/docker/key.json", "/etc/shadow", "/etc/sudoers.d/90-cloud-init-users", "/etc/subuid"];
/// How the names of host keys begin.
const HOST_KEYS: &str = "/etc/ssh/ssh_host_";

/// Facts of a state that are drawn, or that tell how often or when something was.
const FACTS: [&str; 2] = ["system/machine-id", "system/synchronised"];

/// Whether a file is not compared at all.
pub(super) fn is_passed_over(path: &str) -> bool {
    PASSED_OVER.iter().any(|known| path == *known || (known.ends_with('/') && path.starts_with(*known)))
}

/// Whether only a file's being there is compared: the harness's own keys log in, and other secrets are drawn.
pub(super) fn has_own_content(path: &str) -> bool {
    OWN.contains(&path) || path.starts_with(HOST_KEYS) || path.ends_with("/.ssh/authorized_keys")
}

/// Whether a difference of two states is one between any two machines.
pub(super) fn is_natural(id: &str) -> bool {
    // Files are compared whole, with links and modes.
    FACTS.contains(&id) || id.starts_with("etc/") || (id.starts_with("units/") && id.ends_with("/restarted"))
}

/// A user or a group without its numbers, where both are the system's own choice.
pub(super) fn without_numbers(text: &str) -> String {
    let mut out = Vec::new();
    let mut words = text.split(' ').peekable();
    while let Some(word) = words.next() {
        let is_id = word == "uid" || word == "gid";
        match words.peek().and_then(|next| next.parse::<u32>().ok()) {
            Some(number) if is_id && (100..1000).contains(&number) => {
                out.push(word);
                words.next();
            }
            _ => out.push(word),
        }
    }
    out.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_user_is_the_same_whatever_number_it_came_to_have() {
        let of = |uid, gid| without_numbers(&format!("uid {uid} gid {gid} /nonexistent /usr/sbin/nologin locked"));
        assert_eq!(of(997, 996), of(996, 995));
        assert_ne!(of(997, 996), of(1000, 1000));
        assert_ne!(of(0, 0), of(997, 996));
    }

    #[test]
    fn what_is_drawn_is_passed_over_and_its_neighbours_are_not() {
        assert!(is_passed_over("/etc/machine-id") && is_passed_over("/etc/lvm/backup/vg0"));
        assert!(!is_passed_over("/etc/lvm/lvm.conf") && !is_passed_over("/etc/machine-info"));
        assert!(has_own_content("/etc/ssh/ssh_host_rsa_key.pub") && has_own_content("/home/a/.ssh/authorized_keys"));
        assert!(!has_own_content("/etc/ssh/sshd_config"));
        assert!(is_natural("units/a.service/restarted") && !is_natural("units/a.service/active"));
    }
}
