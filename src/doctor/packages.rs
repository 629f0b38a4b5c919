//! Which package brings a program, on the distribution that this is.

/// The packages of QEMU.
const QEMU: [&str; 2] = ["qemu-system-x86", "qemu-utils"];

/// The distribution, as far as installing goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Os {
    debian: bool,
    codename: String,
}

impl Os {
    /// Read os-release(5) of this host.
    pub(super) fn of_this_host() -> Self {
        Self::parse(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches('"').to_owned()
        };
        let names = format!("{} {}", value("ID"), value("ID_LIKE"));
        Self { debian: names.split_whitespace().any(|name| name == "debian"), codename: value("VERSION_CODENAME") }
    }

    /// How to install a program that is missing or too old. `package` is Debian's name for it.
    pub(super) fn install(&self, program: &str, package: &str) -> String {
        self.install_all(&[(program, package)])
    }

    /// How to install programs, given with Debian's package for each.
    pub(super) fn install_all(&self, wanted: &[(&str, &str)]) -> String {
        let mut packages: Vec<&str> = wanted.iter().map(|(_, package)| *package).collect();
        packages.sort_unstable();
        packages.dedup();
        if !self.debian {
            let programs: Vec<_> = wanted.iter().map(|(program, _)| format!("`{program}`")).collect();
            return format!("install what has {} (in Debian: {})", programs.join(", "), packages.join(", "));
        }
        let (qemu, mut rest): (Vec<&str>, Vec<&str>) = packages.into_iter().partition(|package| QEMU.contains(package));
        let mut steps = Vec::new();
        match qemu.is_empty() {
            true => {}
            // Debian 12's own QEMU is too old, and its parts only fit parts of the same version.
            false if self.codename == "bookworm" => steps.push(format!(
                "apt install -t bookworm-backports {} (with backports among apt's sources)",
                QEMU.join(" ")
            )),
            false => rest.extend(qemu),
        }
        if !rest.is_empty() {
            steps.insert(0, format!("apt install {}", rest.join(" ")));
        }
        steps.join("; ")
    }

    /// How to get an Ansible that can drive a Debian 13 guest, for the playbook repository `repo`.
    pub(super) fn install_ansible(&self, repo: Option<&str>) -> String {
        let repo = repo.unwrap_or("<playbook repository>");
        let venv = format!(
            "python3 -m venv {repo}/.venv && {repo}/.venv/bin/pip install 'ansible-core>=2.18' (python3 >= 3.11)"
        );
        match self.codename.as_str() {
            "trixie" => format!("apt install ansible-core, or {venv}"),
            _ => venv,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_debian_12_both_parts_of_qemu_come_from_backports() {
        let os = Os::parse("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n");
        for package in ["qemu-system-x86", "qemu-utils"] {
            let fix = os.install("any", package);
            assert!(fix.starts_with("apt install -t bookworm-backports qemu-system-x86 qemu-utils"), "{fix}");
        }
        assert_eq!(os.install("nft", "nftables"), "apt install nftables");
        let all =
            os.install_all(&[("ssh", "openssh-client"), ("qemu-img", "qemu-utils"), ("ssh-keygen", "openssh-client")]);
        assert!(all.starts_with("apt install openssh-client; apt install -t bookworm-backports"), "{all}");
        assert!(!os.install_ansible(None).contains("apt"), "its own Ansible is too old");
    }

    #[test]
    fn elsewhere_the_program_is_named_and_debians_package_is_a_hint() {
        let ubuntu = Os::parse("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n");
        assert_eq!(ubuntu.install("qemu-img", "qemu-utils"), "apt install qemu-utils");
        let fedora = Os::parse("ID=fedora\nVERSION_CODENAME=\"\"\n");
        assert!(fedora.install("pasta", "passt").contains("`pasta` (in Debian: passt)"));
    }
}
