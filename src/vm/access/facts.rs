//! What the guest is asked over its console, and its answers.

use crate::ssh::Ways;
use std::collections::BTreeMap;

/// The answers by name. One that did not come is an empty text, which stands for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    answers: BTreeMap<String, String>,
    whole: bool,
}

/// The question about one user, for a root shell.
pub(super) fn question(ways: &Ways, user: &str, key: &str) -> String {
    // The key's bytes alone: its type and its comment may be written otherwise.
    let key = key.split_ascii_whitespace().nth(1).unwrap_or("?");
    include_str!("ask.sh")
        .replace("USER", user)
        .replace("CLIENT", &gateway(ways))
        .replace("ADDRESS", &ways.address.to_string())
        .replace("PORT", &ways.current.port.to_string())
        .replace("KEY", key)
}

/// An address from which the harness comes, as far as sshd's `Match address` can matter: the first of the VM's network.
fn gateway(ways: &Ways) -> String {
    let [a, b, c, _] = ways.address.octets();
    format!("{a}.{b}.{c}.1")
}

impl Facts {
    /// The answers in what the script printed.
    pub fn read(text: &str) -> Self {
        let frames = text.split('\u{1e}').skip(1).filter_map(|frame| frame.split_once('\n'));
        let answers: BTreeMap<_, _> =
            frames.map(|(name, answer)| (name.trim().to_owned(), answer.trim().to_owned())).collect();
        let whole = answers.contains_key("end");
        Self { answers, whole }
    }

    /// Whether the script came to its end.
    pub fn are_whole(&self) -> bool {
        self.whole
    }

    /// One answer.
    pub fn get(&self, name: &str) -> &str {
        self.answers.get(name).map_or("", String::as_str)
    }

    /// The lines of an answer.
    pub fn lines(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.get(name).lines().map(str::trim).filter(|line| !line.is_empty())
    }

    /// A property of a unit.
    pub fn unit<'a>(&'a self, unit: &str, property: &str) -> &'a str {
        let lines = self.get(&format!("unit {unit}")).lines();
        lines.filter_map(|line| line.split_once('=')).find(|(name, _)| *name == property).map_or("", |(_, value)| value)
    }

    /// The value of a keyword of sshd's effective configuration.
    pub fn sshd(&self, keyword: &str) -> Option<&str> {
        self.lines("sshd").find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            name.eq_ignore_ascii_case(keyword).then_some(value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_by_name_and_a_script_that_was_cut_off_is_not_whole() {
        let text = "\u{1e}system\nrunning\n\u{1e}unit ssh.service\nLoadState=loaded\nActiveState=failed\n\u{1e}sshd\nport 22\nAllowUsers a b\n\u{1e}end\n";
        let facts = Facts::read(text);
        assert!(facts.are_whole());
        assert_eq!((facts.get("system"), facts.unit("ssh.service", "ActiveState")), ("running", "failed"));
        assert_eq!((facts.sshd("allowusers"), facts.sshd("denyusers")), (Some("a b"), None));
        assert!(!Facts::read(&text[..60]).are_whole());
        assert_eq!(Facts::default().get("listen"), "");
    }

    #[test]
    fn the_script_is_one_the_shell_can_read() {
        let ways = Ways::fresh(std::net::Ipv4Addr::new(10, 9, 8, 7), "ansible");
        let script = question(&ways, "ansible", "ssh-ed25519 AAAAC3Nza comment");
        host::cmd::Cmd::new("sh").args(["-n", "-c", &script]).run().unwrap();
        assert!(script.contains("AAAAC3Nza") && !script.contains("comment") && !script.contains("USER"), "{script}");
    }
}
