//! Version numbers, as programs print them.

use std::fmt;

/// Major, minor, patch; what a program leaves out is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32, pub(super) u32);

impl Version {
    /// The first number with a dot in the text: `QEMU emulator version 10.0.2 (Debian …)`,
    /// `nftables v1.0.6`, `OpenSSH_9.2p1`, `ansible-playbook [core 2.19.14]`.
    pub(super) fn find(text: &str) -> Option<Self> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
            let mut numbers = word.split('.').map(|part| part.parse::<u32>().ok());
            Some(Self(numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(major, minor, 0) => write!(f, "{major}.{minor}"),
            Self(major, minor, patch) => write!(f, "{major}.{minor}.{patch}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn a_version_is_found_in_what_each_program_prints() {
        let said = [
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\nCopyright (c) 2003", "10.0.2"),
            ("qemu-img version 7.2.15 (Debian 1:7.2+dfsg-7+deb12u12)", "7.2.15"),
            ("nftables v1.0.6 (Lester Gooch #5)", "1.0.6"),
            ("Dnsmasq version 2.90  Copyright (c) 2000-2024 Simon Kelley", "2.90"),
            ("OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.19 27 Jan 2026", "9.2"),
            ("ansible-playbook [core 2.19.14]\n  config file = None", "2.19.14"),
            ("ansible-playbook 2.9.27", "2.9.27"),
            ("ansible-playbook [core 2.20.0b1]", "2.20"),
        ];
        for (text, version) in said {
            assert_eq!(Version::find(text).unwrap().to_string(), version, "{text}");
        }
        for none in ["", "pasta unknown version", "version 7", ".", "v."] {
            assert_eq!(Version::find(none), None, "{none}");
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(Version(2, 9, 27) < Version(2, 18, 0) && Version(10, 0, 0) > Version(8, 2, 2));
    }
}
