//! The ways into a guest: the one that a fresh guest has, the one that the real inventory names, and one that was found
//! over the console when neither answered.
//!
//! A playbook may move sshd or its users. Which way answers is asked at each login; the file in the VM's folder says which
//! ways there are, and which of them answered last.

use super::SshError;
use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;

/// Where sshd is asked, and as whom. The address is always the VM's: the network lets it have no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// sshd's TCP port.
    pub port: u16,
    /// The user.
    pub user: String,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} as {}", self.port, self.user)
    }
}

/// What a way is to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rank {
    /// The real inventory's: what the host must answer to after the change.
    Inventory,
    /// The one that the guest had when it was made, where the inventory names another.
    Fresh,
    /// The second one, for the day on which the inventory's is dead.
    BreakGlass,
    /// One that neither names.
    Unexpected,
}

/// All ways into one guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ways {
    /// The guest's address.
    pub address: Ipv4Addr,
    /// The way that the guest had when it was made.
    pub fresh: Way,
    /// The way that the real inventory names (`ansible_port`, `ansible_user`); what it leaves out is as in a fresh guest.
    pub inventory: Way,
    /// The second way that the host promises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<Way>,
    /// A way that was found over the console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Way>,
    /// The one that answered last.
    pub current: Way,
    /// Whether the real inventory has a password for becoming root.
    #[serde(default)]
    pub become_password: bool,
    /// The addresses that the real host has.
    #[serde(default)]
    pub real: Vec<String>,
    /// What has changed about the way in since the guest was made, in order.
    #[serde(default)]
    pub changes: Vec<Change>,
}

/// Something about the way in that is not as it was. The harness found it over the console and went on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it is about.
    pub about: About,
    /// What was seen and what was done, one sentence.
    pub what: String,
}

/// What a change of the way in is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// Another way answers than did before.
    Way,
    /// The guest's host key is another.
    HostKey,
    /// The harness's own key does not log in any more.
    Key,
    /// sudo asks for a password.
    Sudo,
}

impl Ways {
    /// Those of a guest whose inventory names nothing else: port 22.
    pub fn fresh(address: Ipv4Addr, user: &str) -> Self {
        let way = Way { port: 22, user: user.to_owned() };
        Self {
            address,
            fresh: way.clone(),
            inventory: way.clone(),
            break_glass: None,
            found: None,
            current: way,
            become_password: false,
            real: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// The ports on which an answer is expected.
    pub fn expected_ports(&self) -> Vec<u16> {
        [&self.inventory, &self.fresh].into_iter().chain(&self.break_glass).map(|way| way.port).collect()
    }

    /// The users who may be logged in as, the inventory's first.
    pub fn users(&self) -> Vec<&str> {
        let mut users = vec![self.inventory.user.as_str(), self.fresh.user.as_str()];
        users.dedup();
        users
    }

    /// The ways of a VM, from its folder.
    pub fn load(path: &Utf8Path) -> Result<Self, SshError> {
        let read = std::fs::read(path).and_then(|text| Ok(serde_json::from_slice(&text)?));
        read.map_err(|source| SshError::Ways { path: path.to_owned(), source })
    }

    /// As kept in the VM's folder.
    pub(super) fn json(&self) -> Vec<u8> {
        // Plain data with string keys: serialising it cannot fail.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// What a way is to the host. A way that is both is the inventory's.
    pub fn rank(&self, way: &Way) -> Rank {
        match way {
            way if *way == self.inventory => Rank::Inventory,
            way if *way == self.fresh => Rank::Fresh,
            way if Some(way) == self.break_glass.as_ref() => Rank::BreakGlass,
            _ => Rank::Unexpected,
        }
    }

    /// Each way once: the one that answered last, the inventory's, the fresh guest's, the second one, the one that was found. A
    /// second one that answered last comes behind the first.
    pub fn in_order(&self) -> Vec<(Rank, &Way)> {
        let mut ways: Vec<&Way> = Vec::new();
        let last = (self.rank(&self.current) != Rank::BreakGlass).then_some(&self.current);
        let own = [&self.inventory, &self.fresh];
        for way in last.into_iter().chain(own).chain(&self.break_glass).chain(&self.found) {
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        ways.into_iter().map(|way| (self.rank(way), way)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);

    #[test]
    fn each_way_is_tried_once_and_the_one_that_answered_last_is_first() {
        let way = |port, user: &str| Way { port, user: user.into() };
        let mut ways = Ways { inventory: way(2222, "deploy"), ..Ways::fresh(IP, "ansible") };
        let told = |ways: &Ways| ways.in_order().into_iter().map(|(rank, way)| (rank, way.port)).collect::<Vec<_>>();
        assert_eq!(told(&ways), [(Rank::Fresh, 22), (Rank::Inventory, 2222)]);
        ways.found = Some(way(2200, "ansible"));
        ways.current = way(2222, "deploy");
        assert_eq!(told(&ways), [(Rank::Inventory, 2222), (Rank::Fresh, 22), (Rank::Unexpected, 2200)]);
        ways.break_glass = Some(way(2022, "ansible"));
        ways.current = way(2022, "ansible");
        let ranks: Vec<_> = ways.in_order().into_iter().map(|(rank, _)| rank).collect();
        assert_eq!(
            ranks,
            [Rank::Inventory, Rank::Fresh, Rank::BreakGlass, Rank::Unexpected],
            "the first way may be back"
        );
        assert_eq!(Ways::fresh(IP, "ansible").in_order().len(), 1);
        assert_eq!(ways.rank(&ways.fresh), Rank::Fresh);
        assert_eq!(
            Ways::fresh(IP, "a").rank(&way(22, "a")),
            Rank::Inventory,
            "what the inventory leaves out is as it was"
        );
    }

    #[test]
    fn the_ways_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().join("ways.json")).unwrap();
        assert!(matches!(Ways::load(&path), Err(SshError::Ways { .. })), "no file is no answer");
        std::fs::write(&path, Ways::fresh(IP, "ansible").json()).unwrap();
        assert_eq!(Ways::load(&path).unwrap(), Ways::fresh(IP, "ansible"));
    }
}
